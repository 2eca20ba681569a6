"""The API client: one request at a time, through the rate limiter, with the retries that are safe.

A GET is retried. Anything else is sent once, and again only after a rate limit: then it had no effect.

The Bridge, KrosAI's newer deployment, has no other access control than the query `organization_id`: without it, calls
of other organizations may come. It is known by its URL, or by the header of its first answer.
"""

import io
from collections.abc import Mapping
from typing import Any

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from ..core.clock import Clock
from ..core.errors import ApiServerError, ApiUnauthorized, ApiUnreachable, TooManyRequests
from .answer_headers import AnswerHeaders, read_answer_headers
from .api_answers import ApiAnswer
from .api_errors import cause_of, names_in, never_connected, read_answer
from .rate_limiter import LONGEST_WAIT_SECONDS, Quota, RateLimiter
from .response_body import BrokenBody, read_body
from .sessions import CONNECT_SECONDS, READ_SECONDS, new_session
from .settings import SourceSettings
from .throttling import is_rate_limit, seconds_to_wait

_MAX_ATTEMPTS = 4
_MAX_PAUSES = 10  # consecutive ones, of the rate limiter, without an accepted request
_LONGEST_QUEUE_SECONDS = 120.0  # that one request waits, over all of its rate limits
_DEFAULT_PAUSE_SECONDS = 1.0
_MAX_ANSWER_BYTES = 1 << 30  # a page may hold a hundred transcripts of megabytes
_ANSWER_SECONDS = 120.0
_ROUTE_HEADER = "x-routed-via"


