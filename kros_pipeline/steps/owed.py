"""Which days owe something: read from the archive itself, not from Dagster's history, which may be young or lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from ..core import schemas
from ..core.days import grace_is_over
from ..core.object_keys import table_prefix
from ..core.verdict import COMPLETE
from .workspace import Workspace

_THREADS = 16


def owed_days(work: Workspace, first: date, last: date) -> list[date]:
    """The days from `first` to `last`, within upstream's retention, that are not settled; the oldest first.

    A day is settled when its verdict is `complete` and was given after the grace days: before that, late data may
    still come. The oldest day is the next that upstream deletes.
    """
    retention_days = work.settings.retention_days
    if retention_days is not None:
        first = max(first, work.now().date() - timedelta(days=retention_days))
    checked = {entry.key.split("/dt=")[1][:10] for entry in work.store.list(table_prefix(schemas.RECONCILIATION.name))}
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    with ThreadPoolExecutor(_THREADS) as pool:
        settled = pool.map(lambda day: day.isoformat() in checked and _is_settled(work, day), days)
        return [day for day, is_settled in zip(days, settled, strict=True) if not is_settled]


def _is_settled(work: Workspace, day: date) -> bool:
    rows = work.tables.rows(schemas.RECONCILIATION, day, ("verdict", "checked_at"))
    grace = work.settings.lookback_days
    return any(row["verdict"] == COMPLETE and grace_is_over(day, row["checked_at"], grace) for row in rows)
