"""Ask for the first page of a window, of a list that may ignore or refuse dates."""

from datetime import date

from ..core.calls import merge_calls
from ..core.errors import RequestRefused
from ..source.call_source import CallSource, Page, Window
from ..steps.call_runs import CallRuns
from ..steps.list_proof import ignores_dates
from ..steps.listed_rows import ListedRows


def ask_first_page(source: CallSource, day: date, window: Window) -> tuple[Page, bool]:
    """Return the first page of a window, and whether the list has a date filter. `day` is a day of the window."""
    try:
        page = source.list_page(window, 0, 1)
    except RequestRefused as error:
        try:
            return source.list_page(None, 0, 1), False
        except RequestRefused:
            raise error from None
    rows = ListedRows(day, CallRuns(merge_calls))
    rows.add(page, window)
    return page, not (rows.has_rows_outside and ignores_dates(source, page))
