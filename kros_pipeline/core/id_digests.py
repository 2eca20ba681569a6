"""Digests of call ids: 8 bytes each, so that a listing names every call of a day in little space.

With a million calls a day, two of them share a digest about once in 40 million days.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable

DIGEST_BYTES = 8


def digest_id(call_id: str) -> bytes:
    """Return the first 8 bytes of an id's SHA-256."""
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def pack_digests(digests: Iterable[bytes]) -> str:
    """Write a set of digests as one text: sorted, joined, in base 64."""
    return b64encode(b"".join(sorted(set(digests)))).decode()


def unpack_joined(packed: str) -> bytes:
    """Read what `pack_digests` wrote, as one piece. Raises `ValueError` for another text."""
    joined = b64decode(packed, validate=True)
    if len(joined) % DIGEST_BYTES:
        raise ValueError("packed digests of call ids are cut")
    return joined


def unpack_digests(packed: str) -> set[bytes]:
    """Read what `pack_digests` wrote. Raises `ValueError` for another text."""
    joined = unpack_joined(packed)
    return {joined[begin : begin + DIGEST_BYTES] for begin in range(0, len(joined), DIGEST_BYTES)}
