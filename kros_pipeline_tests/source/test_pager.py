"""The pager ends whatever the server does, and a list that does not change comes whole, in its order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kros_pipeline.core.errors import RequestRefused
from kros_pipeline.source.call_parsing import parse_listed_call
from kros_pipeline.source.call_source import ListedCall, Page, UnparsedRow
from kros_pipeline.source.pager import read_pages

PAGE_LIMIT = 100
NOW = datetime(2025, 1, 11, tzinfo=UTC)


def row(number: int) -> ListedCall:
    raw = {"id": f"call_{number}", "created_at": "2025-01-10T10:00:00Z"}
    return parse_listed_call(raw, organization_id=None, now=NOW)


class Answers:
    """A server whose answers are given, one after the other; the last one is repeated for ever."""

    def __init__(self, answers: list[Page]) -> None:
        self.answers, self.asked = answers, 0

    def fetch(self, offset: int, page_number: int) -> Page:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


pages = st.builds(
    lambda numbers, broken, total, limit: Page(
        [row(number) for number in numbers], [UnparsedRow(None, None, f"{n}", "no call") for n in broken], total, limit
    ),
    st.lists(st.integers(0, 30), max_size=12),
    st.lists(st.integers(0, 3), max_size=2),
    st.none() | st.integers(0, 10**6),
    st.none() | st.integers(0, 20),
)


@given(st.lists(pages, min_size=1, max_size=20))
def test_the_pager_ends_whatever_the_server_answers(answers: list[Page]) -> None:
    server = Answers(answers)
    got = list(read_pages(server.fetch, page_limit=PAGE_LIMIT))
    assert server.asked == len(got) <= 36  # each but the last had at least one new of 31 + 4 rows


@given(st.integers(0, 70), st.integers(1, 100), st.booleans(), st.booleans())
def test_a_list_that_does_not_change_comes_whole_and_in_order(
    count: int, limit: int, has_total: bool, has_limit: bool
) -> None:
    assume(has_total or has_limit)  # else a short page is all there is to end by, as the documentation has it

    def fetch(offset: int, page_number: int) -> Page:
        assert offset == (page_number - 1) * limit or offset >= count  # both dialects ask for the same rows
        rows = [row(number) for number in range(count)][offset : offset + limit]
        return Page(rows, [], count if has_total else None, limit if has_limit else None)

    got = read_pages(fetch, page_limit=PAGE_LIMIT)
    assert [listed.call.call_id for page in got for listed in page.calls] == [f"call_{n}" for n in range(count)]


@given(st.integers(1, 70), st.integers(0, 40_000_000), st.integers(0, 12))
def test_pages_of_any_size_come_whole_and_in_order(count: int, size_bytes: int, prefetch: int) -> None:
    def fetch(offset: int, page_number: int) -> Page:
        return Page([row(number) for number in range(count)][offset : offset + 10], [], count, 10, size_bytes)

    got = read_pages(fetch, page_limit=PAGE_LIMIT, prefetch=prefetch)
    assert [listed.call.call_id for page in got for listed in page.calls] == [f"call_{n}" for n in range(count)]


class RefusingServer:
    """A server that refuses a page behind the end, where others answer an empty one."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.asked: list[int] = []

    def fetch(self, offset: int, page_number: int) -> Page:
        self.asked.append(offset)
        if offset >= self.total:
            raise RequestRefused("status 404")
        return Page([row(n) for n in range(offset, min(offset + PAGE_LIMIT, self.total))], [], self.total, PAGE_LIMIT)


@pytest.mark.parametrize("total", [100, 200])
def test_a_refused_page_behind_the_end_is_the_end(total: int) -> None:
    server = RefusingServer(total)
    assert sum(page.row_count for page in read_pages(server.fetch, page_limit=PAGE_LIMIT)) == total
    assert server.asked[-1] == total


def test_a_refusal_before_the_end_is_raised() -> None:
    with pytest.raises(RequestRefused):
        list(read_pages(RefusingServer(0).fetch, page_limit=PAGE_LIMIT))
