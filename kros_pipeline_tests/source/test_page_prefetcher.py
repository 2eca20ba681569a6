"""Prefetched pages are the same, in the same order, as pages read one by one; and no request is made in vain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.errors import RequestRefused
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.source.call_parsing import parse_listed_call
from kros_pipeline.source.call_source import Page
from kros_pipeline.source.page_prefetcher import MAX_BYTES_IN_FLIGHT, PagePrefetcher
from kros_pipeline.source.pager import read_pages
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.steps import list_calls

NOW = datetime(2025, 1, 11, tzinfo=UTC)
PREFETCH = 4


Answers = dict[int, Page | None]


def page(numbers: list[int], total: int | None, limit: int | None, size_bytes: int = 0) -> Page:
    raw = [{"id": f"call_{number}", "created_at": "2025-01-10T10:00:00Z"} for number in numbers]
    return Page([parse_listed_call(row, organization_id=None, now=NOW) for row in raw], [], total, limit, size_bytes)


class Server:
    """A server that answers by offset, and notes what it was asked. `None` is a refusal."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.asked, self.lock = answers, list[tuple[int, int]](), threading.Lock()

    def fetch(self, offset: int, page_number: int) -> Page:
        with self.lock:
            self.asked.append((offset, page_number))
        answer = self.answers.get(offset, page([], None, None))
        if answer is None:
            raise RequestRefused("no such page")
        return answer

    def pages(self, prefetch: int) -> Iterator[Page]:
        return read_pages(self.fetch, page_limit=100, prefetch=prefetch)

    def ids(self, prefetch: int) -> tuple[list[list[str]], bool]:
        """The ids of every page that came, and whether it ended with a refusal."""
        came: list[list[str]] = []
        try:
            for each in self.pages(prefetch):
                came.append([listed.call.call_id for listed in each.calls])
        except RequestRefused:
            return came, True
        return came, False


@st.composite
def odd_lists(draw: st.DrawFn) -> Answers:
    """An honest list of some calls, with any of its pages replaced by anything."""
    count, limit = draw(st.integers(0, 40)), draw(st.integers(1, 8))
    answers: Answers = {
        offset: page(list(range(count))[offset : offset + limit], count, limit) for offset in range(count + 1)
    }
    anything = st.none() | st.builds(
        page,
        st.lists(st.integers(0, 50), max_size=9),
        st.none() | st.integers(0, 60),
        st.none() | st.integers(1, 10),
    )
    return answers | draw(st.dictionaries(st.integers(0, 45), anything, max_size=6))


@settings(deadline=None)
@given(odd_lists())
def test_whatever_the_list_is_like_the_same_pages_come_in_the_same_order(answers: Answers) -> None:
    one_by_one, ahead = Server(answers), Server(answers)
    assert ahead.ids(PREFETCH) == one_by_one.ids(0)
    # A wrong guess costs no more than the requests that were sent when it turned out wrong.
    assert set(one_by_one.asked) <= set(ahead.asked)
    assert len(ahead.asked) <= len(one_by_one.asked) + PREFETCH


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100, 101])
def test_a_list_that_does_not_change_costs_no_request_more(count: int) -> None:
    answers: Answers = {at: page(list(range(count))[at : at + 10], count, 10) for at in range(0, count + 1, 10)}
    one_by_one, ahead = Server(answers), Server(answers)
    ids = [f"call_{number}" for number in range(count)]
    assert [call_id for ids_of_page in ahead.ids(PREFETCH)[0] for call_id in ids_of_page] == ids
    one_by_one.ids(0)
    assert sorted(ahead.asked) == sorted(one_by_one.asked)


def test_as_many_pages_as_allowed_are_asked_for_at_once_and_no_more() -> None:
    count, limit = 85, 10
    answers: Answers = {at: page(list(range(count))[at : at + limit], count, limit) for at in range(0, count, limit)}
    server = Server(answers)
    together, most, now = threading.Barrier(PREFETCH), [0], [0]

    def fetch_together(offset: int, page_number: int) -> Page:
        with server.lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if offset:  # eight pages behind the first, in two groups of four
            together.wait(timeout=30)
        with server.lock:
            now[0] -= 1
        return server.fetch(offset, page_number)

    assert len(list(read_pages(fetch_together, page_limit=100, prefetch=PREFETCH))) == 9
    assert most[0] == PREFETCH


def test_no_page_is_prefetched_before_the_second_page_is_wanted() -> None:
    answers: Answers = {at: page(list(range(at, at + 10)), 50, 10) for at in range(0, 50, 10)}
    server = Server(answers)
    next(server.pages(PREFETCH))
    assert server.asked == [(0, 1)]


# Memory is bounded by bytes.


def most_in_flight(sizes: list[int], prefetch: int) -> tuple[int, int]:
    """Read pages of these sizes, slowly; return the most bytes and the most pages that were in flight at once."""
    limit, lock, in_flight = 10, threading.Lock(), dict[int, int]()
    most = [0, 0]

    def fetch(offset: int, page_number: int) -> Page:
        size = sizes[page_number - 1]
        with lock:
            in_flight[page_number] = size
            most[0], most[1] = max(most[0], sum(in_flight.values())), max(most[1], len(in_flight))
        return page(list(range(offset, offset + limit)), len(sizes) * limit, limit, size)

    came = 0
    with PagePrefetcher(fetch, prefetch) as prefetcher:
        for number in range(1, len(sizes) + 1):
            assert prefetcher.page(came, number).size_bytes == sizes[number - 1]
            came += limit
            with lock:
                del in_flight[number]  # the next one is wanted
            prefetcher.prefetch(came, number + 1, limit, len(sizes) * limit)
    return most[0], most[1]


@pytest.mark.parametrize(
    ("size_bytes", "pages"),
    [
        (0, 12),  # unknown
        (MAX_BYTES_IN_FLIGHT // 100, 12),
        (MAX_BYTES_IN_FLIGHT // 12, 12),
        (MAX_BYTES_IN_FLIGHT // 12 + 1, 11),
        (MAX_BYTES_IN_FLIGHT // 3, 3),
        (MAX_BYTES_IN_FLIGHT, 1),
        (MAX_BYTES_IN_FLIGHT * 2, 1),  # one by one, none ahead
    ],
)
def test_as_many_pages_are_in_flight_as_have_the_limit_of_bytes_together(size_bytes: int, pages: int) -> None:
    most_bytes, most_pages = most_in_flight([size_bytes] * 40, 12)
    assert most_pages == pages
    assert most_bytes <= max(MAX_BYTES_IN_FLIGHT, size_bytes)


def test_the_largest_page_so_far_counts_and_not_the_last_one() -> None:
    _, most_pages = most_in_flight([MAX_BYTES_IN_FLIGHT // 2, *[1] * 40], 12)
    assert most_pages == 2


@pytest.mark.parametrize("faults", [Faults(), Faults(list_limit_ignored=Fault(value=20))], ids=["100", "20 a page"])
def test_a_day_of_many_pages_costs_a_request_a_page(account: MakeAccount, faults: Faults) -> None:
    count = 650
    our: Account = account(SandboxConfig(days={str(DAY): count}, variety=False, audio_seconds=(1, 2)))
    our.krosai.set_faults(faults)
    _, listing = list_calls(our.ctx, DAY)
    assert listing.proved and listing.listed_total == count
    rows_a_page = 20 if faults.list_limit_ignored else 100
    assert our.requests()["list"] <= ceil(count / rows_a_page) + 7
