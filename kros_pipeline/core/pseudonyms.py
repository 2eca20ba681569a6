"""The name that is left of an erased call: nobody can read it, and the call would be known by it if it came back.

A plain hash of an id could be undone by hashing every id there is; an HMAC cannot, without the key. The key is a
setting and never in the archive. Who destroys it, makes the tombstones of all erased calls nobody's for good.
"""

import hashlib
import hmac

LEAST_KEY_CHARACTERS = 32


def pseudonym(key: str, call_key: str) -> str:
    """HMAC-SHA256 of a call key (the id, where that is plain), hexadecimal."""
    return hmac.new(key.encode(), call_key.encode(), hashlib.sha256).hexdigest()


def key_check(key: str) -> str:
    """What tells whether a key is the one that the archive's tombstones were made with; it does not give it away."""
    return hmac.new(key.encode(), b"kros_pipeline erasure key", hashlib.sha256).hexdigest()
