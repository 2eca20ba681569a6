"""Compare phone numbers of calls with those of rules: in E.164, and as they are written where they cannot be read."""

import re
from functools import lru_cache

import phonenumbers

from .phone_numbers import fold_digits, normalise_phone_number

_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_SEPARATORS = re.compile(r"[\s().,/_-]+")


@lru_cache(maxsize=65_536)
def comparable_number(number: str, country: str | None) -> str:
    """Return a number as numbers are compared: equal numbers give equal texts, in whatever form they were written."""
    if _E164(number):
        return number
    return normalise_phone_number(number, country) or _SEPARATORS.sub("", fold_digits(number)).casefold()


def comparable_prefixes(prefix: str, country: str | None) -> tuple[str, ...]:
    """Return the begins that a comparable number has if it begins with the prefix of a rule."""
    written = _SEPARATORS.sub("", fold_digits(prefix)).casefold()
    if written.startswith("00"):
        return (f"+{written[2:]}",)
    if not written.isdecimal():
        return (written,)
    if written.startswith("0") and country is not None:
        code = phonenumbers.country_code_for_region(country)
        return (written, f"+{code}{written.lstrip('0')}")
    return (written, f"+{written}")
