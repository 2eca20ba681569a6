"""For each flagged call upstream is asked once, whatever it answers."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive import parquet
from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import ApiUnauthorized, TooManyRequests, UnreadablePartition
from kros_pipeline.core.object_keys import DECISIONS, EXTENSIONS, audit_prefix
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.steps import retention_extensions
from kros_pipeline.steps.extension_journal import ExtensionJournal
from kros_pipeline.steps.extension_orders import BadOrder
from kros_pipeline_tests.support.accounts import DAY, VARIED, Account
from kros_pipeline_tests.support.archive_check import completed_of, table_key
from kros_pipeline_tests.support.extensions import extend, extended_days, extensions, posts, ruled
from kros_pipeline_tests.support.steps import extend_retention, flag_calls, list_calls

__all__ = ["ruled"]


def test_each_flagged_call_is_sent_once_over_any_number_of_runs(ruled: Callable[..., Account]) -> None:
    our = ruled(fresh=True)
    assert extend(our).counts["sent_now"] == 5
    before = our.archive.objects()
    assert extend(our).counts["sent_now"] == 0
    assert our.archive.objects() == before
    calls = set(completed_of(our.krosai, DAY))
    assert posts(our) == our.krosai.counters()["extends_applied_by_call"] == dict.fromkeys(calls, 1)
    for row in extensions(our):
        assert (row["status"], row["sent_days"], row["requested_days"], row["attempts"]) == ("extended", 120, 120, 1)
        assert row["requested_at"] and row["confirmed_at"] and row["reason"] is None

    # A call that comes later is sent by itself; a decision for longer is a new one.
    [late] = our.krosai.add_calls(str(DAY), 1)
    list_calls(our.ctx, DAY)
    extend(our)
    assert posts(our) == dict.fromkeys({*calls, late}, 1)


def test_a_table_in_another_order_has_nothing_sent_again_and_is_sorted(ruled: Callable[..., Account]) -> None:
    """Another program wrote the same rows."""
    our = ruled(fresh=True)
    extend(our)
    before, rows = posts(our), extensions(our)
    our.archive.rewrite("retention_extensions", DAY, lambda rows: rows[::-1])
    assert extend(our).counts["sent_now"] == 0
    assert posts(our) == before and extensions(our) == rows


def test_what_was_sent_before_a_table_turned_out_to_be_damaged_is_saved(
    ruled: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are read while decisions are sent; here two at a time, and a row group has two rows."""
    our = ruled(fresh=True)
    ctx = our.open()
    flag_calls(ctx, DAY)
    key, file = table_key("flagged_calls", DAY), io.BytesIO()
    whole = our.archive.read(key)
    table = pq.read_table(io.BytesIO(whole))
    pq.write_table(table, file, row_group_size=2)
    column = table.schema.get_field_index("extend_days")  # of the ids the order is looked at before
    last = pq.ParquetFile(file).metadata.row_group(2).column(column)
    body, begin = bytearray(file.getvalue()), last.dictionary_page_offset or last.data_page_offset
    body[begin : begin + last.total_compressed_size] = bytes(last.total_compressed_size)
    our.archive.write(key, bytes(body))
    monkeypatch.setattr(parquet, "ROWS_PER_BATCH", 2)
    monkeypatch.setattr(retention_extensions, "_DECISIONS_AT_ONCE", 2)
    with pytest.raises(UnreadablePartition, match="flagged_calls"):
        extend_retention(ctx, DAY)
    sent = posts(our)
    assert 0 < len(sent) < table.num_rows
    assert {row["call_id"]: row["status"] for row in extensions(our)} == dict.fromkeys(sent, "extended")

    our.archive.write(key, whole)
    extend_retention(our.open(), DAY)
    assert posts(our) == dict.fromkeys(table["call_id"].to_pylist(), 1)


