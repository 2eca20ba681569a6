"""Which days owe something: read from the archive itself, not from Dagster's history, which may be young or lost."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import islice
from typing import Any

from ..core import schemas
from ..core.days import grace_is_over
from ..core.object_keys import table_prefix
from ..core.statuses import DayVerdict
from ..steps.reconciliation import read_reconciliation
from ..steps.run_context import RunContext

_THREADS = 16
_FRESH_IN_A_ROW = 2


def find_backlog(ctx: RunContext, first: date, last: date) -> list[date]:
    """The days from `first` to `last`, within upstream's retention, that are not settled; nearest deletion first.

    A day is settled when its verdict is `complete` and was given after the grace days: before that, late data may
    still come. Days that were found incomplete come in turn, the longest unchecked first, one after each two others:
    what cannot be mended must not keep the rest from being archived.
    """
    retention_days = ctx.settings.source.retention_days
    if retention_days is not None:
        first = max(first, ctx.now().date() - timedelta(days=retention_days))
    checked = {entry.key.split("/dt=")[1][:10] for entry in ctx.store.list(table_prefix(schemas.RECONCILIATION.name))}
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = pool.map(lambda day: read_reconciliation(ctx, day) if day.isoformat() in checked else None, days)
        found = dict(zip(days, rows, strict=True))
    incomplete = [
        (row["checked_at"], day) for day, row in found.items() if row and row["verdict"] == DayVerdict.INCOMPLETE
    ]
    in_turn = iter([day for _, day in sorted(incomplete)])
    taken = {day for _, day in incomplete}
    fresh = [day for day, row in found.items() if day not in taken and (row is None or _owes(ctx, day, row))]
    owed: list[date] = []
    for number, day in enumerate(fresh, 1):
        owed.append(day)
        if number % _FRESH_IN_A_ROW == 0:
            owed.extend(islice(in_turn, 1))
    return owed + list(in_turn)


def _owes(ctx: RunContext, day: date, row: dict[str, Any]) -> bool:
    return row["verdict"] != DayVerdict.COMPLETE or not grace_is_over(
        day, row["checked_at"], ctx.settings.lookback_days
    )
