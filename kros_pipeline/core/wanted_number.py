"""A phone number that is searched for: which values are the same number, and which may be it in another form."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .json_values import canonical_json
from .phone_numbers import digits_of, is_near, near_pattern, normalise_phone_number, runs_of_digits
from .redaction import redact

NUMBER_FIELDS = ("from_number", "to_number")
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Found:
    """Where a row has the number. It `is_same` where a field of the call's numbers is the number, in whatever form."""

    is_same: bool
    reason: str


class WantedNumber:
    """One number, as a person wrote it. `country` is that of national forms, here and in the values compared."""

    def __init__(self, written: str, country: str | None = None):
        self._country = country
        self._text = normalise_phone_number(written, country)
        self.digits = digits_of(self._text or written)
        self._digits_as_written = digits_of(written)
        self.pattern = near_pattern(self.digits)
        """Matches each text that may have the number; RE2 takes it, too."""

    @property
    def name(self) -> str:
        """The text that its tombstone is named by: the number in E.164, or its digits where it cannot be read."""
        return self._text or self.digits

    def is_same(self, value: object) -> bool:
        """Return whether a value of a number's field is this number: in E.164, or digit by digit as it is written."""
        if value is None or isinstance(value, bool):
            return False
        if self._text is not None and normalise_phone_number(value, self._country) == self._text:
            return True
        digits = digits_of(value) if isinstance(value, str) else str(value) if isinstance(value, int) else ""
        return bool(digits) and digits in (self.digits, self._digits_as_written)

    def is_in(self, text: str) -> bool:
        """Return whether a free text has digits that may be this number."""
        return any(is_near(run, self.digits) for run in runs_of_digits(text))

    def find_in_row(self, row: Mapping[str, Any]) -> Found | None:
        """Find the number in a raw row of the list, or in one of the table `calls`; None where it is not there.

        `extra` may be JSON: it has the number's fields as they came, where a column has them in another form.
        """
        extra = _parse(row.get("extra"))
        for fields in (row, extra):
            for name in NUMBER_FIELDS:
                if self.is_same(fields.get(name)):
                    return Found(True, f"{name} is the number")
        for name in NUMBER_FIELDS:
            if any(self.is_in(_text_of(fields.get(name))) for fields in (row, extra)):
                return Found(False, f"{name} ends in the same digits")
        others = {name: value for name, value in row.items() if name not in ("extra", "id", "call_id", *NUMBER_FIELDS)}
        others |= {f"extra.{name}": value for name, value in extra.items() if name not in NUMBER_FIELDS}
        for path, text in _texts_in(others):
            if self.is_in(text):
                return Found(False, f"the free field {redact(path)} has the same digits")
        return None


def _parse(extra: object) -> Mapping[str, Any]:
    """Return the fields of the column `extra`; none where it is no JSON object."""
    if isinstance(extra, Mapping):
        return extra
    try:
        fields = json.loads(extra) if isinstance(extra, str) else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, Mapping) else {}


def _text_of(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else canonical_json(value)


def _texts_in(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield every text, number and name of a field in a JSON value, with the path of the field."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            path_of_item = f"{path}.{name}" if path else str(name)
            yield path_of_item, str(name)
            yield from _texts_in(item, path_of_item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item, path, depth + 1)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield path, value if isinstance(value, str) else repr(value)