class ApiClient:
    """Sends requests to the API of one account. Threads share its session, its rate and its budget."""

    def __init__(self, settings: SourceSettings, clock: Clock, quota: Quota | None = None):
        key = settings.api_key
        headers = {"x-api-key": key} if settings.auth == "x-api-key" else {"Authorization": f"Bearer {key}"}
        if settings.organization_id:
            headers["x-organization-id"] = settings.organization_id
        self._session = new_session(settings.connections, headers)
        self._key = key
        self._base_url = settings.base_url
        self._organization_id = settings.organization_id
        self.is_bridge = settings.is_bridge  # or revealed by an answer; never False again
        self.last_headers: AnswerHeaders | None = None  # of the last answer, whatever it was
        self._clock = clock
        self._limiter = RateLimiter(settings.rate_of_one_run, settings.requests_per_run, clock, quota)

    @property
    def requests_made(self) -> int:
        """How many requests were sent so far, retries included."""
        return self._limiter.requests_made

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        is_about_one_call: bool = True,
        field: str | tuple[str, ...] | None = None,
        list_as: str | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object that a GET is answered with; see `get_sized`."""
        return self.get_sized(path, query, is_about_one_call=is_about_one_call, field=field, list_as=list_as)[0]

    def get_sized(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        is_about_one_call: bool = True,
        field: str | tuple[str, ...] | None = None,
        list_as: str | None = None,
    ) -> tuple[dict[str, Any], int]:
        """Return the answer of a GET, which is retried up to three times, and the length of its body in bytes.

        Raises `ApiServerError` where the answer lacks `field`, which may be null, or all of several fields. With
        `list_as` a list counts as an object with a field of that name.
        """
        expected = (field,) if isinstance(field, str) else field

        def attempt() -> tuple[dict[str, Any], int]:
            answer, size_bytes = self._send(
                "GET", path, query=query, is_about_one_call=is_about_one_call, list_as=list_as
            )
            if expected is not None and not any(name in answer for name in expected):
                raise ApiServerError(
                    f"GET {_hide_id(path)}: the expected field is missing; the answer has {names_in(answer)}"
                )
            return answer, size_bytes

        attempts = Retrying(
            retry=retry_if_exception_type((ApiUnreachable, ApiServerError)),
            stop=stop_after_attempt(_MAX_ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=20) + wait_random(0, 1),  # seconds
            sleep=self._clock.sleep,
            reraise=True,
        )
        return attempts(attempt)

    def change(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        is_about_one_call: bool = True,
    ) -> None:
        """Send a request that changes something, once. A 2xx without an error in its body means that it was done.

        After `RequestRefused`, `ApiUnauthorized` and `TooManyRequests` it had no effect. After `ApiServerError` it may
        have had one: 5xx, 408, 409, a redirect, or a 2xx that is no JSON.
        """
        self._send(method, path, body=body, headers=headers, is_about_one_call=is_about_one_call, is_change=True)

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        is_about_one_call: bool = True,
        is_change: bool = False,
        list_as: str | None = None,
    ) -> tuple[dict[str, Any], int]:
        """Send one request, and again after each rate limit that asks for a short wait.

        A GET is also sent again where its answer is the first to reveal the Bridge; nothing of that answer is used.
        Returns the answer's JSON object, `{}` for a change, and the length of its body in bytes.
        """
        what = f"{method} {_hide_id(path)}"
        waited_seconds = 0.0
        while True:
            names_organization = self.is_bridge
            asked = self._name_organization(what, query) if names_organization else query
            self._limiter.acquire()
            answer = ApiAnswer.parse(*self._exchange(what, method, path, asked, body, headers))
            self.last_headers = read_answer_headers(answer.headers)
            is_from_bridge = answer.headers.get(_ROUTE_HEADER, "").strip().lower() == "bridge"
            self.is_bridge = self.is_bridge or is_from_bridge
            now = self._clock.now()
            if not is_rate_limit(answer, now=now):
                self._limiter.on_success()
                if is_from_bridge and not names_organization and not is_change:
                    continue
                fields = read_answer(
                    what,
                    answer,
                    is_change=is_change,
                    is_about_one_call=is_about_one_call,
                    secret=self._key,
                    list_as=list_as,
                )
                return fields, answer.size_bytes
            seconds = seconds_to_wait(answer, now=now)
            if seconds is not None and seconds > LONGEST_WAIT_SECONDS:
                raise TooManyRequests(f"{what}: upstream asks to wait {min(seconds, 1e9):,.0f} seconds (quota)")
            pauses = self._limiter.on_throttled(seconds)
            waited_seconds += seconds or _DEFAULT_PAUSE_SECONDS
            if pauses >= _MAX_PAUSES or waited_seconds > _LONGEST_QUEUE_SECONDS:
                form = "429" if answer.status == 429 else f"{answer.status}, a rate limit,"
                raise TooManyRequests(f"{what}: upstream answers {form} again and again (quota)")

    def _name_organization(self, what: str, query: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Return a query with the organization. Raises `ApiUnauthorized` where no setting names one."""
        if self._organization_id is None:
            raise ApiUnauthorized(
                f"{what}: KrosAI's Bridge answers at KROSAI_BASE_URL, and shows calls of other organizations, too, "
                "unless each request names yours: set KROSAI_ORGANIZATION_ID to your organization, and KROSAI_AUTH to "
                "bearer"
            )
        return {**(query or {}), "organization_id": self._organization_id}

    def _exchange(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and return status, headers and the whole body. Raises `ApiUnreachable` only."""
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
            is_unsent = never_connected(error)
            advice = " Is KROSAI_BASE_URL right, and the network up?" if is_unsent else ""
            raise ApiUnreachable(f"{what}: no answer ({cause_of(error)}).{advice}", surely_not_sent=is_unsent) from None
        sink = io.BytesIO()
        try:
            with response:
                read_body(response, sink, max_bytes=_MAX_ANSWER_BYTES, seconds=_ANSWER_SECONDS, clock=self._clock)
        except BrokenBody as error:
            raise ApiUnreachable(f"{what}: {error}") from None
        return response.status_code, response.headers, sink.getvalue()


def _hide_id(path: str) -> str:
    """Return a path for messages, with `{id}` for the id of a call or of a webhook delivery."""
    parts = path.split("/")
    if parts[1] == "webhook-deliveries" and len(parts) > 2:
        return "/webhook-deliveries/{id}"
    return "/".join(["", "calls", "{id}", *parts[3:]]) if len(parts) > 3 else path
