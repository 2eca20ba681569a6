"""A pull of webhook deliveries: where it ends, what it costs, and that what it left is not forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.delivery_progress import DeliveryGap, DeliveryProgress
from kros_pipeline.core.errors import ApiServerError, CallNotFound, NotOffered, RequestRefused, TooManyRequests
from kros_pipeline.operations.webhook_reader import DeliveryReader
from kros_pipeline.source.call_source import CallSource, Delivery, DeliveryPage, WebhookEvent
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource

NOW = datetime(2025, 1, 20, 3, 30, tzinfo=UTC)
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
LIMIT = 10
Answers = Callable[[int], DeliveryPage]


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


class Upstream(FakeCallSource):
    """Deliveries in memory. Each test may say how the list differs from an honest one."""

    def __init__(self, hours: list[float], **options: Any) -> None:
        calls = [FakeCall(f"call_{number:05d}", hours_ago(hour)) for number, hour in enumerate(hours)]
        super().__init__(calls, clock_without_waits(lambda: NOW), page_limit=LIMIT, **options)
        self.asked: list[int] = []
        self.details: list[str] = []
        self.has_facts = True
        self.change: Callable[[int, DeliveryPage], DeliveryPage] = lambda number, page: page

    def webhook_deliveries(self, page_number: int) -> DeliveryPage:
        self.asked.append(page_number)
        page = self.change(page_number, super().webhook_deliveries(page_number))
        return page if self.has_facts else DeliveryPage(page.deliveries, None, None)

    def webhook_delivery(self, delivery_id: str) -> Delivery:
        self.details.append(delivery_id)
        return super().webhook_delivery(delivery_id)


def pull(
    source: CallSource, progress: DeliveryProgress | None = None, *, max_requests: int = 1_000, since: datetime = SINCE
) -> DeliveryReader:
    reader = DeliveryReader(source, progress or DeliveryProgress(), since=since, now=NOW, max_requests=max_requests)
    reader.read()
    return reader


# Where it ends.


@pytest.mark.parametrize("has_facts", [True, False])
@pytest.mark.parametrize(
    ("count", "pages", "pages_without_facts"), [(0, 1, 1), (4, 1, 2), (10, 1, 2), (34, 4, 4), (30, 3, 4)]
)
def test_it_ends_with_the_list(count: int, pages: int, pages_without_facts: int, *, has_facts: bool) -> None:
    source = Upstream([1.0 + number for number in range(count)])
    source.has_facts = has_facts
    reader = pull(source)
    assert len(reader.calls) == reader.delivery_count == count
    assert reader.requests_made == (pages if has_facts else pages_without_facts)
    assert reader.progress == DeliveryProgress(hours_ago(1) if count else None) and not reader.ended_early


def test_a_server_with_shorter_pages_is_read_whole() -> None:
    source = Upstream([1.0 + number for number in range(34)])
    source.page_limit, source.has_facts = 4, False
    assert len(pull(source).calls) == 34


def test_it_ends_a_day_before_the_last_pull() -> None:
    source = Upstream([float(number) for number in range(1, 200)])
    reader = pull(source, DeliveryProgress(hours_ago(20)))
    assert source.asked == [1, 2, 3, 4, 5, 6]  # 44 hours; the sixth page is older as a whole
    assert reader.progress == DeliveryProgress(hours_ago(1))


def test_it_ends_where_deliveries_do_not_matter_any_more() -> None:
    source = Upstream([float(number) for number in range(1, 200)])
    assert len(pull(source, since=hours_ago(15)).calls) == 30


@pytest.mark.parametrize("refusal", [RequestRefused("status 400"), NotOffered("status 404")])
def test_a_page_behind_the_end_may_be_refused(refusal: Exception) -> None:
    source = Upstream([1.0 + number for number in range(10)])
    source.has_facts = False

    def refuse(number: int, page: DeliveryPage) -> DeliveryPage:
        if number > 1:
            raise refusal
        return page

    source.change = refuse
    reader = pull(source)
    assert source.asked == [1, 2] and reader.progress == DeliveryProgress(hours_ago(1))
    source.change = lambda number, page: refuse(number + 1, page)
    with pytest.raises(type(refusal)):
        pull(source)


def test_a_server_that_ignores_the_page_does_not_keep_it_for_ever() -> None:
    source = Upstream([1.0 + number for number in range(10)])
    source.has_facts = False
    first = source.webhook_deliveries(1)
    source.change = lambda number, page: first
    assert pull(source).requests_made == 2


def test_a_list_in_another_order_is_read_to_its_end() -> None:
    source = Upstream([1.0 + number for number in range(60)])
    order = [row for number in range(6, 0, -1) for row in reversed(source.webhook_deliveries(number).deliveries)]

    def oldest_first(number: int, page: DeliveryPage) -> DeliveryPage:
        return DeliveryPage(order[(number - 1) * LIMIT : number * LIMIT], page.total, page.limit)

    source.change = oldest_first
    before = DeliveryProgress(hours_ago(10))
    reader = pull(source, before)
    assert len(reader.calls) == 60 and not reader.is_newest_first
    assert reader.progress == DeliveryProgress(hours_ago(1))
    assert pull(source, before, max_requests=3).progress == before


def test_times_to_come_and_unknown_times_do_not_stop_the_next_pull() -> None:
    source = Upstream([-50_000.0, 1.0, 2.0])
    reader = pull(source)
    assert reader.progress == DeliveryProgress(NOW) and len(reader.calls) == 3
    source.change = lambda number, page: DeliveryPage([Delivery(problem="?")] * 3, 3, LIMIT)
    reader = pull(source, DeliveryProgress(hours_ago(1)))
    assert reader.progress == DeliveryProgress(hours_ago(1)) and reader.unreadable == {"?": 3}


# Attempts and details.


def attempts_of(event_id: str, call_id: str, count: int, **facts: Any) -> list[Delivery]:
    sent_at = hours_ago(1)
    event = WebhookEvent(event_id, call_id, None, sent_at)
    return [Delivery(f"{event_id}_{number}", event_id, sent_at, event, **facts) for number in range(count)]


def test_five_attempts_of_one_event_are_asked_for_once() -> None:
    source = Upstream([1.0], shows_payloads=False)
    rows = [Delivery(f"del_{number}", "evt_call_00000", hours_ago(1), needs_detail=True) for number in range(5)]
    rows[0] = Delivery("del_call_00000", "evt_call_00000", hours_ago(1), needs_detail=True)
    source.change = lambda number, page: DeliveryPage(rows, 5, LIMIT)
    reader = pull(source)
    assert source.details == ["del_call_00000"] and list(reader.calls) == ["call_00000"]
    assert reader.delivery_count == 5


def test_several_events_of_one_call_are_one_call_with_its_own_time() -> None:
    source = Upstream([])
    created_at = hours_ago(3)
    rows = [*attempts_of("evt_2", "call_a", 3), *attempts_of("evt_1", "call_a", 2)]
    rows.append(Delivery("del_3", "evt_3", hours_ago(2), WebhookEvent("evt_3", "call_a", created_at, None)))
    source.change = lambda number, page: DeliveryPage(rows, len(rows), LIMIT)
    [call] = pull(source).calls.values()
    assert (call.created_at, call.sent_at) == (created_at, hours_ago(2))


def test_an_old_delivery_is_not_asked_for() -> None:
    source = Upstream([1.0, 2.0, 30.0, 40.0], shows_payloads=False)
    reader = pull(source, DeliveryProgress(hours_ago(3)))
    assert len(source.details) == 2 + 0 and reader.requests_made == 3


def test_a_detail_that_is_gone_is_counted_and_passed_over() -> None:
    source = Upstream([1.0, 2.0], shows_payloads=False)
    rows = [Delivery("del_unknown", None, hours_ago(1), needs_detail=True), *source.webhook_deliveries(1).deliveries]
    source.change = lambda number, page: DeliveryPage(rows, 3, LIMIT)
    reader = pull(source)
    assert len(reader.calls) == 2 and reader.unreadable.total() == 1


def test_an_event_without_any_time_is_counted() -> None:
    source = Upstream([])
    row = Delivery("del_1", "evt_1", None, WebhookEvent("evt_1", "call_a", None, None))
    source.change = lambda number, page: DeliveryPage([row], 1, LIMIT)
    reader = pull(source)
    assert not reader.calls and reader.unreadable == {"the event has no time": 1}


# The budget, and the gap.


def test_the_budget_ends_it_and_the_next_pulls_close_the_gap() -> None:
    source = Upstream([float(number) for number in range(1, 101)])
    before = DeliveryProgress(hours_ago(90))
    reader = pull(source, before, max_requests=4)
    assert source.asked == [1, 2, 3, 4] and reader.requests_made == 4
    assert reader.ended_early == "the pull's share of 4 API requests is used up"
    gap = DeliveryGap(newest=hours_ago(1), end=hours_ago(40), page=4)
    assert reader.progress == DeliveryProgress(hours_ago(90), gap)

    seen = set(reader.calls)
    progress = reader.progress
    for night in range(10):
        new = [FakeCall(f"new_{night}_{number}", hours_ago(0.9 - night / 20)) for number in range(3)]
        source.calls |= {call.call_id: call for call in new}
        source.asked.clear()
        reader = pull(source, progress, max_requests=6)
        assert source.asked[0] == 1 and len(source.asked) <= 6
        seen |= set(reader.calls)
        progress = reader.progress
        assert progress.read_until is not None and progress.read_until >= hours_ago(90)
        if progress.gap is None:
            break
    assert progress.read_until == max(call.created_at for call in source.calls.values())
    assert seen == source.calls.keys() and 0 < night < 9


def test_a_pull_that_cannot_finish_the_top_lets_the_gap_grow() -> None:
    source = Upstream([float(number) for number in range(1, 101)])
    gap = DeliveryGap(newest=hours_ago(60), end=hours_ago(80), page=2)
    reader = pull(source, DeliveryProgress(hours_ago(99), gap), max_requests=2)
    assert reader.progress == DeliveryProgress(hours_ago(99), DeliveryGap(hours_ago(1), hours_ago(20), 2))


def test_a_gap_is_found_where_the_list_has_lost_rows() -> None:
    source = Upstream([float(number) for number in range(1, 101)])
    gap = DeliveryGap(newest=hours_ago(1), end=hours_ago(40), page=9)  # it was there: 50 rows above it are gone
    reader = pull(source, DeliveryProgress(hours_ago(90), gap))
    assert len(reader.calls) == 100 and reader.progress == DeliveryProgress(hours_ago(1))


def test_a_gap_behind_the_end_of_the_list_is_closed() -> None:
    source = Upstream([1.0, 2.0, 3.0])
    gap = DeliveryGap(newest=hours_ago(50), end=hours_ago(80), page=9)
    assert pull(source, DeliveryProgress(hours_ago(99), gap)).progress == DeliveryProgress(hours_ago(1))


def test_a_pull_that_read_nothing_of_the_gap_keeps_it() -> None:
    source = Upstream([float(number) for number in range(1, 101)])
    gap = DeliveryGap(newest=hours_ago(1), end=hours_ago(60), page=6)
    reader = pull(source, DeliveryProgress(hours_ago(99), gap), max_requests=2)  # two pages for the top
    assert source.asked == [1, 2]
    assert reader.progress == DeliveryProgress(hours_ago(99), gap)


def test_details_count_and_the_gap_begins_in_the_middle_of_a_page() -> None:
    source = Upstream([float(number) for number in range(1, 31)], shows_payloads=False)
    reader = pull(source, max_requests=15)
    assert len(reader.calls) == 13 == len(source.details)
    assert reader.progress == DeliveryProgress(None, DeliveryGap(hours_ago(1), hours_ago(13), 2))


def test_a_gap_of_details_is_closed_in_order_without_asking_twice() -> None:
    source = Upstream([float(number) for number in range(1, 31)], shows_payloads=False)
    progress, nights = DeliveryProgress(), 0
    while not nights or progress.gap is not None:
        progress = pull(source, progress, max_requests=15).progress
        nights += 1
    assert set(source.details) == {f"del_{call_id}" for call_id in source.calls}
    assert nights == 4 and progress == DeliveryProgress(hours_ago(1))
    # Asked for again each night: the three since midnight, and the one at which the gap ends.
    assert len(source.details) <= 30 + 3 * (3 + 1)


@pytest.mark.parametrize("max_requests", [0, 1])
def test_without_a_row_that_was_handled_nothing_changes(max_requests: int) -> None:
    source = Upstream([1.0], shows_payloads=False)
    before = DeliveryProgress(hours_ago(5))
    reader = pull(source, before, max_requests=max_requests)
    assert reader.progress == before and reader.ended_early


@pytest.mark.parametrize("on_page", [1, 3])
def test_a_rate_limit_ends_it_as_its_own_budget_does(on_page: int) -> None:
    source = Upstream([float(number) for number in range(1, 101)])

    def throttle(number: int, page: DeliveryPage) -> DeliveryPage:
        if number == on_page:
            raise TooManyRequests("upstream asks to wait 3,600 seconds (quota)")
        return page

    source.change = throttle
    before = DeliveryProgress(hours_ago(90))
    reader = pull(source, before)
    assert reader.ended_early == "upstream asks to wait 3,600 seconds (quota)"
    gap = DeliveryGap(hours_ago(1), hours_ago(20), 2)
    assert reader.progress == (before if on_page == 1 else DeliveryProgress(hours_ago(90), gap))


def test_the_runs_own_share_of_the_quota_ends_it_too() -> None:
    reader = pull(Upstream([float(number) for number in range(1, 101)], requests_per_run=2))
    assert "budget" in reader.ended_early and len(reader.calls) == 20


def test_too_many_calls_for_the_memory_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kros_pipeline.operations.webhook_reader._MAX_CALLS", 25)
    reader = pull(Upstream([float(number) for number in range(1, 101)]))
    assert len(reader.calls) == 25 and reader.progress.gap == DeliveryGap(hours_ago(1), hours_ago(25), 3)


def test_an_error_that_is_no_end_is_raised() -> None:
    source = Upstream([1.0], shows_payloads=False)

    def fail(number: int, page: DeliveryPage) -> DeliveryPage:
        raise ApiServerError("status 503")

    source.change = fail
    with pytest.raises(ApiServerError):
        pull(source)
    source.has_webhook = False
    with pytest.raises(NotOffered):
        pull(source)
    with pytest.raises(CallNotFound):
        source.webhook_delivery("del_unknown")
