"""Mask phone numbers for those who may not see them."""

import re

_RUN = re.compile(r"\d(?:(?:[^\w\n]|_){0,4}\d){4,}")  # five digits or more, of any script, with separators between them
_DIGIT = re.compile(r"\d")
HIDDEN = "•"
_SHOWN_DIGITS = 2


def mask_number(number: str | None) -> str | None:
    """Return a phone number of which the last two digits are shown."""
    if number is None:
        return None
    digits = [character for character in number if character.isdecimal()]
    return f"{HIDDEN * 4}{''.join(digits[-_SHOWN_DIGITS:]) if len(digits) > 5 else ''}"


def mask_numbers_in(text: str) -> str:
    """Return a text of the same length in which the digits of long numbers are hidden. Numbers in words stay."""
    return _RUN.sub(lambda found: _DIGIT.sub(HIDDEN, found[0]), text)
