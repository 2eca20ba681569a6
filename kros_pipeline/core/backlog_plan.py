"""Plan a backlog: what each day holds and needs, and when its turn ends at the present rate and quota.

All of it is an estimate. A day's calls are counted by the API's list; what they need is computed from these rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from .days import start_of
from .retention import upstream_expires_on

DAYS_PER_TICK = 3  # of the hourly schedule
DOCUMENTED_BYTES_PER_SECOND = 12_000.0  # of MP3 at 96 kbit/s
_CALLS_PER_PAGE = 100
_READS_OF_THE_LIST = 2  # the proof, and again for fresh URLs
_OTHER_REQUESTS = 10  # totals, the first pages again, two counters: measured
_SHARE_OF_OTHER_SCHEDULES = 0.07  # of the quota: settled days and webhook deliveries
_TICK_MINUTE = 40


@dataclass(frozen=True, slots=True)
class DayCount:
    """What the list shows of a day. `calls` is None where it was not asked; `rows` are those that came.

    `recorded` and `seconds` are of the rows with a recording, `without_text` counts rows whose transcript the list does
    not have whole. `is_at_least` is True where the total may be a limit of the list, or is an estimate.
    """

    calls: int | None
    rows: int = 0
    recorded: int = 0
    seconds: float = 0.0
    timed: int = 0
    without_text: int = 0
    is_at_least: bool = False


@dataclass(frozen=True, slots=True)
class Past:
    """What the archive's own complete days show; each is None where there are none."""

    days: int = 0
    recorded_share: float | None = None
    seconds_per_recording: float | None = None
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """The present rate and quota. None is no limit."""

    requests_per_second: float | None
    requests_per_day: int | None
    requests_per_run: int | None
    retention_days: int | None
    asks_every_transcript: bool = False


@dataclass(frozen=True, slots=True)
class DayPlan:
    """One day of the plan. `is_late` is True where upstream deletes recordings of it before its turn ends."""

    day: date
    calls: int
    recordings: int
    api_requests: int
    size_bytes: int
    audio_seconds: float
    ends_at: datetime
    deleted_on: date | None
    is_late: bool
    estimated_from: str


@dataclass(frozen=True, slots=True)
class BacklogPlan:
    """The days in the order of their turns, and when it was made."""

    made_at: datetime
    days: list[DayPlan] = field(default_factory=list)

    @property
    def late_days(self) -> list[date]:
        """The days that upstream deletes before their turn."""
        return [day.day for day in self.days if day.is_late]


def plan_backlog(
    days: Sequence[date], counts: Mapping[date, DayCount], past: Past, capacity: Capacity, now: datetime
) -> BacklogPlan:
    """Plan the days in their order. A day that was not asked about gets the mean of the others."""
    means = _Means(counts, past)
    estimates = [_estimate(day, counts.get(day, DayCount(None)), means, capacity) for day in days]
    ends = _schedule([plan.api_requests for plan in estimates], capacity, now)
    planned = []
    for plan, ends_at in zip(estimates, ends, strict=True):
        deleted_on = upstream_expires_on(plan.day, capacity.retention_days)
        is_late = deleted_on is not None and ends_at > start_of(deleted_on)
        planned.append(replace(plan, ends_at=ends_at, deleted_on=deleted_on, is_late=is_late))
    return BacklogPlan(now, planned)


class _Means:
    """The means of all rows that came, and of the archive's past: for days of which no row came."""

    def __init__(self, counts: Mapping[date, DayCount], past: Past):
        known = [count.calls for count in counts.values() if count.calls is not None]
        rows = sum(count.rows for count in counts.values())
        timed = sum(count.timed for count in counts.values())
        self.past = past
        self.calls = sum(known) / len(known) if known else 0.0
        recorded = sum(count.recorded for count in counts.values())
        self.recorded_share = recorded / rows if rows else past.recorded_share if past.recorded_share else 1.0
        seconds = sum(count.seconds for count in counts.values())
        self.seconds = seconds / timed if timed else past.seconds_per_recording or 0.0
        self.without_text_share = sum(count.without_text for count in counts.values()) / rows if rows else 0.0
        self.bytes_per_second = past.bytes_per_second or DOCUMENTED_BYTES_PER_SECOND


def _estimate(day: date, count: DayCount, means: _Means, capacity: Capacity) -> DayPlan:
    calls = round(means.calls) if count.calls is None else count.calls
    recorded_share = count.recorded / count.rows if count.rows else means.recorded_share
    seconds = count.seconds / count.timed if count.timed else means.seconds
    without_text = count.without_text / count.rows if count.rows else means.without_text_share
    recordings = round(calls * recorded_share)
    pages = -(-calls // _CALLS_PER_PAGE)
    details = calls if capacity.asks_every_transcript else round(calls * without_text)
    audio_seconds = recordings * seconds
    return DayPlan(
        day=day,
        calls=calls,
        recordings=recordings,
        api_requests=_READS_OF_THE_LIST * pages + _OTHER_REQUESTS + details,
        size_bytes=round(audio_seconds * means.bytes_per_second),
        audio_seconds=audio_seconds,
        ends_at=datetime.min,
        deleted_on=None,
        is_late=False,
        estimated_from=_name_basis(count, means.past),
    )


def _name_basis(count: DayCount, past: Past) -> str:
    if count.calls is None:
        return "the mean of the other days"
    if count.rows:
        at_least = ", at least: the total may be a limit" if count.is_at_least else ""
        return f"{count.rows:,} of its rows{at_least}"
    if count.calls == 0:
        return "its total"
    return "its total; lengths of the other days" if not past.days else "its total; lengths of other days and the past"


def _schedule(requests: Sequence[int], capacity: Capacity, now: datetime) -> list[datetime]:
    """Return when each day's turn ends: three turns an hour, a share of the quota a run, the rest of it a UTC day.

    A day that needs more than a run may send takes several turns. The quota keeps room for the daily archive, which
    needs about as many requests as the mean day and at most half of it, and for the other schedules.
    """
    rate = capacity.requests_per_second or float("inf")
    per_day: float = float("inf")
    if capacity.requests_per_day is not None:
        mean = sum(requests) / len(requests) if requests else 0.0
        shared = capacity.requests_per_day * (1 - _SHARE_OF_OTHER_SCHEDULES)
        per_day = max(1.0, shared - min(mean, shared / 2))
    per_run = float(capacity.requests_per_run or float("inf"))
    used: dict[date, float] = {}
    at, turns, ends = now, 0, []
    first_tick = _next_tick(now)
    for needed in requests:
        left = float(needed)
        while left > 0:
            at = max(at, first_tick + timedelta(hours=turns // DAYS_PER_TICK))
            free = per_day - used.get(at.date(), 0.0)
            if free < 1:
                at = datetime.combine(at.date() + timedelta(days=1), time.min, at.tzinfo)
                first_tick, turns = _next_tick(at), 0
                continue
            sent = min(left, free, per_run)
            used[at.date()] = used.get(at.date(), 0.0) + sent
            at += timedelta(seconds=sent / rate)
            left -= sent
            turns += 1
        ends.append(at)
    return ends


def _next_tick(at: datetime) -> datetime:
    tick = at.replace(minute=_TICK_MINUTE, second=0, microsecond=0)
    return tick if tick >= at else tick + timedelta(hours=1)
