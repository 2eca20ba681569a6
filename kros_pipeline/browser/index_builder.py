"""Build the search index of one day: one SQLite file, made of the day's tables and of nothing else.

It has the facts of each call, its turns (compressed), its flags, and the words of each turn in an FTS5 table. A row
there is a turn: its number is the call's number and the turn's index, its column is the speaker. So one expression says
which calls have a turn of a speaker that matches.

FTS5 keeps no copy of the words (`content=''`) and no lengths: a call's texts are read from its compressed turns.
"""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core import schemas
from ..core.object_keys import call_key
from ..core.search_terms import index_text
from ..core.statuses import RecordingStatus, Speaker
from .call_filter import IN_QUARANTINE

INDEX_VERSION = "2"  # of the file's form: another one makes every index be built again
INDEXED_TABLES = (
    schemas.CALLS,
    schemas.RECORDINGS,
    schemas.TRANSCRIPTS,
    schemas.UTTERANCES,
    schemas.FLAGGED_CALLS,
    schemas.RETENTION_EXTENSIONS,
)
TURN_BITS = 20
SPEAKER_BITS = {speaker.value: 1 << number for number, speaker in enumerate(Speaker)}
_SCHEMA = """
CREATE TABLE calls (
    no INTEGER PRIMARY KEY, call_id TEXT NOT NULL UNIQUE, call_key TEXT NOT NULL UNIQUE, created_at INTEGER,
    direction TEXT, duration REAL, from_number TEXT, to_number TEXT, call TEXT,
    recording TEXT, recording_state TEXT, recording_facts TEXT, transcript TEXT, language TEXT, transcript_facts TEXT,
    extensions TEXT, turn_count INTEGER NOT NULL DEFAULT 0, speakers INTEGER NOT NULL DEFAULT 0, turns BLOB
);
CREATE TABLE flags (no INTEGER NOT NULL, rule_id TEXT NOT NULL, reason TEXT, turn_index INTEGER, extend_days INTEGER,
    PRIMARY KEY (no, rule_id)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(agent, caller, other, unknown, content='', columnsize=0, tokenize='ascii');
"""


def has_fts5() -> bool:
    """Return whether this Python's SQLite has FTS5, without which there is no search."""
    with sqlite3.connect(":memory:") as probe:
        return any(option == "ENABLE_FTS5" for (option,) in probe.execute("PRAGMA compile_options"))


def build_index(path: Path, day: date, tables: Tables, is_left_out: Callable[[str], bool]) -> None:
    """Write the index of a day to a new file. Calls whose key `is_left_out` are not in it.

    Raises `ArchiveError` where a table cannot be read.
    """
    with sqlite3.connect(path, isolation_level=None) as index:
        try:
            index.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;")
            index.executescript(_SCHEMA)
            index.execute("BEGIN")
            _add_calls(index, _rows(tables, schemas.CALLS, day), is_left_out)
            known = _Known(index, is_left_out)
            _add_recordings(index, _rows(tables, schemas.RECORDINGS, day), known)
            _add_transcripts(index, _rows(tables, schemas.TRANSCRIPTS, day), known)
            _add_turns(index, _rows(tables, schemas.UTTERANCES, day), known)
            _add_flags(index, _rows(tables, schemas.FLAGGED_CALLS, day), known)
            _add_extensions(index, _rows(tables, schemas.RETENTION_EXTENSIONS, day), known)
            index.execute("INSERT INTO words(words) VALUES ('optimize')")
            index.execute("CREATE INDEX calls_by_time ON calls (created_at)")
            index.execute("CREATE INDEX flags_by_rule ON flags (rule_id)")
            index.execute("COMMIT")
        except BaseException:
            if index.in_transaction:
                index.execute("ROLLBACK")
            raise
    index.close()


def _rows(tables: Tables, table: schemas.Table, day: date) -> Iterator[Row]:
    with tables.opened(table, day) as partition:
        if partition is not None:
            yield from partition.rows()


class _Known:
    """Finds the number of a call; one that only another table has gets a row of its own."""

    def __init__(self, index: sqlite3.Connection, is_left_out: Callable[[str], bool]):
        self._index, self._is_left_out = index, is_left_out

    def number(self, call_id: str) -> int | None:
        """Return the call's number; None for a call that is left out."""
        found = self._index.execute("SELECT no FROM calls WHERE call_id = ?", (call_id,)).fetchone()
        if found is not None:
            return int(found[0])
        if self._is_left_out(call_key(call_id)):
            return None
        added = self._index.execute("INSERT INTO calls (call_id, call_key) VALUES (?, ?)", (call_id, call_key(call_id)))
        return added.lastrowid


