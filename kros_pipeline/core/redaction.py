"""Redact texts of others before they are shown: no URL query, no secret, no phone number, one line, no control code.

`kros_pipeline_tests/core/test_redaction.py` has the table of cases. Ids are no secrets and stay: without them nobody
can act on a message.
"""

import re
import unicodedata

from .transcripts import clean_text

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # a terminal's colours and cursor
    r"|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?"  # its title and links
    r"|\x1b[@-Z\\^_]?"
)
_JOINERS = "\u200c\u200d"  # letters of Persian and Hindi need them
_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*|\?[\w.~%-]+=\S*")
_USERINFO = re.compile(r"(//)[^\s/]*@")
_NAMES_OF_SECRETS = (
    r"x-amz-[\w-]+|x-api-key|authorization|proxy-authorization|set-cookie|cookie"
    r"|(?:[a-z]+[_-])?api[_-]?key|(?:access|refresh|id|auth|session|bearer|security|csrf)[_-]?token"
    r"|(?:client|shared|webhook|signing)[_-]secret|(?:aws[_-])?secret[_-]access[_-]key|aws[_-]access[_-]key[_-]id"
    r"|(?:private|erasure|signing|access|secret)[_-]key|password|passwd|passphrase"
)
_PLAIN_NAMES = r"token|secret|signature|sig|hmac|auth|pwd|jwt|session|credential|credentials|key"  # words, too
_VALUE = r"(?:(?:bearer|basic|digest|token) +)?[^\s,;&]+"
_SECRET = re.compile(
    r"(?i)kros_(?:live|test)_[\w.~+/=-]+"
    r"|\b(?:sk|pk|rk|whsec)[_-](?:live_|test_)?[\w+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)"
    r"|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # a JSON Web Token
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bauthorization\b[\"']?\s*[=:]\s*[\"']?(?:[a-z][\w-]* +)?\S+"  # any scheme, and the first part of its value
    r"|\b(?:X-Amz-[\w-]+|x-api-key|authorization|bearer)\b[\"']?[=: ]+[\"']?(?:(?:bearer|basic) +)?\S+"
    r"|\bapi key\s*:\s*(?=\S*\d)\S{8,}"
    rf"|\b(?:{_NAMES_OF_SECRETS})\b[\"']?\s*[=:]\s*[\"']?{_VALUE}"
    rf"|\b(?:{_PLAIN_NAMES})(?:[\"']\s*[=:]\s*[\"']?|=[\"']?){_VALUE}"
    rf"|\b(?:{_PLAIN_NAMES})\s*:\s*(?=\S*\d)[\w.~+/=-]{{8,}}"
)
# An id stays as it is: an ARN with its account, a UUID, a prefix with an underscore, a long hexadecimal number, a date.
# What follows `from_` and the like is a number.
_ID = (
    r"\barn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}(?![0-9])|"
    r"(?<![\w+])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)"
    r"|(?<![\w+-])(?!(?i:from|to|tel|sms)[_-])(?!\w*(?i:phone|mobile|caller|callee|number|msisdn|whatsapp))"
    r"[A-Za-z]{1,12}_[A-Za-z0-9_-]*[A-Za-z0-9]"
    r"|(?<![\w+])(?:[A-Z]{2})?(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12,}(?!\w)"
    r"|(?<![\d+])(?:19|20)\d\d-[01]\d-[0-3]\d(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?(?!\d)"
)
_ID_OR_NUMBER = re.compile(
    rf"(?P<id>{_ID})"
    r"|\+[^\w+]{0,3}\d(?:[^\w+]{0,3}_?\d){5,}"
    r"|\+?\d[\d ()./\u2010-\u2015-]{5,}\d"
    r"|\d(?:(?:[^\w+:,;|]{0,3}_?|[,;|](?=\d\d)|:(?=\d{3}))\d){6,}"
)
_MAX_SHOWN_CHARACTERS = 200
_MAX_READ_CHARACTERS = 4_000  # limits the time that the patterns take on any text


def redact(text: object) -> str:
    """Remove URL queries, user names in URLs, secrets, long numbers and control codes from a text, and shorten it.

    Returns one line of at most 200 characters. Only the first 4,000 characters are read.
    """
    shown = _remove_controls(clean_text(str(text)[:_MAX_READ_CHARACTERS]))
    for pattern, replacement in ((_QUERY, r"\1"), (_USERINFO, r"\1"), (_SECRET, "(secret)")):
        shown = pattern.sub(replacement, shown)
    shown = _ID_OR_NUMBER.sub(lambda found: found[0] if found["id"] else "(number)", shown)
    return shown if len(shown) <= _MAX_SHOWN_CHARACTERS else shown[: _MAX_SHOWN_CHARACTERS - 1] + "…"


def _remove_controls(text: str) -> str:
    """Return one line without escape sequences, control characters, and what turns the direction of the writing."""
    visible = "".join(
        character
        for character in _ESCAPES.sub("", text)
        if character.isspace() or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Co")
    )
    return " ".join(visible.split())
