"""Notes calls that the list shows while fresh URLs are minted, and that the table `calls` does not have.

They completed after the list was read, or took the place of a call that vanished meanwhile. The day waits for a run
that lists it again.
"""

from collections.abc import Set
from dataclasses import replace
from datetime import date

from ..archive.listings import update_listing
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.listing import Listing
from .other_days import ArchivedIds


def note_late_calls(day: date, missing: Set[str], *, store: ObjectStore, tables: Tables, tombstones: Tombstones) -> int:
    """Write into the day's listing how many calls came late, and return the number.

    `missing` are calls of the day that the list showed, and that the day's table does not have. Erased calls do not
    count, nor do calls that a neighbouring day keeps.
    """
    if not missing:
        return 0
    archived = ArchivedIds(day, tables)
    late = {call_id for call_id in missing - archived.beside() if not tombstones.is_erased(call_id)}
    if late:
        sentence = f"{len(late)} calls came to the list after it was read: materialize the whole day."

        def change(last: Listing | None) -> Listing:
            known = last if last is not None else Listing(proved=False, listed_total=0)
            return replace(known, pending=[*known.pending, sentence])

        update_listing(store, day, change)
    return len(late)
