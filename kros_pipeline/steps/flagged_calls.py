"""`flagged_calls`: the rules, applied to every call of a day."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from types import SimpleNamespace

import pyarrow as pa

from ..archive.parquet import Partition, Row, batches_of
from ..archive.tables import Tables
from ..core import schemas
from ..core.flags import Rules
from ..core.sorted_lookup import SortedLookup, group_by_call, outer_join
from ..core.transcripts import Turn
from .report import Changes, Report

_CALL_COLUMNS = ("call_id", "direction", "from_number", "to_number", "duration_seconds", "endpoint_id")
_TRANSCRIPT_COLUMNS = ("call_id", "status", "language", "confidence")
_TURN_COLUMNS = ("call_id", "turn_index", "speaker", "speaker_label", "text", "char_start", "char_end")


def flag_calls(day: date, *, tables: Tables, rules: Rules) -> Report:
    """Write a row for each call and each rule that flags it. Upstream is not asked.

    Rows of a call that the table `calls` has lost stay as they are. Raises `MissingTable` where the day has no table
    `calls`, or one that the rules need.
    """

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        return batches_of(schemas.FLAGGED_CALLS, flag_rows(day, tables, rules, present))

    report = Report()
    with tables.transaction(schemas.FLAGGED_CALLS, day) as table:
        before = {(row["call_id"], row["rule_id"]) for row in table.rows(("call_id", "rule_id"))}
        report.written = table.commit(build)
        flagged = list(table.rows(("call_id", "rule_id")))
    report.counts = {"flagged_calls": len({row["call_id"] for row in flagged}), "rules": len(rules.rules)}
    after = {(row["call_id"], row["rule_id"]) for row in flagged}
    changes = Changes()
    for call_id, rule_id in sorted(before ^ after):
        changes.add(call_id, f"rule {rule_id} {'flags it now' if (call_id, rule_id) in after else 'flags it no more'}")
    report.counts |= {"new_flags": len(after - before), "flags_gone": len(before - after)}
    report.changes = changes.sample
    by_rule = Counter(row["rule_id"] for row in flagged)
    report.counts |= {f"rule {rule.id}": by_rule[rule.id] for rule in rules.rules}
    return report


def flag_rows(day: date, tables: Tables, rules: Rules, present: Partition | None) -> Iterator[Row]:
    """Yield the rows of the day; the tables are read side by side, none is kept in memory."""
    with ExitStack() as opened:
        calls = opened.enter_context(tables.required(schemas.CALLS, day))
        answers, turns_by_call = SortedLookup(()), SortedLookup(())
        if rules.rules:
            transcripts = opened.enter_context(tables.required(schemas.TRANSCRIPTS, day))
            utterances = opened.enter_context(tables.required(schemas.UTTERANCES, day))
            answers = SortedLookup(transcripts.rows(_TRANSCRIPT_COLUMNS))
            turns_by_call = SortedLookup(group_by_call(utterances.rows(_TURN_COLUMNS)))
        known_flags = group_by_call(present.rows() if present else ())
        for call, known in outer_join(calls.rows(_CALL_COLUMNS), known_flags):
            if call is not None:
                yield from _flag(day, rules, call, answers, turns_by_call)
            elif known is not None:
                yield from known["rows"]


def _flag(day: date, rules: Rules, call: Row, answers: SortedLookup, turns_by_call: SortedLookup) -> Iterator[Row]:
    transcript, spoken = answers.find(call["call_id"]), turns_by_call.find(call["call_id"])
    turns = [Turn(**{name: turn[name] for name in _TURN_COLUMNS[1:]}) for turn in spoken["rows"]] if spoken else ()
    flags = rules.find_flags(SimpleNamespace(**call), SimpleNamespace(**transcript) if transcript else None, turns)
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
