"""A list without a date filter: the day is found by its place in the list, whatever the list is like."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kros_pipeline.core.listing import Listing
from kros_pipeline.source.call_source import Page, UnparsedRow
from kros_pipeline.steps.page_search import pages_of_span
from kros_pipeline_tests.steps.test_list_reader import DAY, MIDNIGHT, ORDERS, calls_at, ids_of, of_day, read, spread
from kros_pipeline_tests.support.fake_call_source import FakeCall
from kros_pipeline_tests.support.lying_source import Lies, LyingSource

WAYS = ({"ignores_dates": True}, {"refuses_dates": True})
ORDERED = ("newest", "oldest")


def days_of(per_day: int, before: int, behind: int) -> list[FakeCall]:
    """As many calls on each of the days around the day, and on the day itself."""
    return spread(per_day * (before + 1 + behind), -86_400.0 * before, 86_400.0 * (1 + behind))


# N calls of the day in a list of so many days.
@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("order", ORDERED)
@pytest.mark.parametrize(
    ("per_day", "before", "behind"),
    [(0, 3, 3), (1, 0, 0), (3, 5, 5), (40, 0, 0), (40, 0, 20), (40, 20, 0), (99, 3, 3), (130, 30, 2), (700, 3, 3)],
)
def test_the_day_is_found_within_the_budget(order: Any, how: Any, per_day: int, before: int, behind: int) -> None:
    calls = days_of(per_day, before, behind) or [*calls_at(-86_400.0, 2 * 86_400.0)]
    reader, source = read(calls, Lies(order=order, **how))
    of_our_day = of_day(source)
    assert ids_of(reader) == of_our_day and not reader.result.problems, reader.result.problems
    pages = -(-len(calls) // 100)
    budget = 2 * math.ceil(len(of_our_day) / 100) + 2 * math.log2(pages) + 8
    assert source.requests_made <= budget, (source.requests_made, budget)


@pytest.mark.parametrize("order", ORDERED)
@pytest.mark.parametrize("count", [1, 99, 100, 101, 200, 250])
def test_a_page_that_ends_at_the_border_of_the_day_hides_no_call(order: Any, count: int) -> None:
    calls = [*calls_at(*range(0, 86_400, 86_400 // count)[:count]), *calls_at(86_399.999, 0.001, prefix="edge")]
    others = [*spread(100, -86_400.0, -1, prefix="before"), *spread(100, 86_400.0, 172_800.0, prefix="behind")]
    reader, source = read([*calls, *others], Lies(order=order, ignores_dates=True))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems


@pytest.mark.parametrize("page_limit", [7, 20, 100])
@pytest.mark.parametrize("order", ORDERED)
def test_pages_that_are_shorter_than_asked_for_are_understood(order: Any, page_limit: int) -> None:
    reader, source = read(days_of(60, 5, 5), Lies(order=order, page_limit=page_limit, ignores_dates=True))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems


# A limit of the list: the day, or a part of it, lies behind.
@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("total_cap", [None, 1_000])
@pytest.mark.parametrize(("before", "behind"), [(3, 12), (3, 9), (20, 3)])
def test_a_day_behind_the_depth_of_the_list_is_not_proved(
    total_cap: int | None, before: int, behind: int, *, refused: bool
) -> None:
    lies = Lies(ignores_dates=True, depth_cap=1_000, is_depth_refused=refused, total_cap=total_cap)
    reader, source = read(days_of(100, before, behind), lies)
    assert ids_of(reader) == of_day(source) or reader.result.problems
    if behind == 12:
        assert reader.result.problems and not len(reader.rows.ids)


@pytest.mark.parametrize("order", ORDERED)
@pytest.mark.parametrize(("before", "behind"), [(3, 3), (0, 6), (6, 0)])
@pytest.mark.parametrize("last_page", [1, 2, 4])
def test_pages_that_repeat_the_last_one_that_the_server_has_are_no_end(
    monkeypatch: pytest.MonkeyPatch, order: Any, before: int, behind: int, last_page: int
) -> None:
    class Clamped(LyingSource):
        def list_page(self, window: Any, offset: int, page_number: int) -> Any:
            number = min(page_number, last_page)
            return super().list_page(window, (number - 1) * 100, number)

    monkeypatch.setattr("kros_pipeline_tests.steps.test_list_reader.LyingSource", Clamped)
    reader, source = read(days_of(100, before, behind), Lies(order=order, ignores_dates=True))
    assert reader.result.problems or ids_of(reader) == of_day(source)


# A list in no order is read whole.
@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("per_day", [10, 110])
def test_a_list_in_no_order_is_read_whole(how: Any, per_day: int) -> None:
    reader, source = read(days_of(per_day, 4, 4), Lies(order="shuffled", **how))
    assert ids_of(reader) == of_day(source) and not reader.result.problems, reader.result.problems
    assert source.requests_made <= math.ceil(len(source.calls) / 100) + 9


def test_a_list_in_no_order_whose_total_may_be_a_limit_is_no_proof() -> None:
    lies = Lies(order="shuffled", ignores_dates=True, total_cap=1_000, depth_cap=1_000)
    reader, _ = read(spread(1_500, -86_400.0, 172_800.0), lies)
    assert reader.result.problems and not reader.result.is_moving


# A list that changes while it is read.
@pytest.mark.parametrize("order", ORDERED)
@pytest.mark.parametrize("change", ["add", "remove", "swap"])
@pytest.mark.parametrize("at_page", range(1, 13))
def test_a_change_while_the_list_is_read_loses_no_call(order: Any, change: str, at_page: int) -> None:
    rng, pages = random.Random(at_page), itertools.count(1)

    def act(source: LyingSource) -> None:
        if next(pages) != at_page:
            return
        if change in ("remove", "swap"):
            for call_id in rng.sample(sorted(source.calls), 3):
                del source.calls[call_id]
        if change in ("add", "swap"):
            for number in range(3):
                [new] = calls_at(rng.uniform(-86_400, 172_800), prefix=f"new{number}")
                source.calls[new.call_id] = new

    reader, source = read(days_of(130, 4, 4), Lies(order=order, ignores_dates=True), act)
    if not reader.result.problems:
        assert ids_of(reader) >= of_day(source) & source.shown


def test_a_day_whose_calls_never_rest_is_not_proved() -> None:
    numbers = itertools.count()

    def act(source: LyingSource) -> None:
        [new] = calls_at(40_000 + next(numbers), prefix=f"new{next(numbers)}")
        source.calls[new.call_id] = new

    reader, _ = read(days_of(60, 3, 3), Lies(ignores_dates=True), act)
    assert reader.result.is_moving and "passes" in " ".join(reader.result.problems)


# Fresh URLs: the day is read again at its place, wherever that is by then.
@pytest.mark.parametrize("order", [*ORDERED, "shuffled"])
@pytest.mark.parametrize("moved_by", [-250, 0, 250])
def test_the_pages_of_the_day_are_found_again(order: Any, moved_by: int) -> None:
    reader, source = read(days_of(130, 4, 4), Lies(order=order, ignores_dates=True))
    span = reader.result.pages
    assert span is not None
    others = sorted(
        call_id for call_id, call in source.calls.items() if call.created_at >= MIDNIGHT + timedelta(days=1)
    )
    for call_id in others[: max(0, -moved_by)]:
        del source.calls[call_id]
    for number in range(max(0, moved_by)):
        [new] = calls_at(90_000 + number, prefix=f"new{number}")
        source.calls[new.call_id] = new
    before = source.requests_made
    shown = {listed.call.call_id for page in pages_of_span(DAY, span, source) for listed in page.calls}
    assert of_day(source) <= shown
    assert source.requests_made - before <= (8 if order != "shuffled" else 15)


@pytest.mark.parametrize(
    "stored",
    [
        {"first_page": 0, "last_page": 1, "page_limit": 100, "is_newest_first": True},
        {"first_page": 1, "last_page": 1, "page_limit": True, "is_newest_first": True},
        {"first_page": 1, "last_page": 1, "page_limit": 100, "is_newest_first": "yes"},
        {"first_page": 1},
        [1, 2],
    ],
)
def test_pages_that_no_version_wrote_make_a_listing_unreadable(stored: object) -> None:
    with pytest.raises(ValueError, match="pages"):
        Listing.from_json({"proved": True, "listed_total": 1, "pages": stored})


# Answers that lie about themselves: each is a day that is whole, or not proved.


def assert_whole_or_not_proved(reader: Any, source: LyingSource) -> None:
    assert reader.result.problems or ids_of(reader) >= of_day(source)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("total_cap", [1, 55, 99, 100, 250, 700, 999])
@pytest.mark.parametrize(("before", "behind"), [(3, 6), (0, 6), (6, 0), (9, 3)])
def test_a_total_that_is_too_small_ends_nothing(order: Any, total_cap: int, before: int, behind: int) -> None:
    reader, source = read(days_of(100, before, behind), Lies(order=order, ignores_dates=True, total_cap=total_cap))
    assert_whole_or_not_proved(reader, source)


def with_pages(monkeypatch: pytest.MonkeyPatch, change: Any, *, in_offsets: bool = True) -> None:
    """Let `read` ask a source whose pages are changed; in the page dialect, a page has 20 rows whatever was asked."""

    class Changed(LyingSource):
        def list_page(self, window: Any, offset: int, page_number: int) -> Any:
            return change(super().list_page(window, offset if in_offsets else (page_number - 1) * 20, page_number))

    monkeypatch.setattr("kros_pipeline_tests.steps.test_list_reader.LyingSource", Changed)


@pytest.mark.parametrize("in_offsets", [True, False])
@pytest.mark.parametrize("limit", [100, 20, None])
@pytest.mark.parametrize("has_total", [True, False])
@pytest.mark.parametrize(("before", "behind"), [(5, 10), (0, 10), (10, 0)])
def test_pages_that_are_shorter_than_they_say_are_followed_by_others(
    monkeypatch: pytest.MonkeyPatch, before: int, behind: int, limit: int | None, *, has_total: bool, in_offsets: bool
) -> None:
    def shorten(page: Page) -> Page:
        return replace(page, calls=page.calls[:20], limit=limit, total=page.total if has_total else None)

    with_pages(monkeypatch, shorten, in_offsets=in_offsets)
    reader, source = read(days_of(60, before, behind), Lies(ignores_dates=True))
    assert_whole_or_not_proved(reader, source)
    if before and behind:
        assert not reader.result.problems, reader.result.problems


@pytest.mark.parametrize("depth_cap", [None, 100, 500, 700, 950])
@pytest.mark.parametrize(("before", "behind"), [(3, 6), (0, 6), (6, 0)])
def test_without_a_total_the_end_of_the_list_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, depth_cap: int | None, before: int, behind: int
) -> None:
    with_pages(monkeypatch, lambda page: replace(page, total=None))
    reader, source = read(days_of(100, before, behind), Lies(ignores_dates=True, depth_cap=depth_cap))
    assert_whole_or_not_proved(reader, source)
    assert source.requests_made <= 80
    if before and behind and depth_cap is None:
        assert not reader.result.problems


@pytest.mark.parametrize("order", ORDERED)
@pytest.mark.parametrize(("before", "behind"), [(0, 3), (3, 0), (3, 9), (9, 9), (0, 0)])
def test_a_list_in_sections_is_in_no_order(
    monkeypatch: pytest.MonkeyPatch, order: Any, before: int, behind: int
) -> None:
    class Grouped(LyingSource):
        def select(self, window: Any) -> list[FakeCall]:
            return sorted(super().select(window), key=lambda call: int(call.call_id[-1]) % 2)

    monkeypatch.setattr("kros_pipeline_tests.steps.test_list_reader.LyingSource", Grouped)
    reader, source = read(days_of(100, before, behind), Lies(refuses_dates=True, order=order))
    assert_whole_or_not_proved(reader, source)


def test_one_row_out_of_its_place_is_no_border(monkeypatch: pytest.MonkeyPatch) -> None:
    class ByEnd(LyingSource):
        def select(self, window: Any) -> list[FakeCall]:
            return sorted(super().select(window), key=end_of_call, reverse=True)

    def end_of_call(call: FakeCall) -> Any:
        return call.created_at + timedelta(seconds=call.duration_seconds or 0), call.call_id

    monkeypatch.setattr("kros_pipeline_tests.steps.test_list_reader.LyingSource", ByEnd)
    calls = [
        *calls_at(*(60.0 * number for number in range(20)), prefix="early"),
        *calls_at(*(7_200 + 190 * number for number in range(399)), duration=10.0, prefix="late"),
        *calls_at(-600.0, duration=3_000.0, prefix="x"),
        *calls_at(*(-86_400 * 6 + 600.0 * number for number in range(780)), prefix="older"),
    ]
    reader, source = read(calls, Lies(refuses_dates=True))
    assert_whole_or_not_proved(reader, source)


@pytest.mark.parametrize("flip", range(1, 12))
def test_a_call_that_vanishes_while_another_appears_hides_none(flip: int) -> None:
    pages = itertools.count(1)

    def act(source: LyingSource) -> None:
        number = next(pages)
        newest = max(source.calls.values(), key=lambda call: call.created_at)
        if number == flip:
            del source.calls[newest.call_id]
        if number == flip + 2:
            [new] = calls_at(86_400 * 4 + 100.0, prefix="new")
            source.calls[new.call_id] = new

    reader, source = read(days_of(245, 3, 3), Lies(ignores_dates=True), act)
    assert_whole_or_not_proved(reader, source)


def test_calls_of_other_days_that_the_pages_show_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, source = read(days_of(60, 9, 9), Lies(refuses_dates=True))
    shown = ids_of(reader).union(*(ids_of(reader, other) for other in reader.rows.other_days))
    assert shown == source.shown and len(reader.rows.other_days) > 4


@pytest.mark.parametrize(("is_beside", "is_kept"), [(False, False), (True, True)])
def test_a_row_without_a_time_is_of_the_day_where_its_page_is(
    monkeypatch: pytest.MonkeyPatch, *, is_beside: bool, is_kept: bool
) -> None:
    row = UnparsedRow(None, None, '{"id": 7}', "field 'id' is missing, empty or not a string")

    def spoil(page: Page) -> Page:
        has_day = any(listed.call.call_date == DAY for listed in page.calls)
        return replace(page, calls=page.calls[1:], unparsed=[row]) if has_day is is_beside and page.calls else page

    with_pages(monkeypatch, spoil)
    reader, _ = read(days_of(130, 4, 4), Lies(refuses_dates=True))
    assert bool(reader.rows.unparsed) is is_kept
