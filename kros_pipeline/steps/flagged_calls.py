"""`flagged_calls`: the rules, put to every call of a day."""

from collections.abc import Iterator
from datetime import date
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from ..archive.tables import Partition, batches_of
from ..core import schemas
from ..core.sorted_lookup import SortedLookup
from ..core.transcripts import Turn
from .report import Report
from .run_context import RunContext

_OF_A_CALL = ("call_id", "direction", "from_number", "to_number", "duration_seconds", "endpoint_id")
_OF_A_TRANSCRIPT = ("call_id", "status", "language", "confidence")
_OF_A_TURN = ("call_id", "turn_index", "speaker", "speaker_label", "text", "char_start", "char_end")


def flag_calls(ctx: RunContext, day: date) -> Report:
    """Writes a row for each call and rule that flags it. Asks nobody."""

    def build(_: Partition | None) -> Iterator[pa.RecordBatch]:
        return batches_of(schemas.FLAGGED_CALLS, _rows(ctx, day))

    report = Report()
    with ctx.tables.transaction(schemas.FLAGGED_CALLS, day) as table:
        report.written = table.commit(build)
        flagged = list(table.rows(("call_id", "rule_id")))
    report.counts = {"flagged_calls": len({row["call_id"] for row in flagged}), "rules": len(ctx.rules.rules)}
    for rule in ctx.rules.rules:
        report.counts[f"rule {rule.id}"] = sum(1 for row in flagged if row["rule_id"] == rule.id)
    return report


def _rows(ctx: RunContext, day: date) -> Iterator[dict[str, Any]]:
    if not ctx.rules.rules:
        return
    with (
        ctx.tables.opened(schemas.CALLS, day) as calls,
        ctx.tables.opened(schemas.TRANSCRIPTS, day) as transcripts,
        ctx.tables.opened(schemas.UTTERANCES, day) as utterances,
    ):
        answers = SortedLookup(transcripts.rows(_OF_A_TRANSCRIPT) if transcripts else ())
        turns = SortedLookup(_turns_by_call(utterances))
        for call in calls.rows(_OF_A_CALL) if calls else ():
            transcript = answers.of(call["call_id"])
            spoken = turns.of(call["call_id"])
            flags = ctx.rules.find_flags(
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
                    "rules_version": ctx.rules.version,
                }


def _turns_by_call(utterances: Partition | None) -> Iterator[dict[str, Any]]:
    rows = utterances.rows(_OF_A_TURN) if utterances else ()
    for call_id, turns in groupby(rows, key=lambda row: row["call_id"]):
        yield {
            "call_id": call_id,
            "turns": [Turn(**{name: turn[name] for name in _OF_A_TURN[1:]}) for turn in turns],
        }
