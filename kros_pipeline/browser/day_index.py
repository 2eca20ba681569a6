"""Ask the index of one day."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ..core.search_terms import fts5_expression
from .call_filter import CallFilter, Condition
from .index_builder import SPEAKER_BITS, TURN_BITS
from .index_connections import IndexConnections

_COLUMNS = (
    "c.no, c.call_key, c.call_id, c.created_at, c.direction, c.duration, c.from_number, c.to_number, c.language, "
    "c.recording, c.recording_state, c.transcript, c.turn_count, "
    "(SELECT group_concat(rule_id, char(10)) FROM flags WHERE no = c.no)"
)
_ORDERS = {
    "best": "score DESC, c.created_at DESC, c.no",
    "newest": "c.created_at DESC, c.no",
    "oldest": "c.created_at, c.no",
    "longest": "c.duration DESC, c.created_at DESC, c.no",
}
_SATURATION = 1.2  # as in BM25: the tenth turn that matches says less than the second


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call of a list. `score` is higher the more turns match; `created_at` is None where no table says it.

    `recording_state` is what the page shows: `recording`, or that a rejected body is in quarantine.
    """

    day: date
    no: int
    key: str
    call_id: str
    created_at: datetime | None
    direction: str
    duration_seconds: float | None
    from_number: str | None
    to_number: str | None
    language: str | None
    recording: str | None
    recording_state: str | None
    transcript: str | None
    turn_count: int
    rules: tuple[str, ...]
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexedTurn:
    """One turn of speech."""

    turn_index: int
    speaker: str
    label: str | None
    text: str
    start_seconds: float | None


@dataclass(frozen=True, slots=True)
class FlagRow:
    """Why a rule flagged the call."""

    rule_id: str
    reason: str
    turn_index: int | None
    extend_days: int


@dataclass(frozen=True, slots=True)
class WholeCall:
    """Everything that the tables say of one call. The facts are their rows, without what is null."""

    row: CallRow
    call: dict[str, Any]
    recording: dict[str, Any]
    transcript: dict[str, Any]
    extensions: list[dict[str, Any]]
    turns: list[IndexedTurn]
    flags: list[FlagRow] = field(default_factory=list)


