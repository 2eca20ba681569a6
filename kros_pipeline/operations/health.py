"""The health of the archive: days that are missing, recordings that upstream is about to delete, drops in recording.

Everything is read from the archive. Upstream is not asked: it may be the part that is down.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from ..archive.acknowledgements import acknowledged_call_keys
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.clock import Clock
from ..core.days import days_from, grace_is_over
from ..core.errors import UnreadablePartition
from ..core.object_keys import call_key
from ..core.recorded_share import DAYS_BEFORE, Drop, RecordedDay, find_drops
from ..core.retention import warning_days
from ..core.statuses import DayVerdict, RecordingStatus
from ..core.worker_threads import worker_threads
from .changed_days import describe_deleted, describe_other_days, describe_replaced
from .day_rows import read_day_rows
from .day_states import DayState, look_at_every_day

_RECENT_DAYS = 14
_DROPS_REPORTED_DAYS = 7
_THREADS = 16
_SAMPLE_SIZE = 20
_MAX_CHARACTERS = 600
_OVERDUE = timedelta(days=1)  # after the time of a day's next look
_AT_RISK = (RecordingStatus.PENDING, RecordingStatus.FAILED, RecordingStatus.REFUSED)


@dataclass
class ArchiveHealth:
    """What was found. `days` are sentences; `calls` is a sample of (call id, day, days left) of `count` recordings.

    `other_days` are sentences about days that no schedule takes up: upstream has them no more, or they are before the
    first partition.
    """

    days: list[str] = field(default_factory=list)
    other_days: list[str] = field(default_factory=list)
    calls: list[tuple[str, date, int]] = field(default_factory=list)
    count: int = 0
    days_never_listed: list[tuple[date, int]] = field(default_factory=list)
    days_never_proved: list[tuple[date, int]] = field(default_factory=list)
    least_days_left: int | None = None
    is_urgent: bool = False
    drops: list[Drop] = field(default_factory=list)


def check_health(
    first: date,
    last: date,
    *,
    store: ObjectStore,
    tables: Tables,
    clock: Clock,
    retention_days: int | None,
    lookback_days: int,
    under_way: Collection[date] = (),
) -> ArchiveHealth:
    """Check the days from `first` to `last` of which upstream may still have recordings; and the tables of every day.

    The runs of days in `under_way` may be writing tables right now.
    """
    health = ArchiveHealth()
    today = clock.now().date()
    oldest = max(first, today - timedelta(days=retention_days if retention_days is not None else _RECENT_DAYS))
    first_drop = last - timedelta(days=_DROPS_REPORTED_DAYS - 1)
    first_read = min(oldest, max(first, first_drop - timedelta(days=DAYS_BEFORE)))
    read = days_from(first_read, last)
    days = [day for day in read if day >= oldest]
    states, other_states = look_at_every_day(days, store=store, tables=tables)
    first_owed = oldest if retention_days is not None else first  # as `find_backlog` takes them up
    health.other_days, changed_days = (
        describe_other_days(of_days, store=store, clock=clock, lookback_days=lookback_days, under_way=under_way)
        for of_days in (
            {day: state for day, state in other_states.items() if day < first_owed},
            {day: state for day, state in other_states.items() if day >= first_owed},
        )
    )
    with worker_threads(_THREADS, "health") as pool:
        older = read_day_rows((day for day in read if day < oldest), tables, pool)
        rows = older.rows | {day: state.row for day, state in states.items()}
        unreadable = older.unreadable | {day: state.unreadable for day, state in states.items() if state.unreadable}
        recorded = (_count_recorded(day, row) for day, row in rows.items() if row is not None)
        health.drops = find_drops(recorded, since=first_drop)
        for day in days:
            was_kept = rows[day] is not None or bool(states[day].deleted)
            if day not in unreadable and (was_kept or (today - day).days <= _RECENT_DAYS):
                health.days += _describe_day(day, states[day], clock, lookback_days, is_under_way=day in under_way)
        health.days += [f"{day}: {reason}." for day, reason in unreadable.items()]
        health.days += changed_days
        if retention_days is not None:
            unsafe = [day for day in days if not _is_safe(rows[day])]
            calls_at_risk = pool.map(lambda day: _find_calls_at_risk(store, tables, day), unsafe)
            for day, calls in zip(unsafe, calls_at_risk, strict=True):
                if isinstance(calls, UnreadablePartition):
                    health.days.append(f"{day}: {calls}.")
                else:
                    _add_risk(health, day, rows[day], calls, today, retention_days)
    return health


def _describe_day(day: date, state: DayState, clock: Clock, lookback_days: int, *, is_under_way: bool) -> Iterator[str]:
    """Yield what is wrong with a day: a recent one, or an older one that was looked at and that upstream still has."""
    row = state.row
    if row is None:
        if not state.deleted:
            yield f"{day} was never archived."
    elif row["verdict"] == DayVerdict.INCOMPLETE:
        yield f"{day} is incomplete{_first_problem(row)}."
    elif row["verdict"] != DayVerdict.COMPLETE:
        if grace_is_over(day, clock.now(), lookback_days + 1) and not state.may_rest(clock.now() - _OVERDUE):
            yield f"{day} is still waiting, a day after its grace days{_first_problem(row)}."
    elif row["listed_total"] is None:
        yield f"{day} is complete by its row, and its list was never proved."
    yield from describe_deleted(day, state)
    if not is_under_way and state.was_proved_after_grace(day, lookback_days):
        yield from describe_replaced(day, state.replaced)


def _first_problem(row: Row) -> str:
    """Return the first of a day's problems as the end of a sentence, and how many more there are."""
    problems = [str(problem).rstrip(".") for problem in row["problems"]]
    if not problems:
        return ""
    first = problems[0] if len(problems[0]) <= _MAX_CHARACTERS else f"{problems[0][: _MAX_CHARACTERS - 1]}…"
    more = f"; {len(problems) - 1} more problems" if len(problems) > 1 else ""
    return f": {first}{more}"


