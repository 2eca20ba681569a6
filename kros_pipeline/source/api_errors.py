"""From an HTTP answer of the API to its JSON object, or to the error that it stands for."""

from collections.abc import Mapping
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..core.errors import (
    ApiServerError,
    ApiUnauthorized,
    CallGone,
    CallNotFound,
    RequestRefused,
    UnexpectedResponse,
)
from ..core.redaction import redact
from .json_answers import parse_json

_MAX_NAMES = 8
_MAX_NAME_CHARACTERS = 40


def read_answer(what: str, status: int, body: bytes, *, is_about_one_call: bool) -> dict[str, Any]:
    """Return the JSON object of a 2xx answer. Raises an `ApiError` that names the request, `what`, and the status.

    A 403, 404 or 410 means something else where the request is about one call.
    """
    try:
        answer = parse_json(body)
    except ValueError:
        answer = None
    if 200 <= status < 300:
        if answer is None:
            content = "a body that is not JSON" if body else "an empty body"
            raise ApiServerError(f"{what}: status {status} with {content}")
        if not isinstance(answer, dict):
            raise UnexpectedResponse(f"{what}: the answer is a {type(answer).__name__}, not an object")
        return answer
    fields = answer if isinstance(answer, dict) else {}
    text = redact(" ".join(str(fields[key]) for key in ("code", "error", "message") if fields.get(key)))
    message = f"{what}: status {status}" + (f", “{text}”" if text else "")
    if status >= 500:
        raise ApiServerError(message)
    if status == 401 or (status == 403 and not is_about_one_call):
        raise ApiUnauthorized(f"{message}. Check KROSAI_API_KEY, KROSAI_AUTH and KROSAI_ORGANIZATION_ID.")
    if status == 404 and is_about_one_call:
        raise CallNotFound(message)
    if status == 410 and is_about_one_call:
        raise CallGone(message)
    if 300 <= status < 400:
        raise UnexpectedResponse(f"{message}: a redirect, which is not followed. Check KROSAI_BASE_URL.")
    raise RequestRefused(message)


def names_in(answer: Mapping[str, Any]) -> str:
    """Return the names of an answer's fields, for a message."""
    return ", ".join(sorted(redact(key)[:_MAX_NAME_CHARACTERS] for key in answer)[:_MAX_NAMES]) or "nothing"


def never_connected(error: requests.RequestException) -> bool:
    """Return whether no connection was made, so that the request surely was not sent."""
    cause: BaseException | None = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    reason = getattr(cause, "reason", cause)
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def cause_of(error: requests.RequestException) -> str:
    """Return the type of what went wrong. The message of requests has the URL in it, and is not shown."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None) or cause
    return type(reason).__name__ if isinstance(reason, BaseException) else type(error).__name__