class DayIndex:
    """The index of one day, in a file that never changes. Threads may share it."""

    def __init__(self, day: date, path: Path, connections: IndexConnections):
        self.day, self.path, self._connections = day, path, connections

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._connections.borrow(self.path)

    def find(self, wanted: CallFilter, limit: int, offset: int = 0) -> tuple[int, list[CallRow]]:
        """Return how many calls of the day a filter holds for, and some of them in the filter's order."""
        with self._open() as index:
            joins, where, values, score = _conditions(wanted)
            # Counted and sorted by number, score and time only: the other columns are read of the first calls.
            statement = (
                f"WITH found AS (SELECT c.no, {score} AS score, count(*) OVER () AS total FROM calls c {joins} "
                f"WHERE {where} ORDER BY {_ORDERS[wanted.effective_order]} LIMIT {max(limit, 1):d} OFFSET {offset:d}) "
                f"SELECT {_COLUMNS}, score, total FROM found JOIN calls c ON c.no = found.no "
                f"ORDER BY {_ORDERS[wanted.effective_order]}"
            )
            rows = index.execute(statement, values).fetchall()
        return (rows[0][15], [self._row(found) for found in rows[:limit]]) if rows else (0, [])

    def iterate(self, wanted: CallFilter) -> Iterator[CallRow]:
        """Yield every call of the day that a filter holds for, by time."""
        with self._open() as index:
            joins, where, values, score = _conditions(wanted)
            direction = "" if wanted.effective_order == "oldest" else "DESC"
            statement = (
                f"SELECT {_COLUMNS}, {score} FROM calls c {joins} WHERE {where} ORDER BY c.created_at {direction}, c.no"
            )
            for found in index.execute(statement, values):
                yield self._row(found)

    def matching_turns(self, no: int, conditions: tuple[Condition, ...], limit: int) -> list[IndexedTurn]:
        """Return the first turns of a call that match a condition, in their order."""
        found: set[int] = set()
        with self._open() as index:
            for condition in conditions:
                rows = index.execute(
                    "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?",
                    (fts5_expression(condition.terms, condition.columns), *_turn_range(no), limit),
                )
                found |= {rowid & ((1 << TURN_BITS) - 1) for (rowid,) in rows}
            wanted = sorted(found)[:limit]
            turns = _turns(index.execute("SELECT turns FROM calls WHERE no = ?", (no,)).fetchone()[0])
        return [turn for turn in turns if turn.turn_index in wanted]

    def call(self, key: str) -> WholeCall | None:
        """Return everything of one call; None where the day does not have it."""
        with self._open() as index:
            found = index.execute(
                f"SELECT {_COLUMNS}, 0.0, c.call, c.recording_facts, c.transcript_facts, c.extensions, c.turns "
                "FROM calls c WHERE c.call_key = ?",
                (key,),
            ).fetchone()
            if found is None:
                return None
            flags = index.execute(
                "SELECT rule_id, reason, turn_index, extend_days FROM flags WHERE no = ? ORDER BY rule_id", (found[0],)
            ).fetchall()
        *_, call, recording, transcript, extensions, turns = found
        return WholeCall(
            row=self._row(found),
            call=json.loads(call or "{}"),
            recording=json.loads(recording or "{}"),
            transcript=json.loads(transcript or "{}"),
            extensions=json.loads(extensions or "[]"),
            turns=_turns(turns),
            flags=[FlagRow(*flag) for flag in flags],
        )

    def beside(self, no: int) -> tuple[str | None, str | None]:
        """Return the keys of the calls before and after a call, by time."""
        with self._open() as index:
            own = index.execute("SELECT coalesce(created_at, 0) FROM calls WHERE no = ?", (no,)).fetchone()
            if own is None:
                return None, None
            found = []
            for sign, order in (("<", "DESC"), (">", "ASC")):
                found.append(
                    index.execute(
                        f"SELECT call_key FROM calls WHERE (coalesce(created_at, 0), no) {sign} (?, ?) "
                        f"ORDER BY coalesce(created_at, 0) {order}, no {order} LIMIT 1",
                        (own[0], no),
                    ).fetchone()
                )
        before, after = (row[0] if row else None for row in found)
        return before, after

    def values(self) -> tuple[set[str], set[str]]:
        """Return the languages and the rules that the day has."""
        with self._open() as index:
            languages = index.execute("SELECT DISTINCT language FROM calls WHERE language IS NOT NULL").fetchall()
            rules = index.execute("SELECT DISTINCT rule_id FROM flags").fetchall()
        return {language for (language,) in languages}, {rule for (rule,) in rules}

    def audio_digests(self) -> set[str]:
        """Return the SHA-256 of every archived recording of the day."""
        with self._open() as index:
            rows = index.execute("SELECT json_extract(recording_facts, '$.sha256') FROM calls").fetchall()
        return {digest for (digest,) in rows if digest}

    def _row(self, found: Any) -> CallRow:
        created_at, rules = found[3], found[13]
        return CallRow(
            day=self.day,
            no=found[0],
            key=found[1],
            call_id=found[2],
            created_at=datetime.fromtimestamp(created_at / 1_000_000, UTC) if created_at is not None else None,
            direction=found[4] or "",
            duration_seconds=found[5],
            from_number=found[6],
            to_number=found[7],
            language=found[8],
            recording=found[9],
            recording_state=found[10],
            transcript=found[11],
            turn_count=found[12],
            rules=tuple(sorted(rules.split("\n"))) if rules else (),
            score=found[14],
        )


def _conditions(wanted: CallFilter) -> tuple[str, str, list[Any], str]:
    """Return the joins, the conditions, their values and the score of a filter, in SQL."""
    joins, where, scores = [], ["1"], []
    of_joins: list[Any] = []
    of_where: list[Any] = []
    for number, condition in enumerate(wanted.conditions):
        expression = fts5_expression(condition.terms, condition.columns)
        if condition.is_without:
            where.append(f"c.no NOT IN (SELECT rowid >> {TURN_BITS} FROM words WHERE words MATCH ?)")
            of_where.append(expression)
        else:
            joins.append(
                f"JOIN (SELECT rowid >> {TURN_BITS} AS no, count(*) AS turns FROM words WHERE words MATCH ? GROUP BY 1)"
                f" m{number} ON m{number}.no = c.no"
            )
            of_joins.append(expression)
            scores.append(f"m{number}.turns / (m{number}.turns + {_SATURATION})")
    for clause, value in (
        ("c.direction = ?", wanted.direction),
        ("c.duration >= ?", wanted.shortest_seconds),
        ("c.duration <= ?", wanted.longest_seconds),
        ("c.speakers & ?", SPEAKER_BITS.get(wanted.speaker)),
        ("c.no IN (SELECT no FROM flags WHERE rule_id = ?)", wanted.rule),
        ("c.recording_state = ?", wanted.recording if wanted.recording != "none" else None),
    ):
        if value not in ("", None):
            where.append(clause)
            of_where.append(value)
    if wanted.recording == "none":
        where.append("c.recording_state IS NULL")
    if wanted.language:
        where.append("(c.language = ? COLLATE NOCASE OR c.language LIKE ? || '-%')")
        of_where += [wanted.language, wanted.language.replace("%", "")]
    return " ".join(joins), " AND ".join(where), of_joins + of_where, " + ".join(scores) or "0.0"


def _turn_range(no: int) -> tuple[int, int]:
    return no << TURN_BITS, (no + 1 << TURN_BITS) - 1


def _turns(body: bytes | None) -> list[IndexedTurn]:
    return [IndexedTurn(*turn) for turn in json.loads(zlib.decompress(body))] if body else []
