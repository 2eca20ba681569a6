"""A page that is refused behind the end of the list is the end; one before the end is an error."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kros_pipeline.core.days import end_of, start_of
from kros_pipeline.core.errors import RequestRefused
from kros_pipeline.source.krosai import KrosAI, Page, UnparsedRow, Window
from kros_pipeline_tests.support.accounts import DAY

WINDOW = Window(start_of(DAY), end_of(DAY))


class RefusingServer:
    """Refuses a page after the last row with 404; other servers answer with an empty page."""

    def __init__(self, total: int):
        self.total = total
        self.asked: list[int] = []

    def list_page(self, window: Window, offset: int, page_number: int) -> Page:
        self.asked.append(offset)
        if offset >= self.total:
            raise RequestRefused("status 404")
        return dataclasses.replace(
            Page([], [], self.total, 100), unparsed=[row(n) for n in range(offset, min(offset + 100, self.total))]
        )


def row(number: int) -> Any:
    return UnparsedRow(f"call_{number}", None, "{}", "paging treats all rows alike")


@pytest.mark.parametrize("total", [100, 200])
def test_a_refused_page_after_the_last_row_ends_the_list(total: int) -> None:
    server: Any = RefusingServer(total)
    assert sum(page.row_count for page in KrosAI.pages(server, WINDOW)) == total
    assert server.asked[-1] == total


def test_a_refused_page_before_the_end_raises() -> None:
    server: Any = RefusingServer(0)
    with pytest.raises(RequestRefused):
        list(KrosAI.pages(server, WINDOW))
