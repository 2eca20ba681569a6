"""Pages asked for ahead: the same pages in the same order as one after the other, and no request that buys nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from math import ceil
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.errors import RequestRefused
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.source.call_parsing import parse_listed_call
from kros_pipeline.source.call_source import Page, Window
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.steps import list_calls

WINDOW = Window(datetime(2025, 1, 10, tzinfo=UTC), datetime(2025, 1, 11, tzinfo=UTC))
AHEAD = 4


def page(numbers: list[int], total: int | None, limit: int | None) -> Page:
    raw = [{"id": f"call_{number}", "created_at": "2025-01-10T10:00:00Z"} for number in numbers]
    return Page([parse_listed_call(row, organization_id=None, now=WINDOW.end) for row in raw], [], total, limit)


class Server:
    """Answers by offset, and counts. `None` is a refusal."""

    def __init__(self, answers: dict[int, Page | None]):
        self.answers, self.asked, self.lock = answers, list[tuple[int, int]](), threading.Lock()

    def list_page(self, window: Window, offset: int, page_number: int) -> Page:
        with self.lock:
            self.asked.append((offset, page_number))
        answer = self.answers.get(offset, page([], None, None))
        if answer is None:
            raise RequestRefused("no such page")
        return answer

    def listed(self, ahead: int) -> tuple[list[list[str]], bool]:
        """The ids of every page that came, and whether it ended with a refusal."""
        came: list[list[str]] = []
        try:
            for each in KrosAI.pages(cast(KrosAI, self), WINDOW, ahead=ahead):
                came.append([listed.call.call_id for listed in each.calls])
        except RequestRefused:
            return came, True
        return came, False


@st.composite
def odd_lists(draw: st.DrawFn) -> dict[int, Page | None]:
    """An honest list of some calls, with any of its pages replaced by anything."""
    count, limit = draw(st.integers(0, 40)), draw(st.integers(1, 8))
    answers: dict[int, Page | None] = {
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
def test_whatever_the_list_is_like_the_same_pages_come_in_the_same_order(answers: dict[int, Page | None]) -> None:
    one_by_one, ahead = Server(answers), Server(answers)
    assert ahead.listed(AHEAD) == one_by_one.listed(0)
    # A guess costs no more than itself: what was asked for in vain is what was on its way when it turned out wrong.
    assert set(one_by_one.asked) <= set(ahead.asked)
    assert len(ahead.asked) <= len(one_by_one.asked) + AHEAD


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100, 101])
def test_a_list_that_holds_still_costs_not_one_request_more(count: int) -> None:
    answers = {at: page(list(range(count))[at : at + 10], count, 10) for at in range(0, count + 1, 10)}
    one_by_one, ahead = Server(cast(dict[int, "Page | None"], answers)), Server(cast(dict[int, "Page | None"], answers))
    ids = [f"call_{number}" for number in range(count)]
    assert [call_id for ids_of_page in ahead.listed(AHEAD)[0] for call_id in ids_of_page] == ids
    one_by_one.listed(0)
    assert sorted(ahead.asked) == sorted(one_by_one.asked)


def test_pages_are_on_their_way_together_and_never_more_than_was_said() -> None:
    count, limit = 85, 10
    answers = {at: page(list(range(count))[at : at + limit], count, limit) for at in range(0, count, limit)}
    server = Server(cast(dict[int, "Page | None"], answers))
    plain, together, most, now = server.list_page, threading.Barrier(AHEAD), [0], [0]

    def waits_for_the_others(window: Window, offset: int, page_number: int) -> Page:
        with server.lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if offset:  # eight pages behind the first, in two groups of four
            together.wait(timeout=30)
        with server.lock:
            now[0] -= 1
        return plain(window, offset, page_number)

    server.list_page = waits_for_the_others  # type: ignore[method-assign]
    assert len(server.listed(AHEAD)[0]) == 9
    assert most[0] == AHEAD


def test_nothing_is_asked_for_before_the_second_page_is_wanted() -> None:
    answers = {at: page(list(range(at, at + 10)), 50, 10) for at in range(0, 50, 10)}
    server = Server(cast(dict[int, "Page | None"], answers))
    pages = KrosAI.pages(cast(KrosAI, server), WINDOW, ahead=AHEAD)
    next(pages)
    pages.close()
    assert server.asked == [(0, 1)]


@pytest.mark.parametrize("faults", [Faults(), Faults(list_limit_ignored=Fault(value=20))], ids=["100", "20 a page"])
def test_a_day_of_many_pages_costs_a_request_a_page(account: MakeAccount, faults: Faults) -> None:
    count = 650
    our: Account = account(SandboxConfig(days={str(DAY): count}, variety=False, audio_seconds=(1, 2)))
    our.krosai.set_faults(faults)
    _, listing = list_calls(our.ctx, DAY)
    assert listing.proved and listing.listed_total == count
    rows_a_page = 20 if faults.list_limit_ignored else 100
    assert our.requests()["list"] <= ceil(count / rows_a_page) + 1
