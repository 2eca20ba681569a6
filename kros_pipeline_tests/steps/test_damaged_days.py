"""A day of which one thing was damaged is incomplete and says what; no other table loses a row because of it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.listings import update_listing
from kros_pipeline.core.errors import MissingTable
from kros_pipeline.core.id_digests import digest_id, pack_digests
from kros_pipeline.core.listing import Listing
from kros_pipeline.core.object_keys import audio_key, listing_key, table_key
from kros_pipeline.core.verdict import HOLD_CHECK
from kros_pipeline.failures import WhatToDo, what_to_do
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import Archive
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    reconcile_day,
    split_utterances,
)

FEW = replace(PLAIN, days={"2025-01-10": 6}, audio_seconds=(1, 2))
DEPENDANTS = ("recordings", "transcripts", "utterances", "flagged_calls", "retention_extensions")
TABLES = ("calls", *DEPENDANTS)
STEPS = (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention)


@pytest.fixture(params=[5_000, 3], ids=["one batch", "many batches"])
def our(
    request: pytest.FixtureRequest, memory_account: MakeAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Account:
    """An account whose day is complete; a batch of its tables has all rows, or three."""
    monkeypatch.setattr("kros_pipeline.archive.parquet.ROWS_PER_BATCH", request.param)
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: everyone, extend_days: 120}\n")
    our = memory_account(FEW, KROS_FLAG_RULES=str(rules), KROS_ERASURE_KEY="k" * 32)
    assert our.run_day().verdict.verdict == "complete"
    return our


def name_calls(our: Account) -> None:
    """Have the listing name every call that the table has now."""
    digests = pack_digests(digest_id(call_id) for call_id in ids(our))

    def change(last: Listing | None) -> Listing:
        assert last is not None
        return replace(last, call_digests=digests)

    update_listing(our.ctx.store, DAY, change)


def ids(our: Account) -> list[str]:
    return sorted({row["call_id"] for row in our.archive.table("recordings", DAY)})


def rows_by_table(our: Account) -> dict[str, list[dict[str, Any]]]:
    return {name: our.archive.table(name, DAY) for name in DEPENDANTS}


def without(our: Account, *indexes: int) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    gone = {ids(our)[index] for index in indexes}
    return lambda rows: [row for row in rows if row["call_id"] not in gone]


def rewrite(archive: Archive, table: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Put a partition as an older version would be: the same table, with other rows."""
    present = pq.ParquetFile(io.BytesIO(archive.read(table_key(table, DAY)))).read(use_threads=False)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(change(present.to_pylist()), present.schema), file)
    archive.write(table_key(table, DAY), file.getvalue())


def remove_everywhere(our: Account, call_ids: list[str]) -> None:
    for table in TABLES:
        rewrite(our.archive, table, lambda rows: [row for row in rows if row["call_id"] not in call_ids])
    for call_id in call_ids:
        our.archive.delete(audio_key(DAY, call_id))


def assert_incomplete(our: Account, words: str) -> None:
    result = reconcile_day(our.ctx, DAY)
    assert result.verdict.verdict == "incomplete"
    assert re.search(words, " ".join(result.verdict.problems)), result.verdict.problems
    [row] = our.archive.table("reconciliation", DAY)
    assert (row["verdict"], row["problems"]) == ("incomplete", result.verdict.problems)


# One table.


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_makes_the_day_incomplete(our: Account, table: str) -> None:
    our.archive.delete(table_key(table, DAY))
    assert_incomplete(our, f"The table `{table}` of the day is missing")


def foreign(body: bytes) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"x": [1]}), file)
    return file.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda body: b"",
    "an error page": lambda body: b"<html>" * 50,
    "cut": lambda body: body[:-100],
    "damaged in the middle": lambda body: body[:4] + bytes(len(body) // 2) + body[4 + len(body) // 2 :],
    "another table": foreign,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", TABLES)
def test_an_unreadable_table_makes_the_day_incomplete_and_is_named_by_its_key(
    our: Account, table: str, damage: str
) -> None:
    key = table_key(table, DAY)
    body = DAMAGES[damage](our.archive.read(key))
    our.archive.write(key, body)
    assert_incomplete(our, f"{key} cannot be read as a partition of its table")
    assert our.archive.read(key) == body


@pytest.mark.parametrize("table", ["recordings", "transcripts"])
def test_rows_without_a_status_make_the_day_incomplete_until_its_next_run(our: Account, table: str) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"call_id": ids(our)}), file)
    our.archive.write(table_key(table, DAY), file.getvalue())
    assert_incomplete(our, f"6 × row of `{table}` with no status that this version knows \\(none\\)")
    assert our.run_day().verdict.verdict == "complete"


