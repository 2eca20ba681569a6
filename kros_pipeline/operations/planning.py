"""Plan the days that are owed: count their calls, and estimate what they need. Nothing is moved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ..archive.archived_days import days_of_table
from ..archive.identity import ArchiveIdentity
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.plan_note import read_plan_note, write_plan_note
from ..archive.tables import Tables
from ..core import schemas
from ..core.backlog_plan import DAYS_PER_TICK, BacklogPlan, Capacity, Past, plan_backlog
from ..core.clock import Clock
from ..core.statuses import DayVerdict
from ..core.worker_threads import worker_threads
from ..source.call_source import CallSource
from .backlog import find_backlog
from .day_counts import CallCounts, count_calls
from .day_rows import read_day_rows
from .day_states import OwedReason

_PAST_DAYS = 28
_THREADS = 16


@dataclass(frozen=True)
class PlanReport:
    """The plan, what was counted for it, and what the archive's past showed."""

    plan: BacklogPlan
    counts: CallCounts
    past: Past


def make_plan(
    days: Sequence[date],
    *,
    source: CallSource,
    store: ObjectStore,
    tables: Tables,
    identity: ArchiveIdentity,
    clock: Clock,
    capacity: Capacity,
    is_of_backlog: bool,
) -> PlanReport:
    """Plan the days in their order, with at most one request for each.

    The plan of the backlog is noted for its order, unless the archive is nobody's yet: the first run claims it.
    """
    counts = count_calls(days, source)
    past = _read_past(store, tables)
    plan = plan_backlog(days, counts.days, past, capacity, clock.now())
    if is_of_backlog and identity.is_claimed:
        write_plan_note(store, plan)
    return PlanReport(plan, counts, past)


def find_planned_backlog(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
) -> dict[date, OwedReason]:
    """Return the backlog in its order, with each day's reason. The order knows the late days of the last plan."""
    note = read_plan_note(store)
    return find_backlog(
        first,
        last,
        store=store,
        tables=tables,
        clock=clock,
        retention_days=retention_days,
        lookback_days=lookback_days,
        late_days=note.late_days if note is not None else (),
    )


def is_large_and_new(days: Iterable[date], store: ObjectStore) -> bool:
    """Return whether more of these days were never archived than one hour takes up. It costs one request."""
    archived = set(days_of_table(store, schemas.RECONCILIATION.name))
    return sum(day not in archived for day in days) > DAYS_PER_TICK


def _read_past(store: ObjectStore, tables: Tables) -> Past:
    """Read the ratios of the newest days of the archive that are complete and have recordings."""
    newest = days_of_table(store, schemas.RECONCILIATION.name)[-_PAST_DAYS:]
    with worker_threads(_THREADS, "planning") as pool:
        rows = read_day_rows(newest, tables, pool).rows.values()
    return _find_ratios(row for row in rows if row is not None and row["verdict"] == DayVerdict.COMPLETE)


def _find_ratios(rows: Iterable[Row]) -> Past:
    with_audio = [row for row in rows if row["recordings_archived"] and row["audio_seconds"]]
    if not with_audio:
        return Past()
    calls = sum(row["calls"] for row in with_audio)
    archived = sum(row["recordings_archived"] for row in with_audio)
    seconds = sum(row["audio_seconds"] for row in with_audio)
    return Past(
        days=len(with_audio),
        recorded_share=min(1.0, archived / calls) if calls else None,
        seconds_per_recording=seconds / archived,
        bytes_per_second=sum(row["bytes_in_bucket"] for row in with_audio) / seconds,
    )
