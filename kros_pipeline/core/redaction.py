"""Redact texts of others before they are shown: no URL query, no secret, no phone number, one line."""

import re

from .transcripts import clean_text

_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*|\?[\w.~%-]+=\S*")
_USERINFO = re.compile(r"(://)[^\s/]*@")
_SECRET = re.compile(
    r"(?i)kros_(?:live|test)_[\w.~+/=-]+"
    r"|\b(?:X-Amz-[\w-]+|x-api-key|authorization|bearer)\b[\"']?[=: ]+[\"']?(?:(?:bearer|basic) +)?\S+"
)
_DIGITS = re.compile(r"\+?\d[\d ()./‐-―-]{5,}\d")
_MAX_SHOWN_CHARACTERS = 200
_MAX_READ_CHARACTERS = 4_000  # limits the time that the patterns take on any text


def redact(text: object) -> str:
    """Remove URL queries, user names in URLs, secrets and long numbers from a text, and shorten it.

    Returns one line of at most 200 characters. Only the first 4,000 characters are read.
    """
    shown = " ".join(clean_text(str(text)[:_MAX_READ_CHARACTERS]).split())
    for pattern, replacement in ((_QUERY, r"\1"), (_USERINFO, r"\1"), (_SECRET, "(secret)"), (_DIGITS, "(number)")):
        shown = pattern.sub(replacement, shown)
    return shown if len(shown) <= _MAX_SHOWN_CHARACTERS else shown[: _MAX_SHOWN_CHARACTERS - 1] + "…"
