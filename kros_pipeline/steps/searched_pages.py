"""What a search keeps of the pages that it saw: 16 bytes a row, and never the calls themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ..core.digest_set import Digests, digest_all
from ..source.call_source import Page


@dataclass(frozen=True, slots=True)
class SearchedPage:
    """One page of a list. `rows` are the digests of what identifies its rows: those of its calls, then the others'.

    `first_at` and `last_at` are when its first and its last call were created; None where it has no call. `times` has
    the same of every call, in seconds since 1970.
    """

    total: int | None
    row_count: int
    first_at: datetime | None
    last_at: datetime | None
    times: NDArray[np.float64]
    rows: Digests

    @classmethod
    def of(cls, page: Page) -> "SearchedPage":
        """Keep what a search needs of a page."""
        calls = [listed.call for listed in page.calls]
        rows = [call.call_id for call in calls]
        rows += [row.call_id or row.raw_json for row in page.unparsed]
        return cls(
            page.total,
            page.row_count,
            calls[0].created_at if calls else None,
            calls[-1].created_at if calls else None,
            np.array([call.created_at.timestamp() for call in calls], np.float64),
            digest_all([*rows, *page.foreign_ids]),
        )

    def has_rows_of(self, other: "SearchedPage") -> bool:
        """Return whether both pages have the same rows, in any order."""
        return np.array_equal(np.unique(self.rows), np.unique(other.rows))


def are_in_order(pages: Mapping[int, SearchedPage], *, is_newest_first: bool) -> bool:
    """Compare the calls of all pages, in the order of the pages. Of a call on two pages, the first one counts."""
    ordered = [page for _, page in sorted(pages.items())]
    rows = np.concatenate([page.rows for page in ordered])
    is_call = np.concatenate([np.arange(len(page.rows)) < len(page.times) for page in ordered])
    page_of_row = np.repeat(np.arange(len(ordered)), [len(page.rows) for page in ordered])
    _, first_places, kinds = np.unique(rows, return_index=True, return_inverse=True)
    is_on_first_page = page_of_row[first_places][kinds] == page_of_row
    steps = np.diff(np.concatenate([page.times for page in ordered])[is_on_first_page[is_call]])
    return not np.any(steps > 0 if is_newest_first else steps < 0)
