"""A hostile call id does no harm in a key, a rule, an operator's message or an event."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.flags import parse_rules
from kros_pipeline.core.object_keys import acknowledged_key, audio_key, call_key, quarantine_key
from kros_pipeline.core.verdict import decide_verdict
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.sandbox.hostile_ids import hostile_id
from kros_pipeline.source.call_parsing import MalformedCall, parse_listed_call
from kros_pipeline_tests.support.accounts import DAY, VARIED, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_nothing_is_false
from kros_pipeline_tests.support.steps import reconcile_day

UNSAFE = ("lost", "failed", "refused")
SHA256 = "0123456789abcdef" * 4
SAFE_KEY = re.compile(r"[a-z]+/(?:[a-z]+/)?dt=2025-01-10/[A-Za-z0-9_.-]{1,170}\.(?:mp3|bin|json)")
ELIDED_LINES = re.compile(r"\.\.\.<\d+ lines>\.\.\.")  # Python 3.13 shortens a long statement in a traceback so
PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
SHOWN_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
INJECTIONS = (
    "${AWS_SECRET_ACCESS_KEY}", "{{ 7 * 7 }}", "%(name)s %s %n", "![x](https://evil.example/pixel)",
    "<img src=x onerror=alert(1)>", "'; DROP TABLE calls; --", "!!python/object/apply:os.system ['true']", "*alias",
    "&anchor", "- a", "a: b", "# comment", "|", ">-", "~", "null", "true", "1e3", "0x1F", "\x1b[31mred\x1b[0m",
    "\r\nSet-Cookie: a=b", "\ufeffbom", "\u2028line", "\u202eexe.3pm", "a\x00b", "=cmd|' /C calc'!A0", "+2348012345678",
)  # fmt: skip
# The sandbox's ids, injections, and any text.
hostile = st.one_of(
    st.text(st.characters(), min_size=1),
    st.sampled_from(INJECTIONS),
    st.builds(
        lambda number, unique: hostile_id(number, unique, is_bare=False), st.integers(0, 99), st.text(max_size=5)
    ),
    st.tuples(st.sampled_from(INJECTIONS), st.text(max_size=20)).map("".join),
)


def call_of(call_id: str) -> Any:
    """Parse a listed row with this id; None if parsing refuses it."""
    row = {"id": call_id, "status": "completed", "created_at": "2025-01-10T10:00:00Z"}
    try:
        return parse_listed_call(row, organization_id=None, now=datetime(2025, 1, 11, tzinfo=UTC)).call
    except MalformedCall:
        return None


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(hostile)
@example("..")
@example("\ud800")
def test_every_id_gives_safe_keys_rules_and_messages(call_id: str) -> None:
    call = call_of(call_id)
    if call is None:
        assert not call_id.strip() or re.search("[\ud800-\udfff]", call_id), "only blank and lone surrogates"
        return
    ours = call.call_id
    # Keys: one plain segment in the folder of its day.
    keys = (audio_key(DAY, ours), quarantine_key(DAY, ours, SHA256), acknowledged_key(DAY, ours))
    assert all(SAFE_KEY.fullmatch(key) for key in keys), keys
    # Rules: an id in the file is that text, not YAML, and flags only that call.
    text = yaml.safe_dump({"rules": [{"id": "named", "call_ids": [ours], "extend_days": 30}]})
    rules = parse_rules(text, confidence_is_known=False)
    [flag] = rules.find_flags(call, None, [])
    assert ours not in flag.reason or ours in "the call is named"
    assert rules.find_flags(SimpleNamespace(call_id=ours + "x"), None, []) == []
    # Messages: the id itself appears only if it is plain.
    said = decide_verdict(Evidence(None, 1, Counter(lost=1), Counter(), unsafe={"lost": [ours]})).failures[
        "every_recording_is_safe"
    ]
    [shown] = re.findall(r"^1 × recording lost: (.*)\.$", said[0], re.DOTALL)
    assert SHOWN_ID.fullmatch(shown) and (shown == ours or not PLAIN_ID.fullmatch(ours))


# The real job, with every fault whose message names a call.
@pytest.mark.slow
def test_no_event_of_a_day_contains_a_hostile_id(account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    our = account(replace(VARIED, id_style="hostile", days=("2025-01-10",), calls_per_day=45))
    our.krosai.set_faults(
        Faults(
            storage_missing=Fault(share=0.3),
            storage_html=Fault(share=0.3),
            url_foreign=Fault(share=0.3),
            api_error=Fault(share=0.5, routes=("transcript", "recording")),
        )
    )
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs().resolve_job_def("daily_archive")
        result = job.execute_in_process(tags={"dagster/partition": str(DAY)}, instance=instance, raise_on_error=False)
        entries: list[Any] = [each.event_log_entry for each in instance.get_records_for_run(result.run_id).records]
        log = "\n".join(entry.to_json() for entry in entries)
    log = ELIDED_LINES.sub("", log)  # not the id ".."
    assert not result.success
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    ids = [row["call_id"] for row in our.archive.table("recordings", DAY) if row["status"] in UNSAFE]
    strange = [call_id for call_id in ids if not PLAIN_ID.fullmatch(call_id)]
    assert len(strange) > 15
    assert any(call_key(call_id) in log for call_id in strange), "the log names the calls by their keys"
    for call_id in strange:
        assert json.dumps(call_id)[1:-1] not in log and json.dumps(json.dumps(call_id)[1:-1])[1:-1] not in log, call_id
    # An operator can acknowledge the calls by the keys in the log.
    shown = [call_key(call_id) for call_id in strange]
    accepted = reconcile_day(our.ctx, DAY, shown)
    assert f"{len(strange)} × recording that is not safe, acknowledged" in " ".join(accepted.verdict.notes)
