"""From an answer of the API to its JSON object, or to the error that it stands for."""

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
from .api_answers import ApiAnswer

_UNKNOWN_EFFECT = (408, 409)  # a timeout and a conflict: the request may have acted, and may succeed when repeated
_TEXT_FIELDS = ("code", "error", "message")
_WHAT_TO_DO = {
    "KEY_EXPIRED": "The API key has expired: create a new one in the KrosAI dashboard, and set KROSAI_API_KEY.",
    "IP_NOT_ALLOWED": "Allow the public IP address of this machine for the API key in the KrosAI dashboard.",
}
_MAX_NAMES = 8
_MAX_NAME_CHARACTERS = 40


def read_answer(
    what: str,
    answer: ApiAnswer,
    *,
    is_change: bool,
    is_about_one_call: bool,
    secret: str = "",
    list_as: str | None = None,
) -> dict[str, Any]:
    """Return the JSON object of an answer to a GET; `{}` for a change that was done. Raises `ApiError` otherwise.

    Messages name the request, `what`, and the status; `secret` is hidden in upstream's text. A 403, 404 or 410 means
    something else where the request is about one call. A 404 or 410 is upstream's own only with the documented error
    in its body: a gateway's must not make the archive believe that a recording or a text does not exist. With `list_as`
    a list counts as an object with a field of that name.
    """
    message = _describe(what, answer, secret)
    if answer.is_success:
        return _read_change(message, answer) if is_change else _read_object(what, message, answer, list_as)
    status = answer.status
    if status >= 500 or status in _UNKNOWN_EFFECT:
        raise ApiServerError(message)
    _check_key(message, answer)
    if status == 401 or (status == 403 and not is_about_one_call):
        raise ApiUnauthorized(f"{message}. Check KROSAI_API_KEY, KROSAI_AUTH and KROSAI_ORGANIZATION_ID.")
    if 300 <= status < 400:
        message = f"{message}: a redirect, which is not followed. Check KROSAI_BASE_URL."
        raise ApiServerError(message) if is_change else UnexpectedResponse(message)
    if status in (404, 410):
        if not answer.has_documented_error:
            raise ApiServerError(f"{message}: not an error of the API's own; a gateway may have sent it")
        if is_about_one_call:
            raise CallNotFound(message) if status == 404 else CallGone(message)
    raise RequestRefused(message, is_forbidden=status == 403 and answer.has_documented_error)


def _read_object(what: str, message: str, answer: ApiAnswer, list_as: str | None) -> dict[str, Any]:
    """Return the object of a GET. An error in it is an error: a status of 200 says nothing about the call."""
    if answer.value is None:  # `null`, too
        content = "a body that is not JSON" if answer.size_bytes else "an empty body"
        raise ApiServerError(f"{what}: status {answer.status} with {content}")
    if list_as is not None and isinstance(answer.value, list):
        return {list_as: answer.value}
    if not isinstance(answer.value, dict):
        raise UnexpectedResponse(f"{what}: the answer is a {type(answer.value).__name__}, not an object")
    if answer.fields.get("error"):
        _check_key(message, answer)
        raise ApiServerError(message)
    return answer.fields


def _read_change(message: str, answer: ApiAnswer) -> dict[str, Any]:
    """Return `{}` where a change was done: an empty body, or JSON without an error.

    A documented error is a refusal. Raises `ApiServerError` where nobody knows: HTML, or an error of another form.
    """
    if not answer.is_json:
        if answer.size_bytes:
            raise ApiServerError(f"{message} with a body that is not JSON; a gateway may have sent it")
        return {}
    if answer.has_documented_error:
        _check_key(message, answer)
        raise RequestRefused(message)
    if answer.fields.get("error") or answer.fields.get("errors") or answer.fields.get("success") is False:
        raise ApiServerError(f"{message} with an error that is not documented: it has {names_in(answer.fields)}")
    return {}


def _check_key(message: str, answer: ApiAnswer) -> None:
    """Raise `ApiUnauthorized` for an error of the key itself, which every further request would meet."""
    if answer.error_code in _WHAT_TO_DO:
        raise ApiUnauthorized(f"{message}. {_WHAT_TO_DO[answer.error_code]}")


def _describe(what: str, answer: ApiAnswer, secret: str) -> str:
    """Return a message with the request, the status, and upstream's text where the body reports an error."""
    message = f"{what}: status {answer.status}"
    if answer.is_success and not answer.fields.get("error"):
        return message
    text = " ".join(str(answer.fields[name]) for name in _TEXT_FIELDS if answer.fields.get(name))
    text = redact(text.replace(secret, "(secret)") if secret else text)
    return message + (" with an error" if answer.is_success else "") + (f", “{text}”" if text else "")


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
