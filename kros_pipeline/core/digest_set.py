"""A set of texts, kept as 8-byte digests: 8 MB for a million of them, where a Python set of texts takes 150 MB."""

from base64 import b64encode
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from .id_digests import digest_id, unpack_joined

_BIG_ENDIAN, _NATIVE = ">u8", np.uint64  # digests sort as numbers exactly as they sort as bytes
_FEWEST_HELD = 4_096
_HELD_SHARE = 16  # new digests are sorted in once they are a sixteenth of the rest: n log n altogether
_TEXTS_AT_ONCE = 10_000

Digests = NDArray[np.uint64]


def digest_all(texts: Iterable[str]) -> Digests:
    """Digest texts, in their order."""
    left, joined = iter(texts), bytearray()
    while piece := b"".join(map(digest_id, islice(left, _TEXTS_AT_ONCE))):
        joined += piece
    return _numbers_of(joined)


class DigestSet:
    """A growing set of texts, such as the ids of a day's calls.

    Only the first 8 bytes of each text's SHA-256 are kept, as `core.id_digests` does. Two of a million texts share a
    digest once in 40 million days. Then a count of listed calls is too small, which keeps their list from being proved;
    and a call that the archive loses is not missed as long as it has the other one.
    """

    def __init__(self, texts: Iterable[str] = ()):
        self._sorted = np.empty(0, _NATIVE)
        self._held: set[int] = set()  # never in `_sorted`
        self.update(texts)

    @classmethod
    def of_digests(cls, digests: Digests) -> "DigestSet":
        """Make a set of digests, in any order."""
        return cls._of_sorted(_merge(digests))

    @classmethod
    def _of_sorted(cls, digests: Digests) -> "DigestSet":
        made = cls()
        made._sorted = digests
        return made

    @classmethod
    def from_bytes(cls, joined: bytes) -> "DigestSet":
        """Make a set of joined digests, 8 bytes each, as `bytes` returns them."""
        return cls.of_digests(_numbers_of(joined))

    def __bytes__(self) -> bytes:
        """Return the digests, sorted and joined."""
        return self.digests.astype(_BIG_ENDIAN).tobytes()

    @classmethod
    def unpack(cls, packed: str) -> "DigestSet":
        """Read what `pack` or `id_digests.pack_digests` wrote. Raises `ValueError` for another text."""
        return cls.from_bytes(unpack_joined(packed))

    def pack(self) -> str:
        """Return the digests as the text that `id_digests.pack_digests` makes of them."""
        return b64encode(bytes(self)).decode()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._held)

    def __contains__(self, text: str) -> bool:
        return self._has_number(int.from_bytes(digest_id(text)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DigestSet) and np.array_equal(self.digests, other.digests)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, text: str) -> None:
        """Add one text."""
        number = int.from_bytes(digest_id(text))
        if not self._has_number(number):
            self._held.add(number)
            if len(self._held) > self._most_held:
                self._sort_in()

    def update(self, texts: Iterable[str]) -> bool:
        """Add texts. Return whether one of them is new."""
        return self.update_digests(digest_all(texts))

    def update_digests(self, digests: Digests) -> bool:
        """Add the digests of texts, in any order. Return whether one of them is new."""
        count, digests = len(self), np.sort(digests)  # neighbours are looked up much faster
        new = digests[~_are_in(digests, self._sorted)]
        if len(self._held) + len(new) > self._most_held:
            self._sort_in()
            self._sorted = _merge(self._sorted, new)
        else:
            self._held.update(new.tolist())
        return len(self) > count

    def has(self, digests: Digests) -> NDArray[np.bool_]:
        """Return of each digest whether it is in the set."""
        self._sort_in()
        return _are_in(digests, self._sorted)

    def has_all(self, texts: Iterable[str]) -> bool:
        """Return whether all texts are in the set."""
        new = digest_all(texts)
        new = new[~_are_in(new, self._sorted)]
        return self._held.issuperset(new.tolist())

    @property
    def digests(self) -> Digests:
        """The digests, sorted."""
        self._sort_in()
        return self._sorted

    def __or__(self, other: "DigestSet") -> "DigestSet":
        return DigestSet.of_digests(np.concatenate([self.digests, other.digests]))

    def __and__(self, other: "DigestSet") -> "DigestSet":
        return DigestSet._of_sorted(self.digests[other.has(self.digests)])

    def __sub__(self, other: "DigestSet") -> "DigestSet":
        return DigestSet._of_sorted(self.digests[~other.has(self.digests)])

    def _has_number(self, number: int) -> bool:
        place = int(self._sorted.searchsorted(_NATIVE(number)))
        return number in self._held or (place < len(self._sorted) and int(self._sorted[place]) == number)

    @property
    def _most_held(self) -> int:
        return max(_FEWEST_HELD, len(self._sorted) // _HELD_SHARE)

    def _sort_in(self) -> None:
        if self._held:
            held = np.fromiter(self._held, _NATIVE, len(self._held))
            self._sorted, self._held = _merge(self._sorted, np.sort(held)), set()


def _merge(*parts: Digests) -> Digests:
    """Sort digests, each once. Sorted parts are merged; numpy's `unique` would hash them all."""
    ordered = np.sort(np.concatenate(parts), kind="stable")
    is_first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    return ordered[is_first]


def _are_in(digests: Digests, ordered: Digests) -> NDArray[np.bool_]:
    """Return of each digest whether it is in a sorted array."""
    if not len(ordered):
        return np.zeros(len(digests), np.bool_)
    places = np.searchsorted(ordered, digests)
    return np.asarray(ordered[np.minimum(places, len(ordered) - 1)] == digests)


def _numbers_of(joined: bytes | bytearray) -> Digests:
    return np.frombuffer(joined, _BIG_ENDIAN).astype(_NATIVE)
