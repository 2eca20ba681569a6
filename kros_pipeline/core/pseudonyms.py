"""Pseudonyms of erased calls: irreversible without the key, but stable, so that a re-listed call is recognized.

A plain hash of an id could be undone by hashing every possible id; an HMAC cannot, without the key. The key is a
setting, and never in the archive. Destroying it makes the tombstones of all erased calls anonymous for good.
"""

import hashlib
import hmac

MIN_KEY_CHARACTERS = 32


def pseudonym(key: str, call_key: str) -> str:
    """Return the HMAC-SHA256 of a call key, in hexadecimal."""
    return hmac.new(key.encode(), call_key.encode(), hashlib.sha256).hexdigest()


def key_check(key: str) -> str:
    """Return a value that tells whether a key is the one of the archive's tombstones; it does not reveal the key."""
    return hmac.new(key.encode(), b"kros_pipeline erasure key", hashlib.sha256).hexdigest()


def api_key_fingerprint(api_key: str) -> str:
    """Return a value that tells whether an API key is one that the archive knows; it does not reveal the key."""
    return hmac.new(api_key.encode(), b"kros_pipeline api key", hashlib.sha256).hexdigest()