def _count_recorded(day: date, row: Row) -> RecordedDay:
    """Count the calls that had a recording. `recordings_failed` includes the refused ones."""
    recorded = row["recordings_archived"] + row["recordings_lost"] + row["recordings_failed"]
    return RecordedDay(day, row["calls"], recorded)


def _is_safe(row: Row | None) -> bool:
    return (
        row is not None
        and row["recordings_pending"] == row["recordings_failed"] == 0
        and row["listed_total"] is not None
    )


def _find_calls_at_risk(store: ObjectStore, tables: Tables, day: date) -> list[str] | UnreadablePartition:
    try:
        rows = tables.rows(schemas.RECORDINGS, day, ("call_id", "status"))
    except UnreadablePartition as error:
        return error
    acknowledged = acknowledged_call_keys(store, day)
    return [
        row["call_id"] for row in rows if row["status"] in _AT_RISK and call_key(row["call_id"]) not in acknowledged
    ]


def _add_risk(
    health: ArchiveHealth, day: date, row: Row | None, calls: list[str], today: date, retention_days: int
) -> None:
    """Add a day's recordings that upstream deletes soon."""
    days_left = (day + timedelta(days=retention_days) - today).days
    warning, urgent = warning_days(retention_days)
    is_proved = row is not None and row["listed_total"] is not None
    if days_left > warning or not (calls or not is_proved):
        return
    health.count += len(calls)
    health.calls += [(call_id, day, days_left) for call_id in calls[: _SAMPLE_SIZE - len(health.calls)]]
    if row is None:
        health.days_never_listed.append((day, days_left))
    elif not is_proved:
        health.days_never_proved.append((day, days_left))
    least = health.least_days_left
    health.least_days_left = days_left if least is None else min(days_left, least)
    health.is_urgent = health.is_urgent or days_left <= urgent
