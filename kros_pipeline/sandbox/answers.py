"""Make the answers of API and storage: JSON with KrosAI's error envelope, XML with S3's error codes."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any
from xml.sax.saxutils import escape

from .faults import Fault
from .http_server import Answer
from .rendering import to_json

HTML_PAGE = b"<!doctype html><html><title>Be right back</title><body><h1>Down for maintenance</h1></body></html>"
_SILENCE_SECONDS = 10.0
_S3_CODES = {
    400: "InvalidArgument",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    410: "Gone",
    503: "SlowDown",
}


def json_answer(value: Any, status: int = 200) -> Answer:
    """Make an answer with `value` as its JSON body."""
    return Answer(status, to_json(value))


def error(status: int, code: str, text: str, **details: Any) -> Answer:
    """Make an error answer: `{"error", "code", "details"}`."""
    return json_answer({"error": text, "code": code, "details": details}, status)


def not_found(what: str) -> Answer:
    """Make a 404 in the error envelope."""
    return error(404, "NOT_FOUND", f"{what} not found")


def fault_error(fault: Fault, default_status: int) -> Answer:
    """Make the error answer of a fault; its `value` is the status."""
    status = int(fault.value or default_status)
    return error(status, "FORBIDDEN" if status == 403 else "INTERNAL_ERROR", "Something went wrong")


def gateway(fault: Fault) -> Answer:
    """Make the answer of something in front of the API; the fault's `value` is status and body ("404 html").

    Bodies: "html", "message" (`{"message"}`), "empty", or a code, which is put into the API's own error. No redirect
    has a `Location`.
    """
    status, _, body = str(fault.value or "404 html").partition(" ")
    match body:
        case "html":
            return Answer(int(status), HTML_PAGE, "text/html")
        case "message":
            return json_answer({"message": "no Route matched with those values"}, int(status))
        case "empty":
            return Answer(int(status))
    return error(int(status), body, "Something went wrong")


def silence(fault: Fault) -> Answer:
    """Make an answer that sends nothing for the fault's `value` in seconds and then closes the connection."""
    return Answer(delay_seconds=float(fault.value or _SILENCE_SECONDS), ending="silence")


def rate_limited(retry_after: float | str, now: float) -> Answer:
    """Make a 429. `retry_after` is sent as it is, with these exceptions.

    "http-date" becomes the date one second after `now` (Unix time); "absent" leaves the header out; "reset" does, too,
    and sends `Date`, with which `X-RateLimit-Reset` can be compared. "as-200" and "as-403" put the error, with
    `retry_after` in it, under that status and without the header; "as-503" is a gateway's 503 with `Retry-After: 0.2`.
    """
    body: dict[str, Any] = {"error": "Rate limit exceeded", "code": "RATE_LIMIT_EXCEEDED"}
    if retry_after == "absent":
        return json_answer(body, 429)
    if retry_after == "reset":
        answer = json_answer(body, 429)
        answer.headers["Date"] = formatdate(now, usegmt=True)
        return answer
    if retry_after in ("as-200", "as-403"):
        return json_answer(body | {"retry_after": 0.2}, int(str(retry_after)[-3:]))
    if retry_after == "as-503":
        answer = Answer(503, HTML_PAGE, "text/html")
        answer.headers["Retry-After"] = "0.2"
        return answer
    if retry_after == "http-date":
        answer = json_answer(body, 429)
        answer.headers["Date"] = formatdate(now, usegmt=True)
        answer.headers["Retry-After"] = formatdate(now + 1, usegmt=True)
        return answer
    try:
        body["retry_after"] = float(retry_after)
    except ValueError:
        body["retry_after"] = retry_after
    answer = json_answer(body, 429)
    answer.headers["Retry-After"] = str(retry_after)
    return answer


def storage_error(status: int, message: str) -> Answer:
    """Make S3's `<Error>` with the code that S3 uses for the status."""
    code = _S3_CODES.get(status, "InternalError")
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Answer(status, b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode(), "application/xml")
