"""The index of the seal chain: which seals a day has, and what was looked at. A hint, never the truth.

It saves reading thousands of seals. What it says is compared with the chain before it is relied on, and it is made
again from the chain where it is missing or wrong.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ..core.seal_keys import SEALS_INDEX
from .json_objects import update_parsed
from .object_store import ObjectStore


@dataclass
class SealIndex:
    """The seals up to number `read_until`, whose SHA-256 is `head`.

    `days` has the numbers of each day's seals, in order; `looked` what a day's tables were when it was last found to be
    sealed as they are. All seals up to number `retained_until` have their Object Lock.
    """

    read_until: int = 0
    head: str = ""
    days: dict[str, list[int]] = field(default_factory=dict)
    looked: dict[str, str] = field(default_factory=dict)
    retained_until: int = 0


def read_seal_index(store: ObjectStore) -> SealIndex:
    """Return the index; an empty one where there is none, or none that can be right."""
    body = store.read(SEALS_INDEX)
    return (_parse(body) if body is not None else None) or SealIndex()


def update_seal_index(store: ObjectStore, own: SealIndex, looked: Mapping[str, str], *, replaces: bool = False) -> None:
    """Add what this run has read and looked at. Of two runs, both write what they know.

    With `replaces` the stored index is dropped: it was wrong.
    """

    def change(stored: SealIndex | None) -> SealIndex:
        present = stored if stored is not None and not replaces else SealIndex()
        newest = own if own.read_until >= present.read_until else present
        return SealIndex(
            newest.read_until,
            newest.head,
            newest.days,
            present.looked | dict(looked),
            max(own.retained_until, present.retained_until),
        )

    update_parsed(store, SEALS_INDEX, change, parse=_parse, dump=asdict)


def _parse(body: bytes) -> SealIndex | None:
    """Read a stored index. Each seal belongs to one day: an index that has another number of them is not used."""
    try:
        stored = json.loads(body)
        found = SealIndex(
            int(stored["read_until"]),
            str(stored["head"]),
            {str(day): [int(number) for number in numbers] for day, numbers in stored["days"].items()},
            {str(day): str(value) for day, value in stored["looked"].items()},
            int(stored["retained_until"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    numbers = sorted(number for of_day in found.days.values() for number in of_day)
    return found if numbers == list(range(1, found.read_until + 1)) else None
