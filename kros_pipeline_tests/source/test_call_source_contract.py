"""The contract of `CallSource`: every test runs on KrosAI over the simulator, and on the fake in memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.core.days import end_of, parse_time, start_of
from kros_pipeline.core.errors import (
    AudioGone,
    CallGone,
    CallNotFound,
    NotOffered,
    RequestRefused,
    TooManyRequests,
    UrlExpired,
    UrlRefused,
)
from kros_pipeline.sandbox import KrosaiSimulator, SandboxConfig
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.source.call_source import CallSource, Delivery, Page, Window
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.source.plans import PLANS, Plan
from kros_pipeline.source.settings import SourceSettings
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource

NOW = datetime(2025, 1, 11, 4, 15, tzinfo=UTC)
CLOCK = clock_without_waits(lambda: NOW)
# Two pages of completed calls; a few that failed, were not recorded, or have no transcript.
CONFIG = SandboxConfig(days={str(DAY): 170}, audio_seconds=(1, 3), idempotency=False, webhook=True)
WINDOW = Window(start_of(DAY), end_of(DAY))  # nothing lies at its end, which may be inclusive or not
EMPTY_WINDOW = Window(end_of(DAY) + timedelta(hours=1), end_of(DAY) + timedelta(hours=2))
UNKNOWN = ["call_unknown", "a/b", "a?b=c#d", "% ", "ü"]


@dataclass(frozen=True)
class Upstream:
    """A source, and the truth about its account."""

    open: Callable[..., CallSource]
    """Takes `plan`, `retention_days` and `requests_per_run`."""
    truth: dict[str, dict[str, Any]]
    """The completed calls by id, as `KrosaiSimulator.expected_calls` describes them."""
    extended_days: Callable[[], dict[str, list[int]]]

    def one(self, **facts: bool) -> str:
        """The id of the first call of which all facts are true."""
        return next(id_ for id_, call in sorted(self.truth.items()) if all(call[name] == facts[name] for name in facts))

    def window_of(self, first: int, last: int) -> Window:
        """A window with the calls of these numbers, in the order of time. None lies at its ends."""
        times = sorted(time_of(call) for call in self.truth.values())
        return Window(times[first] - timedelta(seconds=1), times[last] + timedelta(seconds=1))

    @property
    def recorded(self) -> str:
        return self.one(recorded=True)

    def audio(self, call_id: str) -> bytes:
        return bytes(mp3_audio(CONFIG.seed, call_id, self.truth[call_id]["audio_frames"]))


def over_the_simulator(krosai: KrosaiSimulator, stack: ExitStack) -> Upstream:
    def open_source(
        plan: Plan = PLANS["business"], retention_days: int | None = 90, requests_per_run: int | None = None
    ) -> CallSource:
        settings = SourceSettings(
            api_key=CONFIG.api_key,
            auth="x-api-key",
            base_url=krosai.base_url,
            organization_id=None,
            timezone=None,
            plan=plan,
            retention_days=retention_days,
            requests_per_second=None,
            requests_per_run=requests_per_run,
            recording_hosts=frozenset({"127.0.0.1"}),
            connections=4,
        )
        source = KrosAI(settings, CLOCK)
        stack.callback(source.close)
        return source

    return Upstream(open_source, truth_of(krosai), krosai.extended_days)


def in_memory(krosai: KrosaiSimulator) -> Upstream:
    """The same calls without the simulator."""
    extended: dict[str, list[int]] = {}
    calls = krosai.expected_calls(hashes=False)

    def open_source(
        plan: Plan = PLANS["business"], retention_days: int | None = 90, requests_per_run: int | None = None
    ) -> CallSource:
        source = FakeCallSource(
            [
                FakeCall(
                    call_id=call["id"],
                    created_at=time_of(call),
                    audio=bytes(mp3_audio(CONFIG.seed, call["id"], call["audio_frames"])) if call["recorded"] else None,
                    transcript=call["transcript"],
                    duration_seconds=call["duration_seconds"],
                    status=call["status"],
                    language=call["language"],
                    confidence=call["confidence"],
                )
                for call in calls
            ],
            CLOCK,
            retention_days=retention_days,
            maximum_retention_days=plan.maximum_retention_days,
            requests_per_run=requests_per_run,
        )
        source.extended_days = extended
        return source

    return Upstream(open_source, truth_of(krosai), lambda: extended)


def truth_of(krosai: KrosaiSimulator) -> dict[str, dict[str, Any]]:
    return {call["id"]: call for call in krosai.expected_calls(hashes=False) if call["status"] == "completed"}


def time_of(call: dict[str, Any]) -> datetime:
    created_at = parse_time(call["created_at"])
    assert created_at is not None
    return created_at


@pytest.fixture(params=["krosai", "fake"])
def upstream(
    request: pytest.FixtureRequest, simulators: Callable[[SandboxConfig], KrosaiSimulator]
) -> Iterator[Upstream]:
    """For tests that change nothing upstream: they share one simulator."""
    with ExitStack() as stack:
        krosai = simulators(CONFIG)
        yield over_the_simulator(krosai, stack) if request.param == "krosai" else in_memory(krosai)


@pytest.fixture(params=["krosai", "fake"])
def own_upstream(
    request: pytest.FixtureRequest, simulators: Callable[[SandboxConfig], KrosaiSimulator]
) -> Iterator[Upstream]:
    """For tests that change something upstream: each has a simulator of its own."""
    with ExitStack() as stack:
        if request.param == "krosai":
            yield over_the_simulator(stack.enter_context(KrosaiSimulator(CONFIG)), stack)
        else:
            yield in_memory(simulators(CONFIG))


@pytest.fixture(params=["krosai", "fake"])
def without_webhook(
    request: pytest.FixtureRequest, simulators: Callable[[SandboxConfig], KrosaiSimulator]
) -> Iterator[CallSource]:
    if request.param == "fake":
        yield FakeCallSource([], CLOCK, has_webhook=False)
        return
    with ExitStack() as stack:
        yield over_the_simulator(simulators(SandboxConfig(days={str(DAY): 1})), stack).open()


def ids_of(pages: list[Page]) -> list[str]:
    return [listed.call.call_id for page in pages for listed in page.calls]


# The list.


@pytest.mark.parametrize("prefetch", [0, 4])
def test_the_pages_have_every_completed_call_of_a_window_once(upstream: Upstream, prefetch: int) -> None:
    source = upstream.open()
    pages = list(source.pages(WINDOW, prefetch=prefetch))
    assert sorted(ids_of(pages)) == sorted(upstream.truth)
    assert {page.total for page in pages} == {len(upstream.truth)}
    assert not any(page.unparsed for page in pages)


def test_all_pages_are_full_but_the_last(upstream: Upstream) -> None:
    source = upstream.open()
    counts = [page.row_count for page in source.pages(WINDOW)]
    assert len(counts) == 2 and counts[0] == source.page_limit > counts[1] > 0
    assert source.requests_made == 2


def test_a_full_page_at_the_end_is_followed_by_an_empty_one(upstream: Upstream) -> None:
    source = upstream.open()
    counts = [page.row_count for page in source.pages(upstream.window_of(0, source.page_limit - 1))]
    assert counts == [source.page_limit, 0]


def test_a_window_has_the_calls_between_its_ends(upstream: Upstream) -> None:
    [page] = upstream.open().pages(upstream.window_of(3, 7))
    times = sorted(time_of(call) for call in upstream.truth.values())
    assert sorted(listed.call.created_at for listed in page.calls) == times[3:8]


@pytest.mark.parametrize("prefetch", [0, 4])
def test_an_empty_window_is_one_page_without_rows(upstream: Upstream, prefetch: int) -> None:
    source = upstream.open()
    [page] = source.pages(EMPTY_WINDOW, prefetch=prefetch)
    assert (page.row_count, page.total, source.requests_made) == (0, 0, 1)


def test_a_page_can_be_asked_for_by_itself(upstream: Upstream) -> None:
    source = upstream.open()
    first, second = source.pages(WINDOW)
    assert ids_of([source.list_page(WINDOW, 0, 1)]) == ids_of([first])
    assert ids_of([source.list_page(WINDOW, source.page_limit, 2)]) == ids_of([second])


def test_no_request_is_sent_before_a_page_is_wanted(upstream: Upstream) -> None:
    source = upstream.open()
    pages = source.pages(WINDOW)
    assert source.requests_made == 0
    next(pages)
    assert source.requests_made == 1


def test_a_listed_call_has_the_values_of_upstream(upstream: Upstream) -> None:
    for page in upstream.open().pages(WINDOW):
        for listed in page.calls:
            call, truth = listed.call, upstream.truth[listed.call.call_id]
            assert (call.created_at, call.call_date) == (time_of(truth), DAY)
            assert (call.status, call.duration_seconds) == ("completed", truth["duration_seconds"])
            assert call.listed_at == NOW
            assert call.has_recording == (listed.recording_url is not None)
            assert truth["recorded"] or not call.has_recording
            assert "http" not in repr(listed)


def test_the_statistics_count_the_completed_calls_of_a_window(upstream: Upstream) -> None:
    source = upstream.open()
    for window, count in ((WINDOW, len(upstream.truth)), (EMPTY_WINDOW, 0)):
        first = source.statistics(window)[0]
        assert (first.name, first.value, first.counts_completed) == ("stats.completed_calls", count, True)
    assert source.requests_made == 2


def test_the_trends_count_the_completed_calls_of_a_day(upstream: Upstream) -> None:
    source = upstream.open()
    for day, count in ((DAY, len(upstream.truth)), (DAY + timedelta(days=1), 0)):
        [first] = [counter for counter in source.trends(day) if counter.counts_completed]
        assert (first.name, first.value) == ("trends.completed", count)
    assert source.requests_made == 2


# One call.


def test_the_recording_of_a_call_is_its_audio_with_its_sha256(upstream: Upstream) -> None:
    source, call_id = upstream.open(), upstream.recorded
    answer = source.recording(call_id)
    assert answer.recording_url is not None and answer.duration_seconds == upstream.truth[call_id]["duration_seconds"]
    assert "http" not in repr(answer)
    audio = upstream.audio(call_id)
    with source.open_recording(answer.recording_url) as body:
        assert bytes(body.data) == audio
        assert (body.size_bytes, body.sha256) == (len(audio), hashlib.sha256(audio).hexdigest())
        assert body.file is None and body.is_length_known
    assert source.requests_made == 1  # a download is no API request


def test_a_listed_url_leads_to_the_same_audio(upstream: Upstream) -> None:
    source = upstream.open()
    page = next(source.pages(WINDOW))
    [listed, *_] = [listed for listed in page.calls if listed.recording_url]
    assert listed.recording_url is not None
    with source.open_recording(listed.recording_url) as body:
        assert bytes(body.data) == upstream.audio(listed.call.call_id)


def test_the_transcript_of_a_call_is_whole(upstream: Upstream) -> None:
    source = upstream.open()
    call_id = next(id_ for id_, call in sorted(upstream.truth.items()) if call["transcript"])
    truth = upstream.truth[call_id]
    answer = source.transcript(call_id)
    assert (answer.text, answer.word_count) == (truth["transcript"], len(truth["transcript"].split()))
    assert (answer.language, answer.confidence) == (truth["language"], truth["confidence"])
    assert source.requests_made == 1


def test_the_events_of_a_call_end_with_why_it_ended(upstream: Upstream) -> None:
    source = upstream.open()
    events = source.events(upstream.recorded)
    assert [event.name for event in events][-1] == "hangup" and len(events) >= 2
    assert events[-1].hangup_cause in ("normal_clearing", "user_hangup", "agent_hangup")
    assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events if event.occurred_at)
    assert source.requests_made == 1
    with pytest.raises(CallNotFound):
        source.events("call_of_nobody")


def test_a_missing_recording_or_transcript_is_not_found(upstream: Upstream) -> None:
    source = upstream.open()
    with pytest.raises(CallNotFound):
        source.recording(upstream.one(recorded=False))
    with pytest.raises(CallNotFound):
        source.transcript(next(id_ for id_, call in sorted(upstream.truth.items()) if call["transcript"] is None))
    assert source.requests_made == 2


@pytest.mark.parametrize("call_id", UNKNOWN)
def test_an_unknown_call_is_not_found_whatever_its_id(upstream: Upstream, call_id: str) -> None:
    source = upstream.open()
    with pytest.raises(CallNotFound):
        source.recording(call_id)
    with pytest.raises(CallNotFound):
        source.transcript(call_id)
    with pytest.raises(CallNotFound):
        source.extend(call_id, 30, idempotency_key="decision")
    with pytest.raises(CallNotFound):
        source.delete_recording(call_id)


# Webhook deliveries.


def deliveries_of(source: CallSource) -> list[Delivery]:
    pages = itertools.takewhile(bool, (source.webhook_deliveries(number).deliveries for number in itertools.count(1)))
    return list(itertools.chain.from_iterable(pages))


def test_the_deliveries_name_every_completed_call_and_no_other(upstream: Upstream) -> None:
    deliveries = deliveries_of(upstream.open())
    events = {delivery.event.event_id: delivery.event for delivery in deliveries if delivery.event}
    assert {event.call_id for event in events.values()} == set(upstream.truth)
    assert not [delivery for delivery in deliveries if delivery.problem or delivery.needs_detail]
    created_at = {event.call_id: event.created_at for event in events.values() if event.created_at}
    assert created_at == {call_id: time_of(call) for call_id, call in upstream.truth.items()}


def test_the_newest_delivery_comes_first_and_pages_are_full(upstream: Upstream) -> None:
    source = upstream.open()
    times = [delivery.sent_at for delivery in deliveries_of(source)]
    assert None not in times and times == sorted(times, reverse=True)  # type: ignore[type-var]
    page = source.webhook_deliveries(1)
    assert (len(page.deliveries), page.limit, page.total) == (source.page_limit, source.page_limit, len(times))


def test_one_delivery_can_be_asked_for(upstream: Upstream) -> None:
    source = upstream.open()
    listed = source.webhook_deliveries(1).deliveries[0]
    assert source.webhook_delivery(str(listed.delivery_id)) == listed
    assert source.requests_made == 2
    for unknown in UNKNOWN:
        with pytest.raises(CallNotFound):
            source.webhook_delivery(unknown)


def test_an_account_without_a_webhook_shows_in_one_request(without_webhook: CallSource) -> None:
    with pytest.raises(NotOffered, match="status 404"):
        without_webhook.webhook_deliveries(1)
    assert without_webhook.requests_made == 1


# Downloads.


def test_a_url_of_another_host_is_refused(upstream: Upstream) -> None:
    with pytest.raises(UrlRefused) as refused, upstream.open().open_recording("https://evil.example/a.mp3?sig=secret"):
        pass
    assert "secret" not in str(refused.value)


def test_an_altered_url_is_not_accepted(upstream: Upstream) -> None:
    source = upstream.open()
    url = source.recording(upstream.recorded).recording_url
    with pytest.raises(UrlExpired), source.open_recording(f"{url}0"):
        pass


# What changes something upstream is sent once.


def test_an_extension_is_counted_once(own_upstream: Upstream) -> None:
    source, call_id = own_upstream.open(), own_upstream.recorded
    source.extend(call_id, 120, idempotency_key="decision")
    assert own_upstream.extended_days() == {call_id: [120]}
    assert source.requests_made == 1


def test_an_extension_beyond_the_plan_is_refused_and_not_counted(upstream: Upstream) -> None:
    source = upstream.open()
    with pytest.raises(RequestRefused):
        source.extend(upstream.recorded, 366, idempotency_key="decision")
    assert upstream.extended_days() == {} and source.requests_made == 1


def test_a_deleted_recording_is_gone_everywhere(own_upstream: Upstream) -> None:
    source, call_id = own_upstream.open(), own_upstream.recorded
    url = source.recording(call_id).recording_url
    assert url is not None
    before = source.requests_made
    source.delete_recording(call_id)
    assert source.requests_made == before + 1
    with pytest.raises(CallGone):
        source.recording(call_id)
    with pytest.raises(AudioGone), source.open_recording(url):
        pass
    with pytest.raises(CallNotFound):
        source.extend(call_id, 30, idempotency_key="decision")
    with pytest.raises(CallNotFound):
        source.delete_recording(call_id)
    listed = {listed.call.call_id: listed for page in source.pages(WINDOW) for listed in page.calls}
    assert not listed[call_id].call.has_recording and listed[call_id].recording_url is None


def test_recording_is_turned_on_by_one_request(own_upstream: Upstream) -> None:
    source = own_upstream.open()
    assert source.turn_on_recording() == {"recording_enabled": True, "transcription_enabled": True}
    assert source.requests_made == 1


# Limits.


@pytest.mark.parametrize(
    ("plan", "retention_days", "requested_days", "allowed_days"),
    [
        ("business", 90, 60, 60),
        ("business", 90, 365, 365),
        ("business", 90, 36_500, 365),
        ("pro", 30, 365, 90),
        ("pro", 90, 365, None),  # kept that long already
        ("free", 7, 30, None),
        ("enterprise", None, 36_500, 36_500),  # no maximum
    ],
)
def test_an_extension_is_no_longer_than_the_plan_allows(
    upstream: Upstream, plan: str, retention_days: int | None, requested_days: int, allowed_days: int | None
) -> None:
    source = upstream.open(plan=PLANS[plan], retention_days=retention_days)
    assert source.allowed_extension_days(requested_days) == allowed_days
    assert source.requests_made == 0


def test_every_request_counts_against_the_budget_and_none_is_sent_beyond_it(upstream: Upstream) -> None:
    source = upstream.open(requests_per_run=3)
    source.list_page(WINDOW, 0, 1)
    with pytest.raises(CallNotFound):
        source.recording("call_unknown")
    source.statistics(WINDOW)
    for _ in range(2):
        with pytest.raises(TooManyRequests, match="budget"):
            source.transcript(upstream.recorded)
    assert source.requests_made == 3


def test_a_source_can_be_closed_twice(upstream: Upstream) -> None:
    source = upstream.open()
    source.list_page(WINDOW, 0, 1)
    source.close()
    source.close()
