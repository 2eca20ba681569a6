"""Looks for a few calls among the digests of a listing, which may be a million, without a set of them."""

from collections.abc import Collection

from .id_digests import DIGEST_BYTES, unpack_joined
from .listing import DIGEST_FIELDS


def find_listed(stored: object, wanted: Collection[bytes]) -> set[bytes]:
    """Return those of the digests that a stored listing has, whatever else is wrong with it.

    Raises `ValueError` where a field that names calls cannot be unpacked.
    """
    fields_of_listing = stored if isinstance(stored, dict) else {}
    packed = [text for name in DIGEST_FIELDS if isinstance(text := fields_of_listing.get(name), str)]
    return {digest for text in packed for digest in _find_packed(text, wanted)}


def _find_packed(packed: str, wanted: Collection[bytes]) -> set[bytes]:
    joined = unpack_joined(packed)
    return {digest for digest in wanted if _is_in(digest, joined)}


def _is_in(digest: bytes, joined: bytes) -> bool:
    place = joined.find(digest)
    while place % DIGEST_BYTES and place >= 0:  # the bytes lie across two digests
        place = joined.find(digest, place + 1)
    return place >= 0
