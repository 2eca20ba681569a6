"""Says what an erasure of this archive does not reach, so that nobody takes its proof for more than it is."""

from datetime import datetime, timedelta

from ..archive.archived_days import days_of_table
from ..archive.object_store import ObjectStore
from ..core import schemas
from ..core.days import days_from

_DAYS_WITHOUT_RETENTION = 365  # looked back, where upstream keeps everything
_MAX_NAMED_DAYS = 10
UPLOADS = (
    "an upload of a recording that was under way and takes more than 10 seconds: if it arrives, the reconciliation of "
    "its day is red, and erase_calls with the same call erases it"
)


def describe_unreached(store: ObjectStore, now: datetime, retention_days: int | None, *, is_stopped: bool) -> list[str]:
    """Return a sentence for each thing that is not reached: days that are not archived yet, and uploads under way.

    `is_stopped` says that later calls of the number are not archived.
    """
    today = now.date()
    first = today - timedelta(days=retention_days or _DAYS_WITHOUT_RETENTION)
    archived = set(days_of_table(store, schemas.CALLS.name))
    days = [day for day in days_from(max(first, min(archived, default=first)), today) if day not in archived]
    shown = ", ".join(map(str, days[-_MAX_NAMED_DAYS:]))
    more = f" and {len(days) - _MAX_NAMED_DAYS} before them" if len(days) > _MAX_NAMED_DAYS else ""
    later = f"days that are not archived yet ({shown}{more}), and later ones"
    if is_stopped:
        return [
            f"{later}: calls of the number are stopped there when they are listed; those that a run is writing at this "
            "moment are not, and the listing of their day says so",
            UPLOADS,
        ]
    return [f"{later}: calls of the person arrive there, unless stop_number is set", UPLOADS]
