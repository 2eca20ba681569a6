"""KrosAI's API, as far as it is documented. Raw JSON goes no further than this file.

Two dialects of the list are known: `{"calls", "total", "limit", "offset"}` and `{"data", "total", "page", "limit"}`.
The first answer tells which one is spoken. GETs are tried again; a POST only where it surely never arrived.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..core.days import api_time, parse_time
from ..core.errors import (
    ApiServerError,
    ApiUnauthorized,
    ApiUnreachable,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
    UnexpectedResponse,
)
from ..core.redaction import redact
from ..core.settings import Settings
from ..core.transcripts import clean_text
from .call_parsing import (
    ListedCall,
    MalformedCall,
    canonical_json,
    finite_number,
    parse_listed_call,
    without_urls,
)
from .http import CONNECT_SECONDS, READ_SECONDS, BrokenBody, new_session, read_body
from .page_prefetcher import PagePrefetcher
from .rate_limiter import LONGEST_WAIT_SECONDS, RateLimiter, retry_after_seconds

PAGE_LIMIT = 100  # the documented maximum
_ATTEMPTS = 4
_MOST_CLOSINGS = 10  # of the door, in a row, without any thread being let in
_LONGEST_QUEUE_SECONDS = 120.0  # that one request waits, told to again and again
_MOST_ANSWER_BYTES = 1 << 30  # a page may hold a hundred transcripts of megabytes
_ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that is listed: `from_date` and, inclusive or not, `to_date`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class UnparsedRow:
    """A row of the list that is no call: its JSON without URLs, the call's id if it has one, and what is wrong."""

    call_id: str | None
    created_at: datetime | None
    raw_json: str
    problem: str


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the list. `total` is None where it gave none; `limit` is what it says it used."""

    calls: list[ListedCall]
    unparsed: list[UnparsedRow]
    total: int | None
    limit: int | None

    @property
    def row_count(self) -> int:
        """Rows of the answer, readable or not."""
        return len(self.calls) + len(self.unparsed)

    @property
    def identities(self) -> set[str]:
        """What tells its rows apart: the ids, and the JSON of a row that has none."""
        return {listed.call.call_id for listed in self.calls} | {row.call_id or row.raw_json for row in self.unparsed}


@dataclass(frozen=True, slots=True)
class RecordingAnswer:
    """The answer about one call's recording; the URL is a secret and None where there is no recording (yet)."""

    recording_url: str | None
    duration_seconds: float | None

    def __repr__(self) -> str:
        return f"RecordingAnswer(has_url={self.recording_url is not None})"


@dataclass(frozen=True, slots=True)
class TranscriptAnswer:
    """The answer about one call's transcript; `text` is None where there is none (yet)."""

    text: str | None
    word_count: int | None
    language: str | None
    confidence: float | None


