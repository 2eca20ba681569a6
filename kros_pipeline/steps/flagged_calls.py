"""`flagged_calls`: the rules, applied to every call of a day."""

from collections.abc import Iterator
from datetime import date
from itertools import groupby
from types import SimpleNamespace

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..core import schemas
from ..core.flags import Rules
from ..core.sorted_lookup import SortedLookup
from ..core.transcripts import Turn
from .report import Report

_CALL_COLUMNS = ("call_id", "direction", "from_number", "to_number", "duration_seconds", "endpoint_id")
_TRANSCRIPT_COLUMNS = ("call_id", "status", "language", "confidence")
_TURN_COLUMNS = ("call_id", "turn_index", "speaker", "speaker_label", "text", "char_start", "char_end")


def flag_calls(day: date, *, tables: Tables, rules: Rules) -> Report:
    """Write a row for each call and each rule that flags it. Upstream is not asked."""

    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        return batches_of(schemas.FLAGGED_CALLS, _rows(day, tables, rules))

    report = Report()
    with tables.transaction(schemas.FLAGGED_CALLS, day) as table:
        report.written = table.commit(build)
        flagged = list(table.rows(("call_id", "rule_id")))
    report.counts = {"flagged_calls": len({row["call_id"] for row in flagged}), "rules": len(rules.rules)}
    for rule in rules.rules:
        report.counts[f"rule {rule.id}"] = sum(1 for row in flagged if row["rule_id"] == rule.id)
    return report


def _rows(day: date, tables: Tables, rules: Rules) -> Iterator[Row]:
    """Yield the rows of the day; the three tables are read side by side, none is held."""
    if not rules.rules:
        return
    with (
        tables.opened(schemas.CALLS, day) as calls,
        tables.opened(schemas.TRANSCRIPTS, day) as transcripts,
        tables.opened(schemas.UTTERANCES, day) as utterances,
    ):
        answers = SortedLookup(transcripts.rows(_TRANSCRIPT_COLUMNS) if transcripts else ())
        turns_by_call = SortedLookup(_group_turns(utterances))
        for call in calls.rows(_CALL_COLUMNS) if calls else ():
            transcript, spoken = answers.find(call["call_id"]), turns_by_call.find(call["call_id"])
            flags = rules.find_flags(
                SimpleNamespace(**call),
                SimpleNamespace(**transcript) if transcript else None,
                spoken["turns"] if spoken else (),
            )
            for flag in sorted(flags, key=lambda flag: flag.rule_id):
                yield {
                    "call_id": call["call_id"],
                    "call_date": day,
                    "rule_id": flag.rule_id,
                    "reason": flag.reason,
                    "turn_index": flag.turn_index,
                    "extend_days": flag.extend_days,
                    "rules_version": rules.version,
                }


def _group_turns(utterances: Partition | None) -> Iterator[Row]:
    rows = utterances.rows(_TURN_COLUMNS) if utterances else ()
    for call_id, turns in groupby(rows, key=lambda row: row["call_id"]):
        yield {
            "call_id": call_id,
            "turns": [Turn(**{name: turn[name] for name in _TURN_COLUMNS[1:]}) for turn in turns],
        }
