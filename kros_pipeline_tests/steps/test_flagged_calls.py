"""Flags are made by the rules, from real tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kros_pipeline_tests.support.accounts import DAY, VARIED, Account, MakeAccount
from kros_pipeline_tests.support.extensions import FEW, extend, extensions, ruled
from kros_pipeline_tests.support.steps import (
    flag_calls,
    list_calls,
)

__all__ = ["ruled"]


def test_flags_are_what_the_rules_say_of_the_tables(ruled: Callable[..., Account]) -> None:
    our = ruled(config=replace(VARIED, days={"2025-01-10": 60}, audio_seconds=(1, 120)))
    calls = our.archive.by_call("calls", DAY)
    number = next(row["from_number"] for row in calls.values() if row["direction"] == "inbound")
    named = max(calls)
    Path(our.environment["KROS_FLAG_RULES"]).write_text(f"""
rules:
  - id: words
    text_matches: '(?i)thank'
    speaker: agent
    extend_days: 100
  - id: anyone
    text_matches: '(?i)thank'
    extend_days: 100
  - id: long
    duration_seconds_at_least: 60
    extend_days: 100
  - {{id: number, numbers: ["{number}"], extend_days: 100}}
  - {{id: named, call_ids: ["{named}"], extend_days: 100}}
  - {{id: both, call_ids: ["{named}"], duration_seconds_at_least: 1000000, extend_days: 100}}
""")
    report = flag_calls(our.open(), DAY)
    thanks = [row for row in our.archive.table("utterances", DAY) if re.search("(?i)thank", row["text"])]
    expected = {
        "words": {row["call_id"] for row in thanks if row["speaker"] in ("agent", "unknown")},
        "anyone": {row["call_id"] for row in thanks},
        "long": {call_id for call_id, row in calls.items() if row["duration_seconds"] >= 60},
        "number": {call_id for call_id, row in calls.items() if number in (row["from_number"], row["to_number"])},
        "named": {named},
        "both": set(),
    }
    flags = our.archive.table("flagged_calls", DAY)
    assert all(expected[rule] for rule in ("words", "anyone", "long", "number"))
    assert {rule: {row["call_id"] for row in flags if row["rule_id"] == rule} for rule in expected} == expected
    assert {f"rule {rule}": len(ids) for rule, ids in expected.items()}.items() <= report.counts.items()
    first = {row["call_id"]: row["turn_index"] for row in flags if row["rule_id"] == "anyone"}
    assert first == {
        call_id: min(row["turn_index"] for row in thanks if row["call_id"] == call_id) for call_id in first
    }
    assert not [row for row in flags if number in row["reason"] or "thank" in row["reason"].lower()]


def test_without_rules_nothing_is_flagged_and_no_request_is_sent(account: MakeAccount) -> None:
    our = account(FEW)
    list_calls(our.ctx, DAY)
    our.krosai.reset_counters()
    extend(our)
    assert our.archive.table("flagged_calls", DAY) == [] == extensions(our)
    assert our.requests() == {}
