"""Two records of a call are compared by what they say of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from kros_pipeline.core.call_records import is_same_record, make_record, write_record

DAY = date(2025, 1, 10)
TABLES: dict[str, list[dict[str, Any]]] = {
    "calls": [{"to_number": "+1", "extra": None}],
    "transcripts": [{"text": "Hello", "asked_at": 1}],
    "utterances": [],
}


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"transcripts": [{"text": "Hello", "asked_at": 2}]}, True),
        ({"calls": [{"to_number": "+1"}]}, True),
        ({"calls": [{"to_number": "+1", "extra": None, "added": None}]}, True),
        ({"call_events": []}, True),
        ({"calls": [{"to_number": "+1", "extra": None, "added": ""}]}, False),
        ({"calls": [{"to_number": None, "extra": None}]}, False),
        ({"call_events": [{"name": "rang"}]}, False),
        ({"transcripts": []}, False),
    ],
)
def test_a_record_is_another_one_only_if_it_says_something_else(
    change: dict[str, list[dict[str, Any]]], is_same: bool
) -> None:
    line = write_record(make_record(DAY, "call_a", TABLES, None), b"salt")
    assert is_same_record(line, make_record(DAY, "call_a", TABLES | change, None)) == is_same
