"""What a new analyst asks, answered in DuckDB and in pandas by the shipped views and functions alone.

The truth is counted in plain Python over the files' rows, so that no engine judges itself.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kros_pipeline_tests.support.reader_archive import DAYS, EMPTY_DAY, FULL_DAY, OLD_DAY, WAITING_DAY
from kros_pipeline_tests.support.recipes import connect

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sql(reader_archive: Path) -> duckdb.DuckDBPyConnection:
    return connect(reader_archive)


@pytest.fixture(scope="module")
def rows(reader_archive: Path) -> Callable[..., Rows]:
    def read(table: str, *days: date) -> Rows:
        files = [reader_archive / f"tables/{table}/dt={day}/part-0.parquet" for day in days or DAYS]
        return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]

    return read


def values_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """A frame's rows with plain values, as DuckDB returns them."""
    return [tuple(map(plain, row)) for row in frame.astype(object).itertuples(index=False)]


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return round(float(value), 9) if isinstance(value, float) else value


def answers_of(sql: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(map(plain, row)) for row in sql.execute(query).fetchall()]


# Each view and each function, column by column and row by row.


@pytest.mark.parametrize("days", [(), ("2025-01-10", "2025-01-10"), ("2025-01-11", "2025-01-12"), ("2030-01-01",)])
@pytest.mark.parametrize("name", ["days", "call_facts", "day_facts"])
def test_pandas_gives_what_duckdb_gives(
    name: str, days: tuple[str, ...], sql: duckdb.DuckDBPyConnection, reader_archive: Path, analysts_path: None
) -> None:
    import kros_questions

    frame = getattr(kros_questions, name)(str(reader_archive), *days)
    first, last = (*days, "2025-01-01")[0], (*days, "2100-01-01", "2100-01-01")[1]
    unique = "call_date, call_id" if name == "call_facts" else "call_date"
    query = f"FROM {name} WHERE call_date BETWEEN '{first}' AND '{last}' ORDER BY {unique}"
    assert list(frame) == [column[0] for column in sql.execute(query).description or []]
    assert values_of(frame.sort_values(unique.split(", "))) == answers_of(sql, query)


@pytest.mark.parametrize("said_by", [None, "agent", "caller"])
@pytest.mark.parametrize(
    "phrase", ["refund", "REFUND", "hold   on", "beep", "\0", "?", "é", "' OR 1=1", "never said by anybody"]
)
def test_phrases_are_found_alike(
    phrase: str, said_by: str | None, sql: duckdb.DuckDBPyConnection, reader_archive: Path, analysts_path: None
) -> None:
    import kros_questions

    turns = kros_questions.find_turns(str(reader_archive), phrase, said_by=said_by)
    found = sql.execute("SELECT call_id, turn_index FROM find_turns($1, said_by := $2)", [phrase, said_by]).fetchall()
    assert sorted(values_of(turns[["call_id", "turn_index"]])) == sorted(found)
    by_day = kros_questions.phrase_by_day(str(reader_archive), phrase, said_by=said_by)
    query = "FROM phrase_by_day($1, said_by := $2) ORDER BY call_date"
    assert values_of(by_day) == [tuple(row) for row in sql.execute(query, [phrase, said_by]).fetchall()]
    assert len(by_day) == len(DAYS)


@pytest.mark.parametrize(("days", "said_by"), [((EMPTY_DAY, EMPTY_DAY), None), ((FULL_DAY, FULL_DAY), "nobody")])
def test_where_nobody_speaks_no_phrase_is_found(
    days: tuple[date, date], said_by: str | None, reader_archive: Path, analysts_path: None
) -> None:
    import kros_questions
    import kros_tables

    turns = kros_questions.find_turns(reader_archive, "refund", *days, said_by=said_by)
    assert (list(turns), len(turns)) == (list(kros_tables.COLUMNS["utterances"]), 0)
    [row] = values_of(kros_questions.phrase_by_day(reader_archive, "refund", *days, said_by=said_by))
    assert (row[0], row[3:]) == (days[0], (0, 0))


def test_a_phrase_after_a_null_character_is_found(sql: duckdb.DuckDBPyConnection, rows: Callable[..., Rows]) -> None:
    spoken = [turn for turn in rows("utterances") if "₦" in turn["text"] and "\0" in turn["text"]]
    assert spoken  # DuckDB's nfc_normalize ends such a text at the null character
    for turn in spoken:
        phrase = turn["text"].rsplit("\0", 1)[1]
        found = sql.execute("SELECT call_id, turn_index FROM find_turns($1)", [phrase]).fetchall()
        assert (turn["call_id"], turn["turn_index"]) in found


