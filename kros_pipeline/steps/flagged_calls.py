"""`flagged_calls`: the rules, applied to every call of a day."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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

    report = Report()
    changes = FlagChanges()

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        nonlocal changes
        changes = FlagChanges()
        return batches_of(schemas.FLAGGED_CALLS, flag_rows(day, tables, rules, present, changes))

    with tables.transaction(schemas.FLAGGED_CALLS, day) as table:
        report.written = table.commit(build)
        call_count, by_rule = 0, Counter[str]()
        for flagged in group_by_call(table.rows(("call_id", "rule_id"))):
            call_count += 1
            by_rule.update(row["rule_id"] for row in flagged["rows"])
    report.counts = {"flagged_calls": call_count, "rules": len(rules.rules)}
    report.counts |= {"new_flags": changes.added, "flags_gone": changes.gone}
    report.changes = changes.sample
    report.counts |= {f"rule {rule.id}": by_rule[rule.id] for rule in rules.rules}
    return report


@dataclass
class FlagChanges(Changes):
    """The flags that are new, and those that are gone."""

    added: int = 0
    gone: int = 0

    def compare_flags(self, call_id: str, before: Iterable[Row], after: Iterable[Row]) -> None:
        """Compare the rules that flag a call before and after."""
        was, now = ({row["rule_id"] for row in rows} for rows in (before, after))
        self.added, self.gone = self.added + len(now - was), self.gone + len(was - now)
        for rule_id in sorted(was ^ now):
            self.add(call_id, f"rule {rule_id} {'flags it now' if rule_id in now else 'flags it no more'}")


def flag_rows(
    day: date, tables: Tables, rules: Rules, present: Partition | None, changes: FlagChanges | None = None
) -> Iterator[Row]:
    """Yield the rows of the day, and add to `changes` what they change in the `present` ones.

    The tables are read side by side, none is kept in memory.
    """
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
                rows = list(_flag(day, rules, call, answers, turns_by_call))
                if changes is not None and (rows or known is not None):
                    changes.compare_flags(call["call_id"], known["rows"] if known is not None else (), rows)
                yield from rows
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
