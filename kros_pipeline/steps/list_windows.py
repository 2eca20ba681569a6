"""Divides windows of the list, and tells where dividing a window proves something."""

from datetime import datetime, timedelta

from ..source.call_source import Page, Window

OVERLAP = timedelta(seconds=2)  # at each side of a border: no bound may be exclusive, and times may be rounded
SHORTEST_WINDOW = timedelta(seconds=10)


def divide(window: Window, moment: datetime | None) -> list[Window]:
    """Return two windows that overlap at a moment; none where one of them would be too short."""
    if moment is None:
        return []
    moment = moment.replace(microsecond=0)
    if moment - window.start < SHORTEST_WINDOW / 2 or window.end - moment < SHORTEST_WINDOW / 2:
        return []
    return [Window(window.start, moment + OVERLAP), Window(moment - OVERLAP, window.end)]


def is_all_in_one(whole: Page, parts: list[Page]) -> bool:
    """Return whether one part has all rows and the other none: they prove nothing that the whole does not."""
    return sorted(page.total or 0 for page in parts) == [0, whole.total]


def is_burst(parts: list[Page]) -> bool:
    """Return whether the calls of these pages were created within seconds: no moment divides them.

    When rows of another organization were created is not known.
    """
    if any(page.foreign_ids for page in parts):
        return False
    times = [listed.call.created_at for page in parts for listed in page.calls]
    return bool(times) and max(times) - min(times) <= 2 * OVERLAP


def middle_of_rows(page: Page) -> datetime | None:
    """Return the moment at which half of a page's calls were created; None for a page without calls."""
    times = sorted(listed.call.created_at for listed in page.calls)
    return times[len(times) // 2] if times else None