def test_every_letter_and_blank_is_folded_alike(sql: duckdb.DuckDBPyConnection, analysts_path: None) -> None:
    import kros_questions

    texts = [
        *map(chr, range(0x3100)),
        *map(chr, range(0xFB00, 0xFF00)),
        "ΟΔΟΣ",
        "οδός, ΣΑΣ",
        "İstanbul",
        "a\u00a0\v\0b₦",
    ]
    frame = pd.DataFrame({"text": texts})
    folded = [row[0] for row in sql.execute("SELECT fold_speech(text) FROM frame").fetchall()]
    assert len(frame) == len(folded)
    assert folded == [kros_questions._fold_speech(text) for text in texts]  # noqa: SLF001
    assert folded[-1] == "a b₦"


def test_an_archive_that_never_had_call_events_is_read_alike(
    reader_archive: Path, tmp_path: Path, analysts_path: None
) -> None:
    import kros_questions

    (tmp_path / "tables").mkdir()
    for folder in (reader_archive / "tables").iterdir():
        if folder.name != "call_events":
            (tmp_path / "tables" / folder.name).symlink_to(folder)
    frame = kros_questions.call_facts(str(tmp_path)).sort_values(["call_date", "call_id"])
    connection = connect(tmp_path)
    assert values_of(frame) == answers_of(connection, "FROM call_facts ORDER BY call_date, call_id")
    assert frame.hangup_cause.isna().all()
    assert connection.execute("FROM call_events").fetchall() == []


@pytest.mark.parametrize("name", ["days", "call_facts", "day_facts"])
def test_a_day_whose_run_was_killed_is_read_alike(
    name: str, reader_archive: Path, tmp_path: Path, analysts_path: None
) -> None:
    import kros_questions

    shutil.copytree(reader_archive, tmp_path, dirs_exist_ok=True)
    for table in ("transcripts", "utterances", "flagged_calls", "retention_extensions", "reconciliation"):
        shutil.rmtree(tmp_path / f"tables/{table}/dt={WAITING_DAY}")
    unique = ["call_date", "call_id"] if name == "call_facts" else ["call_date"]
    found = values_of(getattr(kros_questions, name)(tmp_path).sort_values(unique))
    assert found == answers_of(connect(tmp_path), f"FROM {name} ORDER BY {', '.join(unique)}")
    assert any(WAITING_DAY in row for row in found)


def test_how_a_call_ended_is_a_column_where_its_events_are_archived(
    sql: duckdb.DuckDBPyConnection, rows: Callable[..., Rows]
) -> None:
    causes = {row["call_id"]: row["hangup_cause"] for row in rows("call_events", FULL_DAY) if row["hangup_cause"]}
    assert len(causes) == len(rows("calls", FULL_DAY))
    found = sql.execute("SELECT call_id, hangup_cause FROM call_facts WHERE hangup_cause IS NOT NULL").fetchall()
    assert dict(found) == causes


# Ten questions, with the truth beside them.


