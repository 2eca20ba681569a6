"""The pages of days and of calls, with search and filters, and each as CSV."""

from calendar import Calendar
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby, islice
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..core.clock import Clock
from ..core.search_terms import find_marks
from . import call_filter
from .access import Viewer, viewer_of
from .access_log import AccessLog
from .call_filter import CallFilter, parse_filter, read_day
from .call_search import CallSearch, FoundCall
from .call_states import describe_recording
from .csv_export import csv_lines, csv_response
from .day_calendar import DayCalendar, DayState
from .day_index import CallRow
from .index_cache import IndexCache
from .phone_masking import mask_number, mask_numbers_in
from .rendering import Renderer, Segment, shorten_around
from .slow_work import SlowWork

_MONTHS = 3
_EXPORTED_AT_ONCE = 1_000  # calls that are in memory together and share one audit object
_CALL_COLUMNS = (
    "call_date", "call_id", "created_at", "direction", "duration_seconds", "from_number", "to_number", "language",
    "recording", "transcript", "turns", "rules",
)  # fmt: skip
_DAY_COLUMNS = (
    "day", "verdict", "calls", "erased", "recordings_archived", "recordings_pending", "recordings_lost",
    "recordings_failed", "transcripts_kept", "utterances", "audio_seconds", "bytes_in_bucket",
)  # fmt: skip