def read_keys(our: Account) -> list[str]:
    """Run the step once more, and return the keys of the journal and of the claims that it reads."""
    ctx = our.open()
    flag_calls(ctx, DAY)
    read, keys = ctx.store.read, []

    def noted(key: str) -> bytes | None:
        keys.append(key)
        return read(key)

    ctx.store.read = noted  # type: ignore[method-assign]
    assert extend_retention(ctx, DAY).counts["sent_now"] == 0
    return [key for key in keys if key.startswith((EXTENSIONS, DECISIONS))]


@pytest.mark.parametrize("value", ["404 NOT_FOUND", "404 html"])
def test_open_extensions_cost_no_request_in_later_runs(ruled: Callable[..., Account], value: str) -> None:
    """Five are refused, or in doubt: what the journal has of them is known from its listing."""
    our = ruled(fresh=True)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("extend",), value=value)))
    extend(our)
    statuses = {row["status"] for row in extensions(our)}
    assert len(extensions(our)) == 5 and statuses in ({"refused"}, {"unconfirmed"})
    assert read_keys(our) == []


def test_a_killed_run_costs_three_requests_for_each_decision(ruled: Callable[..., Account]) -> None:
    our = ruled(fresh=True)
    extend(our)
    rows = extensions(our)
    our.archive.delete(table_key("retention_extensions", DAY))
    assert Counter(read_keys(our)).total() == 3 * len(rows)
    assert extensions(our) == rows


def test_a_store_that_lists_in_no_order_has_nothing_sent_again(ruled: Callable[..., Account]) -> None:
    """A run died before its table; then all intents are listed, and after them all outcomes."""
    our = ruled(fresh=True)
    extend(our)
    rows = extensions(our)
    our.archive.delete(table_key("retention_extensions", DAY))
    ctx = our.open()
    flag_calls(ctx, DAY)
    in_order = ctx.store.list
    ctx.store.list = lambda prefix, **more: iter(  # type: ignore[method-assign]
        sorted(in_order(prefix, **more), key=lambda entry: entry.key.rpartition("-")[2])
    )
    assert extend_retention(ctx, DAY).counts["sent_now"] == 0
    assert set(posts(our).values()) == {1} and extensions(our) == rows


