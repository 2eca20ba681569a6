"""The sizes of a day's objects by their keys: 17 bytes an object, where a dict of keys takes 250."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from .digest_set import digest_all
from .id_digests import digest_id


class ObjectSizes:
    """Sizes of objects, each taken out once. Of a key only its digest is kept, as in `DigestSet`.

    What is left has no names: list the objects again to find them.
    """

    def __init__(self, objects: Iterable[tuple[str, int]]):
        sizes = array("q")
        digests = digest_all(_keys_of(objects, sizes))
        order = np.argsort(digests)
        self._digests = digests[order]
        self._sizes = np.array(sizes, np.int64)[order]
        self._is_taken = np.zeros(len(order), np.bool_)

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def total_bytes(self) -> int:
        """The size of all objects."""
        return int(self._sizes.sum())

    @property
    def has_left(self) -> bool:
        """Whether an object was not taken out."""
        return not self._is_taken.all()

    def take(self, key: str) -> int | None:
        """Take out an object, and return its size; None where there is none at the key, or none any more."""
        place = self._find(key)
        if place is None or self._is_taken[place]:
            return None
        self._is_taken[place] = True
        return int(self._sizes[place])

    def is_left(self, key: str) -> bool:
        """Return whether there is an object at the key that was not taken out."""
        place = self._find(key)
        return place is not None and not self._is_taken[place]

    def _find(self, key: str) -> int | None:
        digest = int.from_bytes(digest_id(key))
        place = int(self._digests.searchsorted(np.uint64(digest)))
        return place if place < len(self._digests) and int(self._digests[place]) == digest else None


def _keys_of(objects: Iterable[tuple[str, int]], sizes: "array[int]") -> Iterator[str]:
    """Yield the keys, and add the sizes to `sizes` meanwhile."""
    for key, size_bytes in objects:
        sizes.append(size_bytes)
        yield key