OLDER: list[tuple[str, tuple[int, ...], str]] = [
    ("calls", (0,), r"1 × call that was listed, and that the table `calls` has lost\."),
    ("calls", (1, 3, 5), r"3 × row of `recordings` whose call the table `calls` does not have: \w+, \w+, \w+\."),
    ("calls", (0, 1, 2, 3, 4, 5), r"6 × row of `transcripts` whose call the table `calls` does not have"),
    ("recordings", (0, 5), r"2 × call without a row in `recordings`"),
    ("transcripts", (0, 5), r"2 × call without a row in `transcripts`.* 2 × call with turns and without a kept text"),
    ("utterances", (0, 5), r"2 × kept text without turns"),
]


@pytest.mark.parametrize(("table", "gone", "words"), OLDER)
def test_an_older_version_of_a_table_makes_the_day_incomplete(
    our: Account, table: str, gone: tuple[int, ...], words: str
) -> None:
    rewrite(our.archive, table, without(our, *gone))
    assert_incomplete(our, words)


def test_a_turn_of_one_call_is_not_made_good_by_another_calls(our: Account) -> None:
    """The sums are right: one call's last turn is shorter by what another's is longer."""
    turns = our.archive.table("utterances", DAY)
    last = {row["call_id"]: index for index, row in enumerate(turns)}
    shorter, longer = list(last.values())[:2]

    def shift(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows[shorter]["char_end"] -= 1
        rows[longer]["char_end"] += 1
        return rows

    rewrite(our.archive, "utterances", shift)
    assert_incomplete(our, "2 × kept text whose turns are not as long as it is")


def test_turns_that_end_elsewhere_than_their_text_are_said(our: Account) -> None:
    """They are as long as the text, and are cut from another place of it."""
    first = ids(our)[0]

    def shift(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        moved = [row | {"char_start": row["char_start"] + 1, "char_end": row["char_end"] + 1} for row in rows]
        return [new if new["call_id"] == first else row for row, new in zip(rows, moved, strict=True)]

    rewrite(our.archive, "utterances", shift)
    assert_incomplete(our, f"1 × kept text whose turns are not as long as it is: {first}")


def test_a_kept_row_without_its_text_is_said(our: Account) -> None:
    rewrite(our.archive, "transcripts", lambda rows: [rows[0] | {"text": None}, *rows[1:]])
    assert_incomplete(our, "1 × kept text whose turns are not as long as it is")


@pytest.mark.parametrize("table", TABLES)
def test_a_row_twice_is_said(our: Account, table: str) -> None:
    """A table of another program, or one that was joined to itself."""
    rewrite(our.archive, table, lambda rows: [rows[0], *rows])
    verdict = reconcile_day(our.ctx, DAY).verdict
    assert verdict.verdict == ("complete" if table in ("flagged_calls", "retention_extensions") else "incomplete")


@pytest.mark.parametrize("wanted", ["on", "off"])
def test_unreadable_flags_are_named_by_the_check_of_legal_holds(our: Account, wanted: str) -> None:
    key = table_key("flagged_calls", DAY)
    our.archive.write(key, b"<html>")
    verdict = reconcile_day(our.open(KROS_LEGAL_HOLD=wanted), DAY).verdict
    assert verdict.verdict == "incomplete"
    assert any(key in sentence for sentence in verdict.failures[HOLD_CHECK]) is (wanted == "on")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"<html>", b'{"proved": true, "listed_total": 6, "call_digests": "?"}', None]
)
def test_a_damaged_listing_makes_the_day_incomplete(our: Account, body: bytes | None) -> None:
    if body is None:
        our.archive.delete(listing_key(DAY))
    else:
        our.archive.write(listing_key(DAY), body)
    assert_incomplete(our, "never listed" if body is None else f"{listing_key(DAY)} cannot be read")


def test_erased_calls_mask_no_lost_calls(our: Account) -> None:
    """Two calls were erased, and no longer named by the listing; two more are lost everywhere."""
    erased, lost = ids(our)[:2], ids(our)[2:4]
    for call_id in erased:
        our.ctx.tombstones.add_call(DAY, call_id)
    remove_everywhere(our, erased)
    name_calls(our)
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "complete"
    remove_everywhere(our, lost)
    assert_incomplete(our, r"^2 × call that was listed, and that the table `calls` has lost\.$")


