"""The tables are a contract: names, order and types. Columns are only ever added, at a table's end, nullable."""

import pyarrow as pa
import pytest

from kros_pipeline.core.schemas import ALL_TABLES, OPTIONAL_TABLES, TABLES, Table

# The names that readers rely on, with `!` where a value is never null.
CONTRACT = {
    "calls": "call_id! call_date! organization_id status direction from_number to_number duration_seconds cost_cents"
    " endpoint_id phone_number_id created_at! answered_at completed_at has_recording! listed_transcript extra"
    " listed_at!",
    "recordings": "call_id! call_date! status! reason object_key size_bytes sha256 duration_seconds"
    " declared_duration_seconds sample_rate_hz channels bitrate_bps attempts! archived_at upstream_expires_on",
    "transcripts": "call_id! call_date! status! source text word_count language confidence fetched_at!",
    "utterances": "call_id! call_date! turn_index! speaker! speaker_label text! word_count! char_start! char_end!"
    " created_at! direction language start_seconds",
    "flagged_calls": "call_id! call_date! rule_id! reason! turn_index extend_days! rules_version!",
    "retention_extensions": "call_id! call_date! decision_id! rule_id! requested_days! sent_days status! reason"
    " attempts! requested_at confirmed_at",
    "reconciliation": "call_date! verdict! listed_total stats_total calls! erased! recordings_expected!"
    " recordings_archived! recordings_pending! recordings_lost! recordings_failed! objects_in_bucket! bytes_in_bucket!"
    " transcripts_expected! transcripts_kept! transcripts_pending! utterances! problems! checked_at!"
    " audio_seconds api_requests",
    "call_events": "call_id! call_date! event_index! event occurred_at hangup_cause extra asked_at!",
}
TIMESTAMPS = {"created_at", "answered_at", "completed_at", "listed_at", "archived_at", "fetched_at", "requested_at"}
TIMESTAMPS |= {"confirmed_at", "checked_at", "settled_at", "asked_at", "occurred_at"}
NUMBERS = {
    "duration_seconds",
    "declared_duration_seconds",
    "cost_cents",
    "confidence",
    "audio_seconds",
    "start_seconds",
}
OTHERS = {
    "call_date": pa.date32(),
    "upstream_expires_on": pa.date32(),
    "has_recording": pa.bool_(),
    "problems": pa.list_(pa.string()),
    **dict.fromkeys(TIMESTAMPS, pa.timestamp("us", tz="UTC")),
    **dict.fromkeys(NUMBERS, pa.float64()),
}
WHOLE = {"size_bytes", "sample_rate_hz", "channels", "bitrate_bps", "attempts", "word_count", "turn_index"}
WHOLE |= {"declared_size_bytes", "upstream_word_count", "event_index"}
WHOLE |= {"char_start", "char_end", "extend_days", "requested_days", "sent_days"}

tables = pytest.mark.parametrize("table", ALL_TABLES.values(), ids=list(ALL_TABLES))


def test_there_are_seven_tables() -> None:
    assert list(TABLES) == [name for name in CONTRACT if name not in OPTIONAL_TABLES]
    assert all(table.name == name for name, table in ALL_TABLES.items())
    assert list(ALL_TABLES) == [*TABLES, "call_events"]


@tables
def test_the_columns_are_those_of_the_contract_in_order(table: Table) -> None:
    expected = CONTRACT[table.name].split()
    assert [field.name for field in table.schema][: len(expected)] == [name.rstrip("!") for name in expected]
    assert [not field.nullable for field in table.schema][: len(expected)] == [name.endswith("!") for name in expected]
    assert all(field.nullable for field in list(table.schema)[len(expected) :])


@tables
def test_columns_with_the_same_name_have_the_same_type_in_every_table(table: Table) -> None:
    for field in table.schema:
        is_whole = field.name in WHOLE or (table.name == "reconciliation" and field.name not in {"verdict", *OTHERS})
        assert field.type == OTHERS.get(field.name, pa.int64() if is_whole else pa.string()), field.name


@tables
def test_no_column_has_the_name_of_the_partition_key(table: Table) -> None:
    assert "dt" not in table.column_names  # the same name for both breaks pandas and pyarrow


@tables
def test_every_file_carries_the_descriptions_of_its_columns(table: Table) -> None:
    assert table.description.endswith(".")
    for column, field in zip(table.columns, table.schema, strict=True):
        assert field.metadata[b"description"].decode() == column.description
        assert str(field.type) == column.type  # what Dagster shows
        assert len(column.description) > 5


@tables
def test_the_columns_that_rows_are_sorted_by_are_never_null(table: Table) -> None:
    never_null = {column.name for column in table.columns if not column.nullable}
    assert set(table.sorted_by) <= never_null
    assert table.sorted_by[0] == table.column_names[0]


def test_utterances_are_sorted_by_call_and_then_by_turn() -> None:
    rows = [{"call_id": call_id, "turn_index": turn} for call_id in ("b", "a") for turn in (10, 9)]
    ordered = sorted(rows, key=TABLES["utterances"].sort_key())
    assert [(row["call_id"], row["turn_index"]) for row in ordered] == [("a", 9), ("a", 10), ("b", 9), ("b", 10)]