@pytest.mark.parametrize(("saved_per_new", "saves"), [(10, [0, 0, 2, 2, 4]), (0.5, [0, 0, 2, 2, 2])])
def test_rows_are_saved_in_portions_while_decisions_are_sent(
    ruled: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, saved_per_new: float, saves: list[int]
) -> None:
    our = ruled(fresh=True)
    monkeypatch.setattr(retention_extensions, "_DECISIONS_AT_ONCE", 2)
    monkeypatch.setattr(retention_extensions, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(retention_extensions, "_SAVED_PER_NEW", saved_per_new)
    saved: list[int] = []
    true_send = KrosAI.extend

    def send(self: KrosAI, *arguments: Any, **named: Any) -> None:
        saved.append(len(extensions(our)))
        true_send(self, *arguments, **named)

    monkeypatch.setattr(KrosAI, "extend", send)
    report = extend(our)
    assert saved == saves
    assert (report.counts["sent_now"], report.counts["extended"]) == (5, 5)
    assert report.written is not None and report.written.rows == 5 and report.written.changed
    lines = [line for key in our.archive.objects(audit_prefix(DAY)) for line in our.archive.read(key).splitlines()]
    assert sum(json.loads(line)["event"] == "extended" for line in lines) == 5
    assert posts(our) == dict.fromkeys(completed_of(our.krosai, DAY), 1)


def test_of_several_rules_the_longest_is_sent_and_calls_without_recording_are_not(
    ruled: Callable[..., Account],
) -> None:
    rules = "rules:\n  - {id: a, extend_days: 100}\n  - {id: b, extend_days: 300}\n  - {id: c, extend_days: 200}\n"
    our = ruled(rules, config=replace(VARIED, days={"2025-01-10": 40}, audio_seconds=(1, 2)))
    extend(our)
    shown = {call_id for call_id, row in our.archive.by_call("calls", DAY).items() if row["has_recording"]}
    assert len(our.archive.table("flagged_calls", DAY)) == 3 * len(completed_of(our.krosai, DAY))
    assert extended_days(our) == {call_id: [300] for call_id in shown}


# What becomes of a POST: its status, how often it was sent and done, and what the next run makes of it.
@pytest.mark.parametrize(
    ("faults", "status", "reason", "sent", "done", "error", "then"),
    [
        (Faults(extend_rate_limited=Fault(attempts=2, value="0.01")), "extended", "", 3, 1, None, "extended"),
        (Faults(extend_rate_limited=Fault(value="3600")), None, "", 1, 0, TooManyRequests, "extended"),
        (Faults(api_key_refused=Fault(routes=("extend",))), None, "", 0, 0, ApiUnauthorized, "extended"),
        # It may have been done, so that nobody sends it again:
        (Faults(extend_error=Fault()), "unconfirmed", "may or may not.*500", 1, 0, None, "unconfirmed"),
        (Faults(extend_lost=Fault()), "unconfirmed", "may or may not.*502", 1, 1, None, "unconfirmed"),
        (Faults(extend_timeout=Fault(value=0.05)), "unconfirmed", "may or may not.*no ans", 1, 1, None, "unconfirmed"),
        (Faults(api_reset=Fault(routes=("extend",))), "unconfirmed", "may or may not.*no", 0, 0, None, "unconfirmed"),
        # Upstream said no:
        (Faults(extend_refused=Fault()), "refused", "403", 1, 0, None, "refused"),
        (Faults(extend_refused=Fault(value=422)), "refused", "422", 1, 0, None, "refused"),
    ],
    ids=lambda value: next(iter(value.to_json())) if isinstance(value, Faults) else None,
)  # fmt: skip
def test_no_fault_makes_an_extension_happen_twice(
    ruled: Callable[..., Account],
    faults: Faults,
    status: str | None,
    reason: str,
    sent: int,
    done: int,
    error: type | None,
    then: str,
) -> None:
    our = ruled("rules: []\n")
    [call_id] = sorted(completed_of(our.krosai, DAY))[:1]
    Path(our.environment["KROS_FLAG_RULES"]).write_text(
        f"rules: [{{id: one, call_ids: [{call_id}], extend_days: 120}}]"
    )
    our.krosai.set_faults(faults)
    report = extend(our)
    assert (type(report.error) if report.error else None) == error
    assert [row["status"] for row in extensions(our)] == ([status] if status else [])
    if status:
        assert re.search(reason, extensions(our)[0]["reason"] or "")
        assert [call for call, _ in report.problems] == ([] if status == "extended" else [call_id])
    assert posts(our).get(call_id, 0) == sent
    assert our.krosai.counters()["extends_applied_by_call"].get(call_id, 0) == done

    our.krosai.set_faults(Faults())
    for _ in range(2):
        again = extend(our)
        assert [row["status"] for row in extensions(our)] == [then]
        assert again.problem_count == (then != "extended")  # what is in doubt stays red
    assert our.krosai.counters()["extends_applied_by_call"].get(call_id, 0) == (1 if then == "extended" else done)
    assert posts(our).get(call_id, 0) == (sent if status else sent + 1)


def test_a_request_that_certainly_was_not_sent_is_sent_by_the_next_run(ruled: Callable[..., Account]) -> None:
    our = ruled()
    ctx = our.open()
    nowhere = replace(ctx.settings.source, base_url="http://127.0.0.1:9/v1")  # nothing listens there
    with closing(KrosAI(nowhere, our.clock)) as source:
        report = extend(our, replace(ctx, source=source))
    assert report.problem_count == 5 and extensions(our) == []
    extend(our)
    assert {row["status"] for row in extensions(our)} == {"extended"}
    assert {row["attempts"] for row in extensions(our)} == {2}
    assert set(posts(our).values()) == {1}


class _Crash(BaseException):
    pass


@pytest.mark.parametrize(("dies_at", "sent"), [("request", 0), ("outcome", 1)])
def test_an_intent_without_outcome_is_unconfirmed_and_never_sent_again(
    ruled: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, dies_at: str, sent: int
) -> None:
    our = ruled()
    hit = min(completed_of(our.krosai, DAY))
    ctx, begin, finish = our.open(), ExtensionJournal.begin, ExtensionJournal.finish

    def dying_after(self: ExtensionJournal, decision_id: str, attempt: int, intent: Any) -> Any:
        begun = begin(self, decision_id, attempt, intent)
        if dies_at == "request" and intent["call_id"] == hit:
            raise _Crash
        return begun

    def dying_before(self: ExtensionJournal, decision_id: str, attempt: int, outcome: Any) -> None:
        intent = our.archive.json(f"state/extensions/dt={DAY}/{decision_id}/001-intent.json")
        if dies_at == "outcome" and intent["call_id"] == hit:
            raise _Crash
        finish(self, decision_id, attempt, outcome)

    with monkeypatch.context() as crash:
        crash.setattr(ExtensionJournal, "begin", dying_after)
        crash.setattr(ExtensionJournal, "finish", dying_before)
        with pytest.raises(_Crash):
            extend(our, ctx)
    assert extensions(our) == []  # it died before it wrote the table
    for _ in range(2):
        report = extend(our)
        by_call = {row["call_id"]: row for row in extensions(our)}
        assert by_call[hit]["status"] == "unconfirmed" and "may or may not" in by_call[hit]["reason"]
        assert report.problem_count == 1
        assert {row["status"] for call_id, row in by_call.items() if call_id != hit} == {"extended"}
    assert posts(our).pop(hit, 0) == sent
    assert {call_id: count for call_id, count in posts(our).items() if call_id != hit} == dict.fromkeys(
        by_call.keys() - {hit}, 1
    )


def test_the_table_can_be_rebuilt_from_the_journal(ruled: Callable[..., Account]) -> None:
    our = ruled()
    our.krosai.set_faults(Faults(extend_refused=Fault(share=0.4), extend_lost=Fault(share=0.4)))
    extend(our)
    before, sent = extensions(our), posts(our)
    assert len({row["status"] for row in before}) > 1
    our.krosai.set_faults(Faults())
    our.archive.delete(table_key("retention_extensions", DAY))
    extend(our)
    known = ("call_id", "decision_id", "status", "sent_days", "requested_at", "confirmed_at", "attempts")
    assert [[row[name] for name in known] for row in extensions(our)] == [
        [row[name] for name in known] for row in before
    ]
    assert posts(our) == sent


NEXT_DAY = DAY + timedelta(days=1)


def audited(our: Account, day: date) -> Counter[str]:
    keys = [key for key in our.archive.objects(audit_prefix(day)) if "-extensions" in key]
    return Counter(json.loads(line)["event"] for key in keys for line in our.archive.read(key).splitlines())


def show_on_next_day(our: Account) -> None:
    """Write the calls and their flags under the next day, too, as a run does to which upstream shows them there."""
    for table in (schemas.CALLS, schemas.FLAGGED_CALLS):
        rows = [row | {"call_date": NEXT_DAY} for row in our.ctx.tables.rows(table, DAY)]
        our.ctx.tables.commit(table, NEXT_DAY, lambda _, table=table, rows=rows: batches_of(table, rows))  # type: ignore[misc]


def test_what_another_day_sent_is_neither_counted_nor_audited(ruled: Callable[..., Account]) -> None:
    our = ruled()
    extend(our)
    show_on_next_day(our)
    report = extend_retention(our.open(), NEXT_DAY)
    assert (report.counts["sent_now"], report.counts["extended"]) == (0, 5)
    assert (audited(our, DAY), audited(our, NEXT_DAY)) == ({"extended": 5}, {})


def test_what_an_operator_does_about_another_days_extensions_is_audited(ruled: Callable[..., Account]) -> None:
    our = ruled()
    our.krosai.set_faults(Faults(extend_lost=Fault()))
    extend(our)
    our.krosai.set_faults(Faults())
    show_on_next_day(our)
    assert extend_retention(our.open(), NEXT_DAY).counts["unconfirmed"] == 5
    resent, settled = [row["call_id"] for row in extensions(our)][:2]
    report = extend_retention(our.open(), NEXT_DAY, resend=[resent], settle=[settled], run_id="operator")
    assert (report.counts["sent_now"], report.counts["settled_now"]) == (1, 1)
    assert (audited(our, DAY), audited(our, NEXT_DAY)) == ({"unconfirmed": 5}, {"extended": 2})
    extend(our)
    assert audited(our, DAY) == {"unconfirmed": 5, "extended": 2}, "its journal says so now"


# Plans: as many days as they allow, and no request where they keep a recording that long already.
@pytest.mark.parametrize(
    ("plan", "settings", "wanted", "status", "days"),
    [
        ("free", {}, 120, "not_allowed", None),
        ("pro", {}, 120, "extended", 90),
        ("pro", {"KROSAI_RETENTION_DAYS": "90"}, 120, "not_allowed", None),
        ("business", {}, 120, "extended", 120),
        ("business", {}, 1000, "extended", 365),
        ("enterprise", {}, 300, "extended", 300),
    ],
)
def test_the_plan_limits_the_requested_days(
    ruled: Callable[..., Account], plan: str, settings: dict[str, str], wanted: int, status: str, days: int | None
) -> None:
    our = ruled(f"rules:\n  - {{id: everyone, extend_days: {wanted}}}\n", KROSAI_PLAN=plan, **settings)
    extend(our)
    calls = completed_of(our.krosai, DAY)
    assert extended_days(our) == ({call_id: [days] for call_id in calls} if days else {})
    assert [(row["status"], row["requested_days"], row["sent_days"]) for row in extensions(our)] == [
        (status, wanted, days)
    ] * 5
    if status == "not_allowed":
        assert all(plan in row["reason"] for row in extensions(our))
        assert posts(our) == {}


@pytest.mark.parametrize("resend", [False, True])
def test_a_decision_that_the_plan_did_not_allow_is_sent_once_after_an_upgrade(
    ruled: Callable[..., Account], *, resend: bool
) -> None:
    our = ruled(KROSAI_PLAN="free")
    for _ in range(2):
        extend(our)
        assert {row["status"] for row in extensions(our)} == {"not_allowed"} and posts(our) == {}
    our.environment["KROSAI_PLAN"] = "business"
    ids = [row["call_id"] for row in extensions(our)] if resend else []
    assert extend_retention(our.open(), DAY, resend=ids, run_id="operator").counts["sent_now"] == 5
    extend_retention(our.open(), DAY)
    assert {row["status"] for row in extensions(our)} == {"extended"}
    assert posts(our) == dict.fromkeys(completed_of(our.krosai, DAY), 1)


def test_an_upgraded_decision_is_not_sent_twice_where_the_run_was_killed_before_its_table(
    ruled: Callable[..., Account],
) -> None:
    our = ruled(KROSAI_PLAN="free")
    extend(our)
    before = our.archive.read(table_key("retention_extensions", DAY))
    our.environment["KROSAI_PLAN"] = "business"
    extend_retention(our.open(), DAY)
    our.archive.write(table_key("retention_extensions", DAY), before)
    assert extend_retention(our.open(), DAY).counts["sent_now"] == 0
    assert posts(our) == dict.fromkeys(completed_of(our.krosai, DAY), 1)
    assert {row["status"] for row in extensions(our)} == {"extended"}


def test_a_resend_is_refused_where_the_plan_still_does_not_allow_it(ruled: Callable[..., Account]) -> None:
    our = ruled(KROSAI_PLAN="free")
    extend(our)
    with pytest.raises(BadOrder, match="plan free keeps recordings no longer"):
        extend_retention(our.open(), DAY, resend=[extensions(our)[0]["call_id"]], run_id="operator")