def _add_calls(index: sqlite3.Connection, rows: Iterable[Row], is_left_out: Callable[[str], bool]) -> None:
    def values() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            key = call_key(row["call_id"])
            if not is_left_out(key):
                yield (
                    row["call_id"], key, _microseconds(row["created_at"]), (row["direction"] or "").strip().lower(),
                    row["duration_seconds"], row["from_number"], row["to_number"],
                    _facts(row, {"call_id", "call_date", "listed_transcript"}),
                )  # fmt: skip

    index.executemany(
        "INSERT INTO calls (call_id, call_key, created_at, direction, duration, from_number, to_number, call)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values(),
    )


def _add_recordings(index: sqlite3.Connection, rows: Iterable[Row], known: _Known) -> None:
    for row in rows:
        no = known.number(row["call_id"])
        # The audio's own length, counted over its frames, is better than what the list declares.
        index.execute(
            "UPDATE calls SET recording = ?, recording_state = ?, recording_facts = ?, "
            "duration = coalesce(?, duration) WHERE no = ?",
            (row["status"], _state(row), _facts(row, {"call_id", "call_date"}), row["duration_seconds"], no),
        )


def _state(recording: Row) -> str:
    """Return what lists show and filter by: the status, or that a body of the recording is in quarantine."""
    is_quarantined = recording["quarantine_key"] and recording["status"] != RecordingStatus.ARCHIVED
    return IN_QUARANTINE if is_quarantined else str(recording["status"])


def _add_transcripts(index: sqlite3.Connection, rows: Iterable[Row], known: _Known) -> None:
    for row in rows:
        index.execute(
            "UPDATE calls SET transcript = ?, language = ?, transcript_facts = ? WHERE no = ?",
            (
                row["status"],
                row["language"],
                _facts(row, {"call_id", "call_date", "text"}),
                known.number(row["call_id"]),
            ),
        )


def _add_turns(index: sqlite3.Connection, rows: Iterable[Row], known: _Known) -> None:
    for call_id, group in groupby(rows, key=lambda row: str(row["call_id"])):
        no = known.number(call_id)
        if no is None:
            continue
        turns: list[list[Any]] = []
        speakers = 0
        for row in group:
            speaker = row["speaker"] if row["speaker"] in SPEAKER_BITS else Speaker.UNKNOWN.value
            speakers |= SPEAKER_BITS[speaker]
            turns.append([row["turn_index"], speaker, row["speaker_label"], row["text"], row["start_seconds"]])
            if row["turn_index"] < 1 << TURN_BITS:
                # `speaker` is one of four names.
                statement = f"INSERT INTO words (rowid, {speaker}) VALUES (?, ?)"  # noqa: S608
                index.execute(statement, (no << TURN_BITS | row["turn_index"], index_text(row["text"])))
        body = zlib.compress(json.dumps(turns, ensure_ascii=False, separators=(",", ":")).encode())
        index.execute(
            "UPDATE calls SET turns = ?, turn_count = ?, speakers = ? WHERE no = ?", (body, len(turns), speakers, no)
        )


def _add_flags(index: sqlite3.Connection, rows: Iterable[Row], known: _Known) -> None:
    for row in rows:
        no = known.number(row["call_id"])
        if no is not None:
            index.execute(
                "INSERT INTO flags VALUES (?, ?, ?, ?, ?)",
                (no, row["rule_id"], row["reason"], row["turn_index"], row["extend_days"]),
            )


def _add_extensions(index: sqlite3.Connection, rows: Iterable[Row], known: _Known) -> None:
    for call_id, group in groupby(rows, key=lambda row: str(row["call_id"])):
        facts = json.dumps([_plain(row, {"call_id", "call_date"}) for row in group], ensure_ascii=False)
        index.execute("UPDATE calls SET extensions = ? WHERE no = ?", (facts, known.number(call_id)))


def _facts(row: Row, without: set[str]) -> str:
    return json.dumps(_plain(row, without), ensure_ascii=False)


def _plain(row: Row, without: set[str]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in row.items()
        if name not in without and value is not None
    }


def _microseconds(at: datetime | None) -> int | None:
    if at is None:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1_000_000)
