"""JSON values as the archive stores them: canonical, finite, and without URLs of recordings."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from .transcripts import clean_text

RECORDING_URL_FIELD = "recording_url"  # a bearer secret for an hour, and useless after it: never kept
_MAX_DEPTH = 100  # of the JSON in `extra`: a deeper value would end the parsing of the whole page
_CREDENTIAL = re.compile(
    r"(?i)[?&](x-(amz|goog)-[a-z-]+|signature|sig|token|key-pair-id|awsaccesskeyid|policy|expires)="
)


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys, and with nothing that Parquet, RE2 or a strict reader would refuse."""
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def remove_urls(value: Any, depth: int = 0) -> Any:
    """Return a JSON value without any recording URL, at any depth. Other presigned URLs lose their query."""
    if depth > _MAX_DEPTH:
        return "(nested too deep)"
    if isinstance(value, Mapping):
        return {str(key): remove_urls(item, depth + 1) for key, item in value.items() if key != RECORDING_URL_FIELD}
    if isinstance(value, list):
        return [remove_urls(item, depth + 1) for item in value]
    if isinstance(value, str) and _is_presigned(value):
        return value.partition("?")[0]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # NaN is not JSON
    return value


def finite_number(value: object) -> float | None:
    """Return a number, or a text that is one, as a float; None for anything else, such as infinity and NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_presigned(text: str) -> bool:
    """Return whether a text has a URL, and after it a parameter that grants access; in linear time.

    One pattern for both took 28 seconds for 120 kB of `://`, with the interpreter locked.
    """
    begin = text.find("://")
    return begin >= 0 and _CREDENTIAL.search(text, begin) is not None