# The tables that depend on it.


@pytest.mark.parametrize("gone", [(0,), (2, 3), (0, 1, 2, 3, 4, 5)])
def test_no_table_loses_a_row_because_the_table_of_calls_did(our: Account, gone: tuple[int, ...]) -> None:
    before = rows_by_table(our)
    rewrite(our.archive, "calls", without(our, *gone))
    for step in STEPS:
        step(our.ctx, DAY)
    assert rows_by_table(our) == before
    assert_incomplete(our, f"{len(gone)} × call that was listed, and that the table `calls` has lost")


def test_flags_of_lost_calls_stay_where_no_rule_is_left(our: Account) -> None:
    before = our.archive.table("flagged_calls", DAY)
    rewrite(our.archive, "calls", without(our, 0))
    Path(our.environment["KROS_FLAG_RULES"]).write_text("rules: []\n")
    flag_calls(our.open(), DAY)
    assert our.archive.table("flagged_calls", DAY) == [row for row in before if row["call_id"] == ids(our)[0]]


@pytest.mark.parametrize("gone", [(0, 2), (1, 5), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("with_calls", [True, False])
def test_turns_stay_where_their_text_is_lost(our: Account, gone: tuple[int, ...], with_calls: bool) -> None:
    before = our.archive.table("utterances", DAY)
    rewrite(our.archive, "transcripts", without(our, *gone))
    if with_calls:
        rewrite(our.archive, "calls", without(our, *gone))
    split_utterances(our.ctx, DAY)
    assert our.archive.table("utterances", DAY) == before
    assert_incomplete(our, f"{len(gone)} × call with turns and without a kept text")


def test_turns_of_a_kept_text_are_made_anew_where_the_call_is_lost(our: Account) -> None:
    before = our.archive.table("utterances", DAY)
    rewrite(our.archive, "calls", without(our, 0, 5))
    rewrite(our.archive, "utterances", lambda rows: [row | {"text": "?", "speaker": "other"} for row in rows])
    split_utterances(our.ctx, DAY)
    assert our.archive.table("utterances", DAY) == before


def test_without_calls_and_turns_a_text_is_left_without_turns_and_said(our: Account) -> None:
    before = our.archive.table("utterances", DAY)
    our.archive.delete(table_key("utterances", DAY))
    rewrite(our.archive, "calls", without(our, 2))
    split_utterances(our.ctx, DAY)
    assert our.archive.table("utterances", DAY) == without(our, 2)(before)
    assert_incomplete(our, "1 × kept text without turns")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_without_the_table_of_calls_a_step_raises_and_changes_nothing(our: Account, step: Callable[..., Any]) -> None:
    our.archive.delete(table_key("calls", DAY))
    before = our.archive.objects()
    with pytest.raises(
        MissingTable, match=f"calls of {DAY} is missing: materialize `calls` first, or restore"
    ) as error:
        step(our.ctx, DAY)
    assert table_key("calls", DAY) in str(error.value)
    assert what_to_do(error.value) is WhatToDo.PERSON_MUST_ACT
    assert our.archive.objects() == before


@pytest.mark.parametrize(
    ("table", "step"),
    [("transcripts", split_utterances), ("transcripts", flag_calls), ("utterances", flag_calls)],
)
def test_a_step_empties_no_table_because_another_is_missing(our: Account, table: str, step: Callable[..., Any]) -> None:
    our.archive.delete(table_key(table, DAY))
    before = our.archive.objects()
    with pytest.raises(MissingTable, match=f"{table} of {DAY} is missing"):
        step(our.ctx, DAY)
    assert our.archive.objects() == before


def test_the_numbers_of_a_day_are_not_lowered_by_lost_calls(our: Account) -> None:
    rewrite(our.archive, "calls", lambda rows: [])
    row = reconcile_day(our.ctx, DAY).row
    assert (row["calls"], row["recordings_expected"], row["transcripts_expected"]) == (0, 6, 6)


def test_the_row_has_the_seconds_of_audio_and_the_requests_of_the_run(our: Account) -> None:
    recordings = our.archive.table("recordings", DAY)
    ctx = our.open()
    ctx.source.transcript(ids(our)[0])
    row = reconcile_day(ctx, DAY).row
    assert row["audio_seconds"] == pytest.approx(sum(row["duration_seconds"] for row in recordings))
    assert row["api_requests"] == ctx.source.requests_made == 3, "both counters were asked, too"
