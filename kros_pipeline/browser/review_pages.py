"""The pages with which calls are reviewed: a sample of a range, and the form of one call."""

from collections.abc import Callable
from datetime import date
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..core.clock import Clock
from ..core.review_sample import MAX_SAMPLE, draw_sample
from .access import viewer_of
from .access_log import AccessLog
from .call_filter import CallFilter, parse_filter
from .call_pages import CallFinder
from .call_search import CallSearch
from .call_states import describe_recording
from .csv_export import csv_lines, csv_response
from .day_calendar import DayCalendar
from .day_index import CallRow
from .rendering import Renderer
from .review_form import BadForm, ReviewForm, check_review
from .reviews import Reviews
from .slow_work import SlowWork

_MAX_BODY_BYTES = 100_000
_ERASED_MEANWHILE = (
    "This call was erased while your review was sent, and the review may be left. Ask an operator to launch the job "
    "erase_calls for this call once more."
)
_DEFAULT_SIZE = 20


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return "under 1 minute" if seconds < 60 else "1 to 5 minutes" if seconds < 300 else "over 5 minutes"


STRATA: dict[str, Callable[[CallRow], str]] = {
    "direction": lambda row: row.direction or "unknown",
    "length": lambda row: _length(row.duration_seconds),
    "language": lambda row: (row.language or "unknown").split("-")[0].lower(),
    "flagged": lambda row: "flagged" if row.rules else "not flagged",
    "day": lambda row: row.day.isoformat(),
}
"""By what a sample can be stratified, and how."""


class ReviewPages:
    """Samples and reviews."""

    def __init__(
        self,
        *,
        renderer: Renderer,
        finder: CallFinder,
        calendar: DayCalendar,
        search: CallSearch,
        access_log: AccessLog,
        reviews: Reviews,
        form: ReviewForm,
        clock: Clock,
        slow_work: SlowWork,
    ):
        self._renderer, self._finder, self._calendar, self._search = renderer, finder, calendar, search
        self._log, self._reviews, self._form, self._clock = access_log, reviews, form, clock
        self._slow_work = slow_work

    def routes(self) -> list[Route]:
        """Return the addresses of these pages."""
        return [
            Route("/sample", self.sample),
            Route("/sample.csv", self.sample_csv),
            Route("/call/{day}/{key}/reviews", self.add, methods=["POST"]),
        ]

    async def sample(self, request: Request) -> Response:
        """Show a sample of a range, and which of its calls are reviewed. Years may have to be indexed for it."""
        return await self._slow_work.run(self._sample, request)

    def _sample(self, request: Request) -> Response:
        wanted, by, size, seed = self._wanted(request)
        rows = self._draw(wanted, by, size, seed) if seed else []
        reviewed = self._reviews.reviewed_keys(sorted({row.day for row in rows}))
        values = {"from": wanted.first, "to": wanted.last, "by": by, "size": size, "seed": seed}
        return self._renderer.page(
            request,
            "sample.html",
            wanted=wanted,
            by=by,
            size=size,
            seed=seed,
            query=urlencode(values),
            strata=list(STRATA),
            max_size=MAX_SAMPLE,
            calls=[
                (row, describe_recording(row.recording_state), STRATA[by](row), (row.day, row.key) in reviewed)
                for row in rows
            ],
            done=sum((row.day, row.key) in reviewed for row in rows),
        )

    async def sample_csv(self, request: Request) -> Response:
        """Send a sample as CSV."""
        return await self._slow_work.run(self._sample_csv, request)

    def _sample_csv(self, request: Request) -> Response:
        wanted, by, size, seed = self._wanted(request)
        rows = self._draw(wanted, by, size, seed)
        self._log.read(viewer_of(request).name, [(row.day, row.call_id) for row in rows], "export")
        header = ("call_date", "call_id", "stratum", "duration_seconds", "language", "recording")
        cells = (
            [row.day, row.call_id, STRATA[by](row), row.duration_seconds, row.language, row.recording_state]
            for row in rows
        )
        return csv_response(f"sample-{wanted.first}-{wanted.last}", csv_lines(header, cells))

    async def add(self, request: Request) -> Response:
        """Save a review, and show the call's page again."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_BODY_BYTES:
                raise HTTPException(413, "The review is too long.")
        return await run_in_threadpool(self._save, request, bytes(body))

    def _save(self, request: Request, body: bytes) -> Response:
        viewer = viewer_of(request)
        index, call = self._finder.find(request)
        try:
            sent = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100))
            content = check_review(self._form, sent)
        except (UnicodeDecodeError, ValueError) as error:
            problem = str(error) if isinstance(error, BadForm) else "The form arrived damaged. Send it again."
            return self._part(request, index.day, call.row.key, problem, 422)
        self._log.reviewed(viewer.name, index.day, call.row.call_id)
        self._reviews.add(index.day, call.row.key, call.row.call_id, viewer.name, content)
        if self._finder.is_erased(call.row.key, max_age_seconds=0):
            raise HTTPException(410, _ERASED_MEANWHILE)
        if request.headers.get("hx-request"):
            return self._part(request, index.day, call.row.key, "", 200)
        return RedirectResponse(f"/call/{index.day}/{call.row.key}#reviews", 303)

    def _part(self, request: Request, day: date, key: str, problem: str, status: int) -> Response:
        reviews = self._reviews.of_call(day, key)
        # htmx swaps answers with status 200 only.
        shown_status = 200 if request.headers.get("hx-request") else status
        return self._renderer.page(
            request, "reviews.html", shown_status, reviews=reviews, form=self._form, day=day, key=key, problem=problem
        )

    def _draw(self, wanted: CallFilter, by: str, size: int, seed: str) -> list[CallRow]:
        calls = ((f"{row.day}/{row.key}", STRATA[by](row)) for row in self._search.iterate(wanted))
        places = (place.split("/", 1) for place in draw_sample(calls, size, seed))
        return self._search.rows((date.fromisoformat(day), key) for day, key in places)

    def _wanted(self, request: Request) -> tuple[CallFilter, str, int, str]:
        values = request.query_params
        span, today = self._calendar.span(), self._clock.now().date()
        given = parse_filter(request.url.query, today, span[1] if span else None, may_find_digits=False)
        # A sample is of a range and of nothing else: with a condition it would be a search without an audit record.
        wanted = CallFilter(given.first, given.last)
        by = values.get("by", "length")
        size = values.get("size", str(_DEFAULT_SIZE))
        if by not in STRATA or not (size.isascii() and size.isdecimal() and 1 <= int(size[:9]) <= MAX_SAMPLE):
            raise HTTPException(400, f"A sample has 1 to {MAX_SAMPLE} calls, by one of {', '.join(STRATA)}.")
        return wanted, by, int(size), values.get("seed", "")[:100].strip()
