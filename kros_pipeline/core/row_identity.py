"""What identifies a row of the list that cannot be read as a call: its id, of whatever type, else its numbers.

A hash of the whole row is no identity: a field that changes, such as the costs, would make it another row.
"""

from collections.abc import Mapping
from typing import Any

from .json_values import canonical_json
from .phone_numbers import digits_of, phone_number_text
from .transcripts import clean_text
from .wanted_number import NUMBER_FIELDS


def id_of_row(row: object) -> str | None:
    """Return the text of a row's id; None where it has none.

    7, 7.0 and "7" are one id: upstream may write it otherwise later. An id of another type is its JSON.
    """
    value = row.get("id") if isinstance(row, Mapping) else None
    if isinstance(value, str):
        return clean_text(value) if value.strip() else None
    if value is None or value in ({}, []):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return canonical_json(value)


def id_with_parts(row: object) -> dict[str, object] | list[object] | None:
    """Return a row's id where it is an object or a list, such as `{"value": "call_1"}`: a part of it may be the id."""
    value = row.get("id") if isinstance(row, Mapping) else None
    return value if isinstance(value, (dict, list)) else None


def numbers_of_row(row: object, country: str | None) -> list[str]:
    """Return the phone numbers of a row, sorted: in E.164, or their digits where they cannot be read."""
    fields: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
    texts = [phone_number_text(fields.get(name), country) for name in NUMBER_FIELDS]
    return sorted({text if text.startswith("+") else digits_of(text) for text in texts if text} - {""})