class ListPages:
    """Lists of days and of calls."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        calendar: DayCalendar,
        cache: IndexCache,
        search: CallSearch,
        access_log: AccessLog,
        clock: Clock,
        slow_work: SlowWork,
    ):
        self._renderer, self._calendar, self._cache, self._search = renderer, calendar, cache, search
        self._log, self._clock, self._slow_work = access_log, clock, slow_work

    def routes(self) -> list[Route]:
        """Return the addresses of these pages."""
        return [
            Route("/", self.home),
            Route("/days", self.days),
            Route("/days.csv", self.days_csv),
            Route("/calls", self.calls),
            Route("/calls.csv", self.calls_csv),
        ]

    def home(self, request: Request) -> Response:
        """Lead to the days."""
        return RedirectResponse("/days", 303)

    def days(self, request: Request) -> Response:
        """Show three months of days."""
        span, today = self._calendar.span(), self._clock.now().date()
        newest = (span[1] if span else today).replace(day=1)
        shown = _month(request.query_params.get("month")) or newest
        months = [_months_before(shown, number) for number in range(_MONTHS)]
        last = _months_before(shown, -1) - timedelta(days=1)
        states = {state.day: state for state in self._calendar.days(months[-1], last)}
        return self._renderer.page(
            request,
            "days.html",
            months=[
                (month, _months_before(month, -1) - timedelta(days=1), _weeks(month, states))
                for month in months
                if span and month >= span[0].replace(day=1)
            ],
            totals=_totals(list(states.values()), months),
            earlier=_months_before(shown, _MONTHS) if span and span[0] < months[-1] else None,
            later=min(_months_before(shown, -_MONTHS), newest) if shown < newest else None,
            csv_query=urlencode({"from": months[-1], "to": last}),
            span=span,
            today=today,
        )

    def days_csv(self, request: Request) -> Response:
        """Send all days, or those of a range, as CSV."""
        first, last = (_day(request.query_params.get(name)) for name in ("from", "to"))
        states = self._calendar.days(first or date.min, last or date.max)
        rows = ([state.day, state.verdict, *(state.row.get(name) for name in _DAY_COLUMNS[2:])] for state in states)
        return csv_response("days", csv_lines(_DAY_COLUMNS, rows))

    def calls(self, request: Request) -> Response:
        """Show one page of the calls that the address describes."""
        viewer, wanted = viewer_of(request), self._filter(request)
        found = self._search.find(wanted)
        if wanted.conditions:  # the list shows what was said, or in which calls it was not
            self._log.read(viewer.name, [(call.row.day, call.row.call_id) for call in found.calls], "search")
        languages, rules = self._search.values(wanted)
        page = self._renderer.page(
            request,
            "calls.html",
            wanted=wanted,
            found=found,
            calls=[(call.row, describe_recording(call.row.recording_state), self._snippets(viewer, call, wanted))
                   for call in found.calls],
            languages=languages,
            rules=rules,
            choices=call_filter,
            span=self._calendar.span(),
        )  # fmt: skip
        if request.url.query != wanted.query():
            # The address that a reviewer sends to a colleague: without the form's empty fields.
            page.headers["HX-Push-Url"] = f"/calls?{wanted.query()}"
        return page

    def calls_csv(self, request: Request) -> Response:
        """Send all calls that the address describes as CSV. No speech is in it; an audit record names each call."""
        viewer, wanted = viewer_of(request), self._filter(request)
        rows = self._search.iterate(wanted)
        self._cache.days()  # raises before the answer begins, where the archive cannot be read
        name = f"calls-{wanted.first}-{wanted.last}"
        return csv_response(name, self._slow_work.iterate(csv_lines(_CALL_COLUMNS, self._exported(viewer, rows))))

    def _exported(self, viewer: Viewer, rows: Iterator[CallRow]) -> Iterator[list[object]]:
        for _, of_day in groupby(rows, key=lambda row: row.day):
            while calls := list(islice(of_day, _EXPORTED_AT_ONCE)):
                self._log.read(viewer.name, [(row.day, row.call_id) for row in calls], "export")
                yield from (_cells(row, viewer) for row in calls)

    def _filter(self, request: Request) -> CallFilter:
        span, today = self._calendar.span(), self._clock.now().date()
        may_find_digits = viewer_of(request).sees_numbers
        return parse_filter(request.url.query, today, span[1] if span else None, may_find_digits=may_find_digits)

    def _snippets(self, viewer: Viewer, call: FoundCall, wanted: CallFilter) -> list[tuple[str, int, list[Segment]]]:
        snippets = []
        for turn in call.turns:
            marks = [(begin, end, "found") for begin, end in find_marks(turn.text, wanted.found_terms)]
            text = turn.text if viewer.sees_numbers else mask_numbers_in(turn.text)
            who = turn.label or turn.speaker
            who = who if viewer.sees_numbers else mask_numbers_in(who)
            snippets.append((who, turn.turn_index, shorten_around(text, marks)))
        return snippets


def _cells(row: CallRow, viewer: Viewer) -> list[object]:
    numbers = [row.from_number, row.to_number]
    return [
        row.day, row.call_id, row.created_at.isoformat() if row.created_at else None, row.direction,
        row.duration_seconds, *(numbers if viewer.sees_numbers else map(mask_number, numbers)), row.language,
        row.recording_state, row.transcript, row.turn_count, " ".join(row.rules),
    ]  # fmt: skip


def _weeks(month: date, states: dict[date, DayState]) -> list[tuple[date, date, list[DayState | date | None]]]:
    """Return the weeks of a month: first and last day, the month's days with or without a state, and None beside it."""
    return [
        (week[0], week[-1], [states.get(day, day) if day.month == month.month else None for day in week])
        for week in Calendar().monthdatescalendar(month.year, month.month)
    ]


def _totals(states: list[DayState], months: list[date]) -> dict[date, tuple[int, float]]:
    """Return calls and minutes of each month."""
    totals = {}
    for month in months:
        of_month = [state for state in states if state.day.replace(day=1) == month]
        calls = sum(state.row.get("calls") or 0 for state in of_month)
        totals[month] = calls, sum(state.minutes or 0.0 for state in of_month)
    return totals


def _day(text: str | None) -> date | None:
    try:
        return read_day(text) if text else None
    except ValueError:
        raise HTTPException(400, "The address has a date that is none, like 2025-01-31.") from None


def _month(text: str | None) -> date | None:
    return _day(f"{text}-01") if text else None


def _months_before(month: date, number: int) -> date:
    """Return the first day of the month so many months before."""
    months = month.year * 12 + month.month - 1 - number
    try:
        return date(months // 12, months % 12 + 1, 1)
    except ValueError:
        return month
