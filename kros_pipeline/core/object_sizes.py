"""The sizes of a day's objects by their keys: 17 bytes an object, where a dict of keys takes 250."""

from collections.abc import Iterable
from itertools import islice

import numpy as np

from .digest_set import digest_all
from .id_digests import digest_id

_AT_ONCE = 10_000


class ObjectSizes:
    """Sizes of objects, each taken out once. Of a key only its digest is kept, as in `DigestSet`.

    What is left has no names: list the objects again to find them.
    """

    def __init__(self, objects: Iterable[tuple[str, int]]):
        left = iter(objects)
        digests, sizes = [digest_all(())], [np.empty(0, np.int64)]
        while some := list(islice(left, _AT_ONCE)):
            digests.append(digest_all(key for key, _ in some))
            sizes.append(np.array([size_bytes for _, size_bytes in some], np.int64))
        unsorted = np.concatenate(digests)
        order = np.argsort(unsorted)
        self._digests, self._sizes = unsorted[order], np.concatenate(sizes)[order]
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
