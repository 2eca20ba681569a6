"""The proof of the list, on lists that lie in every way that was seen: the day is whole, or it says that it is not."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.source.call_source import Page, Window
from kros_pipeline.steps.list_reader import ListReader
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall
from kros_pipeline_tests.support.lying_source import Lies, LyingSource

DAY = date(2025, 1, 10)
MIDNIGHT = datetime(2025, 1, 10, tzinfo=UTC)
CLOCK = clock_without_waits(lambda: datetime(2025, 1, 20, tzinfo=UTC))


def calls_at(*seconds: float, duration: float = 60.0, prefix: str = "call") -> list[FakeCall]:
    """Calls at these seconds of the day."""
    return [
        FakeCall(f"{prefix}_{number:06d}", MIDNIGHT + timedelta(seconds=at), duration_seconds=duration)
        for number, at in enumerate(seconds)
    ]


def spread(count: int, begin: float = 0.0, end: float = 86_400.0, *, seed: int = 1, **how: Any) -> list[FakeCall]:
    """Calls at random moments between two seconds of the day."""
    rng = random.Random(seed)
    return calls_at(*(begin + rng.random() * (end - begin) for _ in range(count)), **how)


def around(count: int) -> list[FakeCall]:
    """Calls of the day and of two days on each side, as many on each."""
    return spread(5 * count, -2 * 86_400.0, 3 * 86_400.0)


def read(calls: Iterable[FakeCall], lies: Lies = Lies(), act: Callable[[LyingSource], None] | None = None) -> Any:
    source = LyingSource(calls, CLOCK, lies)
    if act is not None:
        pages = itertools.count()

        def before_page() -> None:
            if next(pages):
                act(source)

        source.before_page = before_page
    reader = ListReader(source, DAY, prefetch_pages=0, on_first_page=lambda: None, log=logging.getLogger("test"))
    reader.read()
    return reader, source


def of_day(source: LyingSource) -> set[str]:
    return {call.call_id for call in source.calls.values() if call.created_at.date() == DAY}


def ids_of(reader: ListReader, day: date = DAY) -> set[str]:
    return {call.call_id for calls in reader.rows.batches_of(day) for call in calls}


ORDERS = ("newest", "oldest", "shuffled")


# A limit that passes for a count.
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", [{}, {"depth_cap": 1_000}, {"depth_cap": 1_000, "is_depth_refused": True}], ids=str)
@pytest.mark.parametrize("total", [{}, {"total_cap": 1_000}, {"total_cap": 700}], ids=str)
def test_a_capped_list_is_read_whole(order: Any, depth: dict[str, Any], total: dict[str, Any]) -> None:
    reader, source = read(spread(3_700), Lies(order=order, **depth, **total))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems
    assert reader.proof.pages <= 6 * 37


@pytest.mark.parametrize("cap", [500, 1_000, 1_024])
def test_a_cap_is_seen_where_one_half_of_the_day_has_all_calls(cap: int) -> None:
    reader, source = read(spread(1_500, 50_000, 52_000), Lies(total_cap=cap, depth_cap=cap))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems


def test_a_cap_that_no_window_reveals_is_no_proof() -> None:
    reader, source = read(spread(1_500), Lies(total_cap=1_000, depth_cap=1_000, reads_days_only=True))
    assert len(reader.rows.ids) < len(of_day(source)) and reader.result.problems


# A filter that does not understand our times.
@pytest.mark.parametrize("count", [20, 300])
@pytest.mark.parametrize("reads_days_only", [False, True])
@pytest.mark.parametrize("hours", [-12, -8, -3.5, 1, 5.75, 14])
def test_a_shifted_filter_shows_the_whole_day(hours: float, reads_days_only: bool, count: int) -> None:
    reader, source = read(around(count), Lies(shift_hours=hours, reads_days_only=reads_days_only))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems
    if not reads_days_only:
        assert "outside the hours asked for" in " ".join(reader.rows.oddities())


@pytest.mark.parametrize("hours", [1, -8])
def test_times_without_a_zone_that_are_not_utc_are_a_problem(hours: float) -> None:
    reader, _ = read(around(200), Lies(naive_hours=hours))
    assert "Set KROSAI_TIMEZONE" in " ".join(reader.result.problems) and not reader.result.is_moving


def test_a_long_call_is_found_by_a_filter_on_its_end() -> None:
    late = calls_at(84_600, duration=4 * 3_600, prefix="long")
    others = [*spread(900, duration=300), *spread(900, -86_400, 0, duration=300, prefix="before")]
    others += calls_at(-3_600, duration=5 * 3_600, prefix="evening")  # the longest call that is shown
    reader, source = read([*others, *late], Lies(filter_by="completed_at"))
    assert ids_of(reader) == of_day(source) and not reader.result.problems


# Bounds that are not shared.
@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("count", [0, 300])
def test_no_call_at_a_border_is_missed(start: bool, end: bool, count: int) -> None:
    borders = [0, 0.0004, 86_399.9996, 43_200, 43_199.5, 43_200.5]
    lies = Lies(is_start_inclusive=start, is_end_inclusive=end)
    reader, source = read([*spread(count), *calls_at(*borders, prefix="edge")], lies)
    assert ids_of(reader) == of_day(source) and not reader.result.problems


# A list that changes while it is read.
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("at_page", range(1, 9))
@pytest.mark.parametrize("seed", range(3))
def test_a_call_that_replaces_another_is_listed_or_missed_by_all(order: Any, at_page: int, seed: int) -> None:
    rng, pages = random.Random(seed), itertools.count(1)

    def swap(source: LyingSource) -> None:
        if next(pages) == at_page:
            del source.calls[rng.choice(sorted(source.calls))]
            new = calls_at(rng.random() * 86_400, prefix="new")[0]
            source.calls[new.call_id] = new

    reader, source = read(spread(280), Lies(order=order), swap)
    if not reader.result.problems:
        assert ids_of(reader) >= of_day(source) & source.shown


def test_a_list_that_never_rests_is_not_proved() -> None:
    numbers = itertools.count()

    def add(source: LyingSource) -> None:
        new = calls_at(40_000 + next(numbers), prefix=f"new{next(numbers)}")[0]
        source.calls[new.call_id] = new

    reader, _ = read(spread(250), act=add)
    assert reader.result.is_moving and "changed in each of 3 looks" in reader.result.problems[0]


# Statuses.
@pytest.mark.parametrize("status", ["ended", "complete", "Completed", " COMPLETED ", "archived"])
def test_a_row_with_another_status_is_a_call(status: str) -> None:
    reader, source = read(spread(20), Lies(status=status))
    assert ids_of(reader) == of_day(source) and not reader.result.problems
    assert bool(reader.rows.oddities()) == (status.strip().casefold() != "completed")


@pytest.mark.parametrize("status", ["failed", "BUSY", "no-answer", "in_progress", "Ringing", "initiated"])
def test_a_row_that_is_documented_as_not_completed_is_left_out(status: str) -> None:
    reader, _ = read(spread(20), Lies(status=status))
    assert not len(reader.rows.ids) and "status filter is ignored" in reader.rows.oddities()[0]


# Requests.
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 999, 1_000, 3_710])
def test_an_honest_list_costs_a_page_for_a_hundred_rows(count: int) -> None:
    reader, source = read(spread(count))
    assert ids_of(reader) == of_day(source) and not reader.result.problems
    assert reader.proof.pages <= math.ceil(count / 100) + 9


# What proves nothing.


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("cap", [250, 400, 750, 999, 1_234])
def test_a_limit_of_any_number_is_seen_where_all_calls_are_of_one_afternoon(cap: int, order: Any) -> None:
    reader, source = read(spread(2_000, 50_000, 80_000), Lies(order=order, total_cap=cap, depth_cap=cap))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems
    assert reader.proof.pages <= (6 if cap >= 500 else 8) * 20  # a limit of a few pages costs more


@pytest.mark.parametrize("count", [100, 128, 200, 256, 300, 431])
@pytest.mark.parametrize("lies", [Lies(), Lies(reads_days_only=True)], ids=["honest", "days only"])
def test_a_burst_of_calls_is_no_reason_to_doubt(count: int, lies: Lies) -> None:
    reader, source = read(spread(count, 33_187.1, 33_187.9), lies)
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems
    assert reader.proof.pages <= 2 * math.ceil(count / 100) + 11


def test_a_burst_of_as_many_calls_as_a_limit_may_have_is_not_proved() -> None:
    reader, _ = read(spread(1_500, 33_187.1, 33_187.9), Lies(total_cap=1_000, depth_cap=1_000))
    assert "may be a limit" in reader.result.problems[0]


@pytest.mark.parametrize("hours", [-8, 5.5])
def test_as_many_calls_as_a_limit_in_one_hour_are_proved_whatever_the_filter_reads(hours: float) -> None:
    reader, source = read(spread(1_000, 30_000, 33_600), Lies(shift_hours=hours))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems


def test_a_burst_at_noon_is_not_taken_for_a_filter_that_reads_days() -> None:
    burst, late = spread(150, 43_139, 43_141, duration=30), calls_at(86_100, duration=600, prefix="late")
    reader, source = read([*burst, *late], Lies(filter_by="completed_at"))
    assert ids_of(reader) == of_day(source) and not reader.result.problems


def test_the_first_hours_of_the_next_day_are_proved_where_they_have_calls_of_this_one() -> None:
    evening, night = spread(1_500, 82_800, 86_400), spread(700, 86_400, 93_600, prefix="night")
    lies = Lies(shift_hours=2, total_cap=1_000, depth_cap=1_000)
    reader, source = read([*evening, *spread(100, prefix="more"), *night], lies)
    assert ids_of(reader) == of_day(source) or reader.result.problems


def test_a_single_row_of_another_year_switches_nothing_off() -> None:
    zombie = FakeCall("zombie", datetime(2020, 1, 1, tzinfo=UTC), duration_seconds=1.0)
    source = LyingSource(around(20), CLOCK, Lies(shift_hours=-8))
    honest = source.select
    source.select = lambda window: [zombie, *honest(window)]  # type: ignore[method-assign]
    reader = ListReader(source, DAY, prefetch_pages=0, on_first_page=lambda: None, log=logging.getLogger("test"))
    reader.read()
    assert ids_of(reader) == of_day(source)
    assert "1 rows lie more than 3 days outside" in " ".join(reader.rows.oddities())


def test_a_day_without_evidence_is_widened_by_what_its_neighbours_showed() -> None:
    """Nobody calls at night: the one call of the day lies where the shifted filter shows it for the day before."""
    source = LyingSource(calls_at(3_600), CLOCK, Lies(shift_hours=-8))
    unaware = ListReader(source, DAY, prefetch_pages=0, on_first_page=lambda: None, log=logging.getLogger("test"))
    unaware.read()
    assert not len(unaware.rows.ids)
    widened = ListReader(
        source,
        DAY,
        prefetch_pages=0,
        on_first_page=lambda: None,
        log=logging.getLogger("test"),
        has_shown_later=True,
    )
    widened.read()
    assert ids_of(widened) == of_day(source)


class WithForeignRows(LyingSource):
    """The rows of calls whose id begins with "theirs" are another organization's."""

    def list_page(self, window: Window | None, offset: int, page_number: int) -> Page:
        page = super().list_page(window, offset, page_number)
        ids = [listed.call.call_id for listed in page.calls if listed.call.call_id.startswith("theirs")]
        ours = [listed for listed in page.calls if listed.call.call_id not in ids]
        return Page(ours, [], page.total, page.limit, foreign_ids=ids)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("ours", [0, 1, 3, 400])
@pytest.mark.parametrize(
    ("begin", "end", "cap"), [(0, 86_400, None), (50_000, 50_001, None), (0, 40_000, 300), (50_000, 52_000, 1_000)]
)
def test_foreign_rows_count_where_totals_are_compared_and_are_the_only_problem(
    order: Any, ours: int, begin: int, end: int, cap: int | None
) -> None:
    calls = [*spread(ours), *spread(700, begin, end, prefix="theirs", seed=2)]
    source = WithForeignRows(calls, CLOCK, Lies(order=order, total_cap=cap, depth_cap=cap))
    reader = ListReader(source, DAY, prefetch_pages=0, on_first_page=lambda: None, log=logging.getLogger("test"))
    reader.read()
    assert ids_of(reader) == {call.call_id for call in calls if call.call_id.startswith("call")}
    assert [problem[:55] for problem in reader.result.problems] == [
        "The list shows rows of another organization (700): they"
    ]
    assert not reader.result.is_moving