class Questions:
    """The ten questions: each returns the truth, DuckDB's answer and pandas'."""

    def __init__(self, sql: duckdb.DuckDBPyConnection, archive: str, rows: Callable[..., Rows]) -> None:
        self.sql, self.archive, self.rows = sql, archive, rows

    def one(self, query: str) -> Any:
        [row] = answers_of(self.sql, query)
        return row[0] if len(row) == 1 else row

    def how_many_calls_are_there_on_the_tenth_of_january(self) -> tuple[Any, Any, Any]:
        import kros_tables

        calls = kros_tables.read_table(self.archive, "calls")
        return (
            len(self.rows("calls", FULL_DAY)),
            self.one("SELECT count(*) FROM calls WHERE call_date = '2025-01-10'"),
            int((calls.call_date == "2025-01-10").sum()),
        )

    def which_days_may_i_use(self) -> tuple[Any, Any, Any]:
        import kros_questions

        return (
            [OLD_DAY, FULL_DAY, EMPTY_DAY],
            [row[0] for row in answers_of(self.sql, "SELECT call_date FROM days WHERE is_complete ORDER BY 1")],
            list(kros_questions.days(self.archive).query("is_complete").call_date),
        )

    def how_many_minutes_were_spoken_on_complete_days(self) -> tuple[Any, Any, Any]:
        import kros_questions

        seconds = sum(row["duration_seconds"] for row in self.rows("calls", OLD_DAY, FULL_DAY, EMPTY_DAY))
        facts = kros_questions.day_facts(self.archive)
        return (
            round(seconds / 60, 6),
            round(self.one("SELECT sum(minutes) FROM day_facts WHERE is_complete"), 6),
            round(facts[facts.is_complete].minutes.sum(), 6),
        )

    def what_share_of_the_calls_of_the_twelfth_is_recorded(self) -> tuple[Any, Any, Any]:
        import kros_questions

        recordings = Counter(row["status"] for row in self.rows("recordings", WAITING_DAY))
        return (
            recordings["archived"] / recordings.total(),
            self.one("SELECT share_recorded FROM day_facts WHERE call_date = '2025-01-12'"),
            kros_questions.day_facts(self.archive, "2025-01-12", "2025-01-12").share_recorded[0],
        )

    def how_many_calls_have_no_transcript(self) -> tuple[Any, Any, Any]:
        import kros_questions

        kept = {row["call_id"] for row in self.rows("transcripts") if row["status"] == "kept"}
        return (
            len({row["call_id"] for row in self.rows("calls")} - kept),
            self.one("SELECT count(*) FROM call_facts WHERE NOT has_transcript"),
            int((~kros_questions.call_facts(self.archive).has_transcript).sum()),
        )

    def what_share_of_the_words_is_the_agents(self) -> tuple[Any, Any, Any]:
        import kros_questions

        words: Counter[str] = Counter()
        for turn in self.rows("utterances"):
            words[turn["speaker"]] += turn["word_count"]
        facts = kros_questions.call_facts(self.archive)
        return (
            round(words["agent"] / (words["agent"] + words["caller"]), 9),
            self.one("SELECT sum(agent_words) / (sum(agent_words) + sum(caller_words)) FROM call_facts"),
            round(facts.agent_words.sum() / (facts.agent_words.sum() + facts.caller_words.sum()), 9),
        )

    def in_how_many_calls_a_day_does_the_caller_say_refund(self) -> tuple[Any, Any, Any]:
        import kros_questions

        calls = defaultdict(set)
        for turn in self.rows("utterances"):
            if "refund" in turn["text"].lower() and turn["speaker"] == "caller":
                calls[turn["call_date"]].add(turn["call_id"])
        by_day = kros_questions.phrase_by_day(self.archive, "refund", said_by="caller")
        query = "SELECT call_date, calls_with_phrase FROM phrase_by_day('refund', said_by := 'caller') ORDER BY 1"
        return (
            {day: len(calls[day]) for day in DAYS},
            dict(answers_of(self.sql, query)),
            dict(zip(by_day.call_date, by_day.calls_with_phrase, strict=True)),
        )

    def which_call_has_the_longest_turn_and_who_speaks_it(self) -> tuple[Any, Any, Any]:
        import kros_questions

        longest = max(self.rows("utterances"), key=lambda turn: turn["word_count"])
        facts = kros_questions.call_facts(self.archive).sort_values("longest_turn_words", ascending=False)
        columns = ["call_id", "longest_turn_words", "longest_turn_speaker"]
        query = f"SELECT {', '.join(columns)} FROM call_facts ORDER BY longest_turn_words DESC NULLS LAST LIMIT 1"
        return (
            (longest["call_id"], longest["word_count"], longest["speaker"]),
            self.one(query),
            values_of(facts[columns].head(1))[0],
        )

    def how_often_does_the_agent_speak_first(self) -> tuple[Any, Any, Any]:
        import kros_questions

        first: dict[str, str] = {}
        for turn in sorted(self.rows("utterances"), key=lambda turn: (turn["call_id"], turn["turn_index"])):
            if turn["speaker"] in ("agent", "caller"):
                first.setdefault(turn["call_id"], turn["speaker"])
        return (
            list(first.values()).count("agent"),
            self.one("SELECT count(*) FROM call_facts WHERE first_speaker = 'agent'"),
            int((kros_questions.call_facts(self.archive).first_speaker == "agent").sum()),
        )

    def how_many_flagged_calls_asked_at_least_two_questions(self) -> tuple[Any, Any, Any]:
        import kros_questions

        flagged = {row["call_id"] for row in self.rows("flagged_calls")}
        asked = Counter(
            turn["call_id"]
            for turn in self.rows("utterances")
            if turn["speaker"] == "caller" and any(mark in turn["text"] for mark in "?？؟՞፧⁇⁈⁉")
        )
        facts = kros_questions.call_facts(self.archive)
        return (
            sum(asked[call_id] >= 2 for call_id in flagged),
            self.one("SELECT count(*) FROM call_facts WHERE is_flagged AND caller_questions >= 2"),
            len(facts[facts.is_flagged & (facts.caller_questions >= 2).fillna(False)]),
        )


QUESTIONS = [name for name in vars(Questions) if not name.startswith("_") and name != "one"]


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_right_in_duckdb_and_in_pandas(
    question: str,
    sql: duckdb.DuckDBPyConnection,
    reader_archive: Path,
    rows: Callable[..., Rows],
    analysts_path: None,
) -> None:
    truth, in_duckdb, in_pandas = getattr(Questions(sql, str(reader_archive), rows), question)()
    print(f"\nANSWER {question}: {truth}")
    assert in_duckdb == truth
    assert in_pandas == truth
    assert truth not in (0, [], {}, None)
