"""JSON values as the archive stores them: canonical, finite, and without URLs of recordings."""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from .transcripts import clean_text

RECORDING_URL_FIELD = "recording_url"  # a bearer secret for an hour, and useless after it: never kept
_MAX_DEPTH = 100  # of the JSON in `extra`: a deeper value would end the parsing of the whole page
_CREDENTIAL = re.compile(
    r"(?i)[?&#;](x-(amz|goog)-[a-z-]+|signature|sig|token|key-pair-id|awsaccesskeyid|policy|expires"
    r"|auth|hmac|jwt|secret|password|(access|auth|session|id)[_-]?token|api[_-]?key|credentials?)="
)
_BETWEEN_URLS = re.compile(r"([\s\"'<>|]+)")
_QUERY_BEGINS = re.compile(r"(?i)[?#;]|%3f|%23|%3b")


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys, and with nothing that Parquet, RE2 or a strict reader would refuse."""
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def remove_urls(value: Any, hosts: Collection[str] = (), depth: int = 0) -> Any:
    """Return a JSON value without what grants access to a recording, at any depth, names of fields included.

    The field `recording_url` is left out. A URL of one of the `hosts`, where recordings are, loses query, fragment and
    user name; any other loses its user name, and its query where that is presigned.
    """
    if depth > _MAX_DEPTH:
        return "(nested too deep)"
    if isinstance(value, Mapping):
        return {
            _clean(str(key), hosts): remove_urls(item, hosts, depth + 1)
            for key, item in value.items()
            if key != RECORDING_URL_FIELD
        }
    if isinstance(value, list):
        return [remove_urls(item, hosts, depth + 1) for item in value]
    if isinstance(value, str):
        return _clean(value, hosts)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # NaN is not JSON
    return value


def _clean(text: str, hosts: Collection[str]) -> str:
    """Clean each URL of a text: in linear time, because one pattern for all took 28 seconds for 120 kB of `://`."""
    lower = text.lower()
    named = [host for host in hosts if host in lower]
    if not named and "//" not in text:
        return text
    return "".join(_clean_url(part, named) for part in _BETWEEN_URLS.split(text))


def _clean_url(part: str, hosts: Collection[str]) -> str:
    """Clean a part of a text that has no white space: a URL, with or without its scheme, or anything else."""
    begin = part.find("//")
    if begin >= 0:
        authority = re.split(r"[/?#]", part[begin + 2 :], maxsplit=1)[0]
        user, at, _ = authority.rpartition("@")
        part = part[: begin + 2] + part[begin + 2 + len(user + at) :]
    lower = part.lower()
    places = [lower.find(host) for host in hosts if host in lower]
    if places:
        user_end = part.rfind("@", 0, min(places))
        if begin < 0 and user_end >= 0:  # no scheme, but a user name
            part, places = part[user_end + 1 :], [place - user_end - 1 for place in places]
        query = _QUERY_BEGINS.search(part, min(places))
        return part[: query.start()] if query else part
    if begin >= 0 and _CREDENTIAL.search(part, begin):
        return part[: min(place for mark in "?#;" if (place := part.find(mark, begin)) >= 0)]
    return part


def finite_number(value: object) -> float | None:
    """Return a number, or a text that is one, as a float; None for anything else, such as infinity and NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
