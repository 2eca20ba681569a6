"""Normalise phone numbers: every spelling of one number becomes one text, in E.164 where the number can be read.

A number comes as `+234 (0) 801 …`, `sip:+234…@host`, `tel:…;ext=12`, `0801…`, a JSON number, an object, or in the
digits of another script. What is no number for sure stays as it came: a wrong number is worse than an unread one,
because an erasure would take the calls of another person.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import phonenumbers

from .transcripts import clean_text

COUNTRIES = phonenumbers.SUPPORTED_REGIONS
"""The countries (ISO 3166, two letters) whose national numbers can be read."""

NEAR_DIGITS = 9  # a national number without its prefix has at most that many in common with its international form
_MIN_NEAR_DIGITS = 7  # a shorter one is an extension or a short code, which many people share
_MIN_DIALLED_DIGITS = 3  # 112
_MIN_DIGITS, _MAX_DIGITS = 7, 15  # of E.164
_MIN_GUESSED_DIGITS = 11  # with fewer, a number without "+" is as likely a national one
_MAX_CHARACTERS = 512
_MAX_DEPTH = 3

_SCHEME = re.compile(r"(?i)\b(tel|sips?|callto|sms|h323|whatsapp)s?:(?://)?")
_CONTEXT = re.compile(r"(?i);phone-context=(\+[\d .()-]+)")
_EXTENSION = re.compile(r"(?i)(?:\s*(?:\bext(?:ension|n)?\b\.?|\bx|#)\s*[:.=]?\s*\d{1,11}#?)\s*$")
_is_plain = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_WRITTEN = re.compile(r"\+?[\d\s().,*/_-]*\d[\d\s().,*/_-]*")
_GAP = r"[^0-9A-Za-z+]{0,3}"
_RUN = re.compile(rf"\d(?:{_GAP}\d)*", re.ASCII)
# The same in the text of JSON, which escapes control characters, or in a URL.
_ESCAPED_GAP = r"(?:[^0-9A-Za-z+]|\\[a-z]|\\u00[0-9a-f]{2}|%[0-9A-Fa-f]{2}){0,3}"
_NUMBER_FIELD = re.compile(r"(?i)e\.?164|number|phone|msisdn|^tel$|uri|^value$|^raw$|national|formatted")
_CODE_FIELD = re.compile(r"(?i)^(country|calling|dial(ing)?)_?(code|prefix)$|^cc$|^prefix$")
_COUNTRY_FIELD = re.compile(r"(?i)^(iso_?)?(country|region)(_?(code|iso))?$")


def normalise_phone_number(value: object, default_country: str | None) -> str | None:
    """Return a number in E.164 (`+2348012345678`); None for what cannot be read as exactly one number.

    `value` is any JSON value. `default_country` (`NG`) is that of numbers in national form; without it they are not
    read. A number with "+" needs no country, and is read even where no such number is assigned. An extension is left
    out.
    """
    return _normalise(value, default_country, 0)


def phone_number_text(value: object, default_country: str | None) -> str | None:
    """Return the text of a number as the tables have it: in E.164, or as it came where it cannot be read.

    None for an object or list that does not hold exactly one number, and for a JSON number that nobody can dial.
    """
    normalised = normalise_phone_number(value, default_country)
    if normalised is not None or isinstance(value, str):
        return normalised or clean_text(str(value))
    text = _text_of_json_number(value)
    return text if text is not None and len(text) >= _MIN_DIALLED_DIGITS else None


def fold_digits(text: str) -> str:
    """Return a text with the digits of every script as 0 to 9, and without characters that show nothing."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(_fold(character) for character in folded if unicodedata.category(character) != "Cf")


def digits_of(number: str) -> str:
    """Return the digits of a number as it was written, without the `00` that is dialled before a country code."""
    return re.sub(r"\D", "", fold_digits(number), flags=re.ASCII).removeprefix("00")


def runs_of_digits(text: str) -> Iterator[str]:
    """Yield the digits of everything in a free text that may be a number, separators left out; `%20` may be one."""
    folded = fold_digits(text)
    unquoted = [unquote(folded)] if "%" in folded else []
    for run in _RUN.findall("\n\n\n\n".join([folded, *unquoted])):
        yield re.sub(r"\D", "", run, flags=re.ASCII)


def is_near(digits: str, number_digits: str) -> bool:
    """Return whether a run of digits may be the same number in another form.

    It has the number's last nine digits, or is its end without country code and prefix (seven digits at least).
    """
    national = digits.lstrip("0")
    if len(number_digits) >= _MIN_NEAR_DIGITS and number_digits[-NEAR_DIGITS:] in digits:
        return True
    return len(national) >= _MIN_NEAR_DIGITS and number_digits.endswith(national)