class KrosAI:
    """A client for one run; its threads share one session, one pace and one budget."""

    def __init__(
        self, settings: Settings, *, rate_limiter: RateLimiter | None = None, now: Callable[[], datetime] | None = None
    ):
        key = settings.api_key
        headers = {"x-api-key": key} if settings.auth == "x-api-key" else {"Authorization": f"Bearer {key}"}
        if settings.organization_id:
            headers["x-organization-id"] = settings.organization_id
        self._session = new_session(settings.download_workers, headers)
        self._key = key.encode()
        self._base_url = settings.base_url
        self._organization_id = settings.organization_id
        self._rate_limiter = rate_limiter or RateLimiter(settings.requests_per_second, settings.requests_per_run)
        self._now = now or (lambda: datetime.now(UTC))
        self._speaks_pages = False

    @property
    def requests_made(self) -> int:
        """Requests sent so far, repeated ones included."""
        return self._rate_limiter.requests_made

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def list_page(self, window: Window, offset: int, page_number: int) -> Page:
        """One page of the completed calls of a window: `offset` rows, or `page_number - 1` pages, into the list."""
        position: dict[str, int] = {}  # a first page needs none in either dialect, and the other's may be refused
        if offset:
            position = {"page": page_number} if self._speaks_pages else {"offset": offset}
        answer = self._get(
            "/calls",
            {
                "status": "completed",
                "from_date": api_time(window.start),
                "to_date": api_time(window.end),
                "limit": PAGE_LIMIT,
                **position,
            },
            about_one_call=False,
        )
        rows = answer.get("calls", answer.get("data"))
        if not isinstance(rows, list):
            raise UnexpectedResponse(f"the list of calls has neither 'calls' nor 'data': it has {_names(answer)}")
        self._speaks_pages = "offset" not in answer and "page" in answer
        calls: list[ListedCall] = []
        unparsed: list[UnparsedRow] = []
        now = self._now()
        for row in rows:
            try:
                calls.append(parse_listed_call(row, organization_id=self._organization_id, now=now))
            except MalformedCall as error:
                known = row if isinstance(row, Mapping) else {}
                unparsed.append(
                    UnparsedRow(
                        known["id"] if isinstance(known.get("id"), str) else None,
                        parse_time(known.get("created_at")),
                        canonical_json(without_urls(row)),
                        str(error),
                    )
                )
        return Page(calls, unparsed, _count(answer.get("total")), _count(answer.get("limit")))

    def pages(self, window: Window, *, ahead: int = 0) -> Iterator[Page]:
        """All pages of a window, in the server's order; with `ahead`, so many are asked for before their turn.

        It ends by itself whatever the server does: with a page that brings nothing new, or with one that is short
        of its limit when `total` rows have come. A `total` that is too small does not end it, a full page goes on.
        Nothing is asked for ahead before the second page is wanted, nor beyond `total`.
        """
        seen: set[str] = set()
        offset, number = 0, 1
        page: Page | None = None
        with PagePrefetcher(partial(self.list_page, window), ahead) as listed:
            while True:
                try:
                    page = listed.page(offset, number)
                except RequestRefused:
                    if page is not None and page.total is not None and offset >= page.total:
                        return  # some servers refuse a page behind the end, where others show an empty one
                    raise
                yield page
                offset, number = offset + page.row_count, number + 1
                new = page.identities - seen
                all_came = page.total is None or offset >= page.total
                if not new or (all_came and page.row_count < (page.limit or PAGE_LIMIT)):
                    return
                seen |= new
                listed.go_on(offset, number, page.row_count, page.total or 0)

    def recording(self, call_id: str) -> RecordingAnswer:
        """Mints a URL for one call. Raises `CallNotFound` or `CallGone` where upstream has no recording of it."""
        answer = self._get(f"/calls/{_quoted(call_id)}/recording", field="recording_url")
        url = answer.get("recording_url")
        return RecordingAnswer(
            url if isinstance(url, str) and url.strip() else None,
            finite_number(answer.get("duration_seconds")),
        )

    def transcript(self, call_id: str) -> TranscriptAnswer:
        """The transcript of one call. Raises `CallNotFound` or `CallGone` where upstream has none."""
        answer = self._get(f"/calls/{_quoted(call_id)}/transcript", field="transcript")
        text, language = answer.get("transcript"), answer.get("language")
        if text is not None and not isinstance(text, str):
            raise UnexpectedResponse(f"the transcript is a {type(text).__name__}, not a text")
        return TranscriptAnswer(
            clean_text(text) if text else None,
            _count(answer.get("word_count")),
            clean_text(language) if isinstance(language, str) else None,
            finite_number(answer.get("confidence")),
        )

    def completed_total(self, window: Window) -> int | None:
        """What the statistics say of a window; None where no number can be read, for their shape is not documented."""
        query = {"from_date": api_time(window.start), "to_date": api_time(window.end)}
        answer = self._get("/calls/stats", query, about_one_call=False)
        for name in ("completed", "completed_calls", "total_completed", "total_calls", "total"):
            count = _count(answer.get(name))
            if count is not None:
                return count
        return None

    def extend(self, call_id: str, days: int, *, idempotency_key: str) -> None:
        """Has upstream keep one recording longer. Sent once: whether a second time would add again is not documented.

        Raises `ApiUnreachable(surely_not_sent=True)` or `TooManyRequests` where it surely had no effect; after any
        other `ApiUnreachable`, and after `ApiServerError`, it may have had one.
        """
        self._send(
            "POST",
            f"/calls/{_quoted(call_id)}/recording/extend",
            body={"days": days},
            headers={"Idempotency-Key": idempotency_key},
            any_answer=True,
        )

    def delete_recording(self, call_id: str) -> None:
        """Has upstream delete one recording, for good. Sent once; what it raises means what it means of `extend`."""
        self._send("DELETE", f"/calls/{_quoted(call_id)}/recording", any_answer=True)

    def change_settings(self, changes: Mapping[str, bool]) -> None:
        """Changes the organization's settings. Sent once, like `extend`, and raises as it does."""
        self._send("PATCH", "/settings", body=dict(changes), about_one_call=False, any_answer=True)

    def _get(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        about_one_call: bool = True,
        field: str | None = None,
    ) -> dict[str, Any]:
        """The answer of a GET. Without its `field`, were it only null, it is a failure: it says nothing of the call."""

        def send() -> dict[str, Any]:
            answer = self._send("GET", path, query=query, about_one_call=about_one_call)
            if field is not None and field not in answer:
                raise ApiServerError(f"GET {_without_id(path)}: the answer says nothing of it, it has {_names(answer)}")
            return answer

        attempts = Retrying(
            retry=retry_if_exception_type((ApiUnreachable, ApiServerError)),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(initial=0.5, max=20),
            reraise=True,
        )
        return attempts(send)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        about_one_call: bool = True,
        any_answer: bool = False,
    ) -> dict[str, Any]:
        """One request, and again after each 429 that asks for a short wait; the answer's JSON object."""
        what = f"{method} {_without_id(path)}"
        waited_seconds = 0.0
        while True:
            self._rate_limiter.wait_for_turn()
            status, answer_headers, answer = self._exchange(what, method, path, query, body, headers)
            if status != 429:
                self._rate_limiter.on_success()
                if any_answer and 200 <= status < 300:
                    return {}  # what it answers is not documented; that it accepts is all there is to know
                return _object_or_error(what, status, answer, about_one_call)
            seconds = retry_after_seconds(answer_headers.get("Retry-After"))
            if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
                raise TooManyRequests(f"{what}: upstream asks for {min(seconds, 1e9):,.0f} seconds of silence (quota)")
            closings = self._rate_limiter.on_throttled(seconds)
            waited_seconds += seconds or 1.0
            if closings >= _MOST_CLOSINGS or waited_seconds > _LONGEST_QUEUE_SECONDS:
                raise TooManyRequests(f"{what}: upstream answers 429 again and again (quota)")

    def _exchange(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request on the wire: the status, the headers and the whole body. Raises `ApiUnreachable` alone."""
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                params=query,
                json=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            never_connected = _never_connected(error)
            where = " Is KROSAI_BASE_URL right, and the network up?" if never_connected else ""
            raise ApiUnreachable(
                f"{what}: no answer ({_short_cause(error)}).{where}", surely_not_sent=never_connected
            ) from None
        sink = io.BytesIO()
        try:
            with response:
                read_body(response, sink, most_bytes=_MOST_ANSWER_BYTES, seconds=_ANSWER_SECONDS)
        except BrokenBody as error:
            raise ApiUnreachable(f"{what}: {error}") from None
        answer = sink.getvalue()
        if not response.ok:  # its words are shown, and may repeat what was sent
            answer = answer.replace(self._key, b"(secret)")
        return response.status_code, response.headers, answer


def _object_or_error(what: str, status: int, body: bytes, about_one_call: bool) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if 200 <= status < 300:
        if answer is None:
            raise ApiServerError(
                f"{what}: status {status} with {'a body that is not JSON' if body else 'an empty body'}"
            )
        if not isinstance(answer, dict):
            raise UnexpectedResponse(f"{what}: the answer is a {type(answer).__name__}, not an object")
        return answer
    said = answer if isinstance(answer, dict) else {}
    words = redact(" ".join(str(said[key]) for key in ("code", "error", "message") if said.get(key)))
    message = f"{what}: status {status}" + (f", “{words}”" if words else "")
    if status >= 500:
        raise ApiServerError(message)
    if status == 401 or (status == 403 and not about_one_call):
        raise ApiUnauthorized(f"{message}. Check KROSAI_API_KEY, KROSAI_AUTH and KROSAI_ORGANIZATION_ID.")
    if status == 404 and about_one_call:
        raise CallNotFound(message)
    if status == 410 and about_one_call:
        raise CallGone(message)
    if 300 <= status < 400:
        raise UnexpectedResponse(f"{message}: a redirect, which is not followed. Check KROSAI_BASE_URL.")
    raise RequestRefused(message)


def _quoted(call_id: str) -> str:
    """An id as one segment of a path. URL libraries take `.` and `..` for folders, however they are written."""
    if call_id in (".", ".."):
        raise RequestRefused("a call whose id is only dots cannot be asked for by itself")
    return quote(call_id, safe="")


def _without_id(path: str) -> str:
    parts = path.split("/")
    return "/".join(["", "calls", "{id}", *parts[3:]]) if len(parts) > 3 else path


def _names(answer: Mapping[str, Any]) -> str:
    return ", ".join(sorted(redact(key)[:40] for key in answer)[:8]) or "nothing"


def _count(value: object) -> int | None:
    """A count that an int64 column takes; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _never_connected(error: requests.RequestException) -> bool:
    cause: BaseException | None = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    reason = getattr(cause, "reason", cause)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _short_cause(error: requests.RequestException) -> str:
    """The kind of failure; requests' own message carries the URL."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None) or cause
    return type(reason).__name__ if isinstance(reason, BaseException) else type(error).__name__
