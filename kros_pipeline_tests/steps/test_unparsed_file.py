"""Rows that are no calls come back from their file: the last one of each name."""

from __future__ import annotations

from datetime import UTC, datetime

from kros_pipeline.source.call_source import UnparsedRow
from kros_pipeline.steps.local_file import LocalFile
from kros_pipeline.steps.unparsed_file import UnparsedFile

AT = datetime(2025, 1, 10, tzinfo=UTC)


def row(call_id: str | None, raw_json: str = "{}") -> UnparsedRow:
    return UnparsedRow(call_id, AT, raw_json, "'created_at': a number")


def test_the_last_row_of_a_name_counts_and_others_are_forgotten() -> None:
    rows = UnparsedFile(LocalFile())
    assert not rows and list(rows.values()) == []
    for added in (row("a"), row(None, "[1]"), row("a", "[2]"), row("\ud800"), row(None, "[1]"), row("c")):
        rows.add(added)
    rows.discard_call("c")
    rows.discard_call("never there")
    assert len(rows) == 3
    assert list(rows.values()) == [row("a", "[2]"), row(None, "[1]"), row("\ud800")]
    for found in rows.values():
        rows.discard(found)
    assert not rows


def test_other_days_share_the_file() -> None:
    file = LocalFile()
    days = [UnparsedFile(file) for _ in range(2)]
    for number, rows in enumerate(days):
        rows.add(row("a", f"[{number}]"))
    assert [found.raw_json for rows in days for found in rows.values()] == ["[0]", "[1]"]