def near_pattern(number_digits: str) -> str:
    """Return a pattern, for RE2 too, that finds each text in which a run of digits may be near a number.

    It finds more than that, such as every text with characters that may be digits of other scripts.
    """
    end = _ESCAPED_GAP.join(re.escape(digit) for digit in number_digits[-_MIN_NEAR_DIGITS:])
    return rf"{end}|[^\x00-\x7f]"


def _normalise(value: object, country: str | None, depth: int) -> str | None:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return _normalise_object(value, country, depth)
    if isinstance(value, list):
        return _only(_normalise(item, country, depth + 1) for item in value)
    text = value if isinstance(value, str) else _text_of_json_number(value)
    return _normalise_text(text, country) if text is not None and len(text) <= _MAX_CHARACTERS else None


def _text_of_json_number(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return str(int(value)) if 0 <= value < 10**18 else None


def _normalise_object(fields: Mapping[Any, Any], country: str | None, depth: int) -> str | None:
    """Read the one number of an object: that with a "+", or that in a field whose name says number."""
    named = {str(name): value for name, value in fields.items()}
    for name, value in named.items():
        if _COUNTRY_FIELD.search(name) and isinstance(value, str) and value.upper() in COUNTRIES:
            country = value.upper()
    numbers = {name: _normalise(value, country, depth + 1) for name, value in named.items()}
    explicit = {numbers[name] for name, value in named.items() if isinstance(value, str) and "+" in fold_digits(value)}
    explicit.discard(None)
    if explicit:
        return _only(explicit)
    fields_of_number = [name for name in named if _NUMBER_FIELD.search(name)]
    codes = [_as_digits(value) for name, value in named.items() if _CODE_FIELD.search(name)]
    if len(codes) == 1 and codes[0]:
        parts = [_as_digits(named[name]) for name in fields_of_number]
        joined = _only(_parse(f"+{codes[0]}{part}", None) for part in parts)
        if joined is not None:
            return joined
    return _only(numbers[name] for name in fields_of_number)


def _as_digits(value: object) -> str:
    text = value if isinstance(value, str) else _text_of_json_number(value)
    return digits_of(text) if text is not None and len(text) <= _MAX_CHARACTERS else ""


def _only(numbers: Iterable[str | None]) -> str | None:
    """Return the only number among several; None where they differ."""
    found = set(numbers) - {None}
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=8_192)  # an account's own numbers are in every row of its list
def _normalise_text(text: str, country: str | None) -> str | None:
    if _is_plain(text):
        return _parse(text, None) or text
    written = _cut_uri(fold_digits(text))
    if written is None:
        return None
    written = _EXTENSION.sub("", written).strip()
    attempts = (written, written.replace("(0)", " ", 1), written.partition(",")[0])
    unassigned = None
    for attempt in dict.fromkeys(attempts):
        found = _read(attempt, country) if _WRITTEN.fullmatch(attempt) else None
        if found is not None and found[1]:
            return found[0]
        unassigned = unassigned or (found[0] if found is not None else None)
    return unassigned


def _cut_uri(text: str) -> str | None:
    """Return the number in a URI (`sip:+234…@host`, `"Name" <sip:…>`), or the text where it is none."""
    scheme = _SCHEME.search(text)
    if scheme:
        text = unquote(text[scheme.end() :].partition(">")[0])
        if scheme[1].lower().startswith("sip") and "@" not in text and not re.match(r"\+?\d+(;|$)", text, re.ASCII):
            return None  # a host, whose address may look like a number
    elif "%2b" in text.lower():
        text = unquote(text)
    context = _CONTEXT.search(text)
    number = text.partition("@")[0].partition(";")[0].partition("?")[0]
    number = number.partition(":")[0]  # a password
    return f"{context[1]}{number}" if context and "+" not in number else number


def _read(written: str, country: str | None) -> tuple[str, bool] | None:
    """Read a number that is written with digits and separators only; and say whether such a number is assigned."""
    digits = re.sub(r"\D", "", written, flags=re.ASCII)
    if written.startswith("+"):
        return _accept(digits)
    national = _parse(digits, country) if country is not None else None
    if national is not None:
        return national, True
    is_international = digits.startswith("00") or len(digits) >= _MIN_GUESSED_DIGITS
    guessed = _parse(f"+{digits.removeprefix('00')}", None) if is_international else None
    return (guessed, True) if guessed is not None else None


def _accept(digits: str) -> tuple[str, bool] | None:
    """Return a number that is written as an international one, assigned or not."""
    number = _parse(f"+{digits}", None)
    if number is not None:
        return number, True
    return (f"+{digits}", False) if _MIN_DIGITS <= len(digits) <= _MAX_DIGITS and digits[0] != "0" else None


def _parse(digits: str, country: str | None) -> str | None:
    """Return an assigned number in E.164; None for any other."""
    try:
        number = phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _fold(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    return "-" if unicodedata.category(character) == "Pd" else character
