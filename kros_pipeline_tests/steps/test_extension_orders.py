"""What an operator says when launching `retention_extensions`: show it first, send it once more, it is settled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.archive.tables import Tables
from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.extension_orders import BadOrder, read_orders
from kros_pipeline.steps.retention_extensions import ExtensionReport
from kros_pipeline.steps.run_context import open_run_context
from kros_pipeline_tests.dagster.test_daily_archive import instance
from kros_pipeline_tests.support.accounts import DAY, Account
from kros_pipeline_tests.support.archive_check import completed_of, table_key
from kros_pipeline_tests.support.extensions import EVERYONE, extend, extensions, posts, ruled
from kros_pipeline_tests.support.steps import extend_retention, flag_calls

__all__ = ["instance", "ruled"]

LOST = Faults(extend_lost=Fault())  # upstream acts, and its answer is lost
REFUSED = Faults(extend_refused=Fault())
DOWN = Faults(extend_error=Fault())  # upstream does not act, and nobody knows


def order(our: Account, run_id: str = "run-1", **orders: Any) -> ExtensionReport:
    return extend_retention(our.open(), DAY, run_id=run_id, **orders)


def by_call(our: Account) -> dict[str, dict[str, Any]]:
    return {row["call_id"]: row for row in extensions(our)}


def troubled(ruled: Callable[..., Account], faults: Faults) -> tuple[Account, list[str]]:
    """An account whose five extensions all met the faults, and upstream well again, with its counters at zero."""
    our = ruled()
    our.krosai.set_faults(faults)
    extend(our)
    our.krosai.set_faults(Faults())
    our.krosai.reset_counters()
    return our, sorted(completed_of(our.krosai, DAY))


class CountedRow(dict[str, Any]):
    """A row that counts how often a field of it is read, and how often it is compared."""

    reads = 0
    __hash__ = None

    def __getitem__(self, name: str) -> Any:
        CountedRow.reads += 1
        return super().__getitem__(name)

    def __eq__(self, other: object) -> bool:
        CountedRow.reads += 1
        return super().__eq__(other)


def count_reads(rows: int) -> int:
    known = [
        CountedRow(decision_id=f"{n:032}", call_id=f"call_{n}", status="refused", settled_at=None) for n in range(rows)
    ]
    CountedRow.reads = 0
    unused: Any = None
    named = [f"call_{n}" for n in range(rows)]
    orders = read_orders(unused, unused, known, resend=(), settle=named, run_id="run-1")
    assert orders.settle == known
    return CountedRow.reads


def test_an_order_reads_each_row_a_few_times_however_many_calls_it_names() -> None:
    assert count_reads(200) <= 2 * count_reads(100)


# A doubt, settled.


@pytest.mark.parametrize(("faults", "name"), [(LOST, "call_id"), (DOWN, "decision_id")])
def test_a_resend_sends_exactly_one_more_request(ruled: Callable[..., Account], faults: Faults, name: str) -> None:
    our, calls = troubled(ruled, faults)
    before = by_call(our)
    report = order(our, resend=[before[calls[0]][name]])
    assert (report.counts["sent_now"], report.counts["unconfirmed"], report.problem_count) == (1, 4, 4)
    row = by_call(our)[calls[0]]
    assert (row["status"], row["attempts"], row["reason"], row["sent_days"]) == ("extended", 2, None, 120)
    assert row["decision_id"] == before[calls[0]]["decision_id"]
    assert {call: by_call(our)[call] for call in calls[1:]} == {call: before[call] for call in calls[1:]}
    for _ in range(2):
        extend(our)
    assert posts(our) == {calls[0]: 1}


def test_a_second_attempt_has_the_key_of_the_first(ruled: Callable[..., Account], monkeypatch: Any) -> None:
    our, calls = troubled(ruled, LOST)
    ctx = our.open()
    sent: list[tuple[str, int, str]] = []
    monkeypatch.setattr(
        ctx.source, "extend", lambda call, days, idempotency_key: sent.append((call, days, idempotency_key))
    )
    extend_retention(ctx, DAY, resend=calls[:1], run_id="run-1")
    assert sent == [(calls[0], 120, by_call(our)[calls[0]]["decision_id"])]


def test_a_resend_without_an_answer_is_unconfirmed_until_the_next_order(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, REFUSED)
    our.krosai.set_faults(LOST)
    order(our, resend=calls[:1])
    assert (by_call(our)[calls[0]]["status"], by_call(our)[calls[0]]["attempts"]) == ("unconfirmed", 2)
    # The same run again, as Dagster repeats a failed one with its config, is the same order.
    report = order(our, resend=calls[:1])
    assert report.counts["unconfirmed"] == 1 and posts(our) == {calls[0]: 1}
    our.krosai.set_faults(Faults())
    order(our, "run-2", resend=calls[:1])
    assert (by_call(our)[calls[0]]["status"], by_call(our)[calls[0]]["attempts"]) == ("extended", 3)
    assert posts(our) == {calls[0]: 2}


def test_a_step_that_fails_after_its_resend_sends_nothing_when_it_is_started_again(
    ruled: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    our, calls = troubled(ruled, LOST)

    def fails(*_: object) -> None:
        raise ArchiveUnavailable("S3 is away for a moment")

    with monkeypatch.context() as outage:
        outage.setattr(Tables, "commit", fails)
        with pytest.raises(ArchiveUnavailable):
            order(our, resend=calls[:2], settle=calls[2:3])
    report = order(our, resend=calls[:2], settle=calls[2:3])
    assert posts(our) == dict.fromkeys(calls[:2], 1)
    assert {call: row["status"] for call, row in by_call(our).items()} == {
        **dict.fromkeys(calls[:3], "extended"),
        **dict.fromkeys(calls[3:], "unconfirmed"),
    }
    assert report.counts["unconfirmed"] == 2


def test_a_resend_that_certainly_did_not_arrive_leaves_the_extension_unconfirmed(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, LOST)
    before = by_call(our)
    our.krosai.set_faults(Faults(extend_rate_limited=Fault(value="3600")))
    report = order(our, resend=calls[:1])
    assert "quota" in report.to_do[0]
    our.krosai.set_faults(Faults())
    our.krosai.reset_counters()
    for _ in range(2):
        extend(our)
        our.archive.delete(table_key("retention_extensions", DAY))  # the journal says the same
    extend(our)
    assert by_call(our)[calls[0]]["status"] == "unconfirmed" and posts(our) == {}
    assert {row["sent_days"] for row in before.values()} == {120}
    order(our, "run-1", resend=calls[:1])  # the order is not spent: nothing has arrived yet
    assert by_call(our)[calls[0]]["status"] == "extended" and posts(our) == {calls[0]: 1}


@pytest.mark.parametrize(
    ("faults", "before", "after"), [(LOST, "unconfirmed", "extended"), (REFUSED, "refused", "refused")]
)
def test_a_settled_extension_is_no_longer_red_and_sends_no_request(
    ruled: Callable[..., Account], faults: Faults, before: str, after: str
) -> None:
    our, calls = troubled(ruled, faults)
    said = by_call(our)[calls[0]]["reason"]
    assert order(our, settle=calls).problem_count == 0
    for table_is_lost in (False, True):
        if table_is_lost:
            our.archive.delete(table_key("retention_extensions", DAY))
        for _ in range(2):
            report = extend(our)
            assert report.problem_count == 0 and report.to_do == []
            rows = by_call(our)
            assert {row["status"] for row in rows.values()} == {after}
            assert all(row["settled_at"] and row["confirmed_at"] is None for row in rows.values())
            assert rows[calls[0]]["reason"].startswith(f"settled by an operator; before that {before}: ")
            assert table_is_lost or said in rows[calls[0]]["reason"]
    assert our.requests() == {}
    stored = [our.archive.json(key) for key in our.archive.objects("state/extensions/") if key.endswith("settled.json")]
    assert [(one["status"], one["run_id"]) for one in stored] == [(after, "run-1")] * 5


def test_a_repeated_settlement_is_written_once(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, LOST)
    order(our, settle=calls)
    before, table = our.archive.objects("state/extensions/"), extensions(our)
    order(our, "run-2", settle=calls)
    assert our.archive.objects("state/extensions/") == before and extensions(our) == table


def test_a_settled_call_is_covered_and_a_longer_extension_is_a_new_decision(
    ruled: Callable[..., Account], tmp_path: Path
) -> None:
    our, calls = troubled(ruled, LOST)
    order(our, settle=calls)
    path = Path(our.environment["KROS_FLAG_RULES"])
    path.write_text(EVERYONE + "  - {id: shorter, extend_days: 90}\n  - {id: alike, extend_days: 120}\n")
    extend(our)
    assert posts(our) == {}
    path.write_text(EVERYONE + "  - {id: longer, extend_days: 200}\n")
    extend(our)
    assert posts(our) == dict.fromkeys(calls, 1)


# What cannot be obeyed.


def test_an_invalid_order_is_refused_as_a_whole_with_its_reason(ruled: Callable[..., Account]) -> None:
    our, (sent, *doubtful) = troubled(ruled, LOST)
    order(our, resend=[sent])
    before = our.archive.objects()
    for orders, sentence in (
        ({"resend": ["call_nobody"]}, "resend: call_nobody is no decision of the day, nor a call with one"),
        ({"settle": ["call_nobody"]}, "settle: call_nobody is no decision of the day, nor a call with one"),
        ({"resend": [""]}, "resend:  is no decision of the day"),
        ({"resend": [sent]}, f"resend: {sent} is extended; there is nothing to resend"),
        ({"settle": [sent]}, f"settle: {sent} is extended; there is nothing to settle"),
        ({"resend": doubtful, "settle": doubtful[:1]}, f"{doubtful[0]} cannot be both resent and settled"),
        ({"resend": ["call_nobody"], "settle": doubtful}, "Nothing was sent or settled."),
    ):
        with pytest.raises(BadOrder) as refused:
            order(our, "run-2", **orders)
        assert sentence in str(refused.value)
    assert our.archive.objects() == before and posts(our) == {sent: 1}


def test_a_settled_extension_is_not_resent(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, REFUSED)
    order(our, settle=calls[:1])
    with pytest.raises(BadOrder, match="is refused; there is nothing to resend"):
        order(our, "run-2", resend=calls[:1])


def test_an_extension_beyond_the_plan_is_not_resent_and_stays_unconfirmed(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, LOST)
    our.environment["KROSAI_PLAN"] = "free"
    with pytest.raises(BadOrder, match="plan free keeps recordings no longer"):
        order(our, resend=calls[:1])
    assert by_call(our)[calls[0]]["status"] == "unconfirmed"


# Shown first.


def test_a_dry_run_says_what_would_be_sent_and_changes_nothing(ruled: Callable[..., Account]) -> None:
    our, calls = troubled(ruled, Faults(extend_lost=Fault(share=0.5)))
    doubtful = [call for call, row in by_call(our).items() if row["status"] == "unconfirmed"]
    assert doubtful and len(doubtful) < 5
    Path(our.environment["KROS_FLAG_RULES"]).write_text("rules: [{id: longer, extend_days: 400}]")
    flag_calls(our.open(), DAY)
    before = our.archive.objects()
    report = order(our, dry_run=True, settle=doubtful)
    assert our.archive.objects() == before and our.requests() == {}
    assert (report.counts["would_send"], report.counts["would_settle"]) == (5, len(doubtful))
    assert report.would_send == [{"call": call, "rule": "longer", "days": 365} for call in calls]
    assert order(our, dry_run=True, resend=doubtful).counts["would_send"] == 5 + len(doubtful)
    our.environment["KROSAI_PLAN"] = "free"
    refused = order(our, dry_run=True)
    assert (refused.counts["would_send"], refused.counts["would_not_be_allowed"]) == (0, 5)
    our.environment["KROSAI_PLAN"] = "business"
    assert order(our).counts["sent_now"] == 5  # what was shown is what is sent
    assert posts(our) == dict.fromkeys(calls, 1)


# In Dagster.


@pytest.fixture
def materialize(monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance) -> Callable[..., Any]:
    """Runs `flagged_calls` and `retention_extensions` only, with config for the latter."""

    def run(our: Account, **config: Any) -> tuple[Any, Any]:
        def opened_at(texts: Any) -> Any:
            return open_run_context(texts, clock=our.clock, open_archive=our.open_archive)

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
        for name, value in our.environment.items():
            monkeypatch.setenv(name, value)
        result = (
            defs()
            .resolve_job_def("daily_archive")
            .execute_in_process(
                tags={"dagster/partition": str(DAY)},
                asset_selection=[dg.AssetKey("flagged_calls"), dg.AssetKey("retention_extensions")],
                run_config={"ops": {"retention_extensions": {"config": config}}} if config else None,
                instance=instance,
                raise_on_error=False,
            )
        )
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        return result, checks.get("every_extension_is_confirmed")

    return run


EXTENSIONS = dg.AssetKey("retention_extensions")


def metadata_of(result: Any, asset: str) -> dict[str, Any]:
    [event] = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(asset)]
    return dict(event.materialization.metadata)


def test_changed_rules_flag_an_old_day_again_and_only_new_extensions_are_requested(
    ruled: Callable[..., Account], materialize: Callable[..., Any]
) -> None:
    our = ruled()
    result, check = materialize(our)
    assert result.success and check.passed
    versions = {row["rules_version"] for row in our.archive.table("flagged_calls", DAY)}
    our.krosai.reset_counters()

    path = Path(our.environment["KROS_FLAG_RULES"])
    for changed in (EVERYONE + "# a comment\n", EVERYONE + "  - {id: shorter, description: new, extend_days: 30}\n"):
        path.write_text(changed)
        result, check = materialize(our)
        assert result.success and check.passed
        assert our.requests() == {} and metadata_of(result, "retention_extensions")["API requests"].value == 0
        flags = our.archive.table("flagged_calls", DAY)
        assert {row["rules_version"] for row in flags}.isdisjoint(versions)
        versions |= {row["rules_version"] for row in flags}
    assert {row["rule_id"] for row in flags} == {"everyone", "shorter"}

    [call, *_] = sorted(completed_of(our.krosai, DAY))
    path.write_text(EVERYONE + f"  - {{id: longer, call_ids: ['{call}'], extend_days: 300}}\n")
    materialize(our)
    assert our.requests() == {"extend": 1} and posts(our) == {call: 1}


def test_a_dry_run_shows_its_sample_and_stays_green(
    ruled: Callable[..., Account], materialize: Callable[..., Any]
) -> None:
    our = ruled()
    result, check = materialize(our, dry_run=True)
    assert result.success and check.passed
    [observed] = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    assert observed.partition == str(DAY) and observed.asset_key == dg.AssetKey("retention_extensions")
    assert not result.asset_materializations_for_node("retention_extensions")  # a dry run is no newer data
    shown = observed.asset_observation_data.asset_observation.metadata
    assert shown["would send"].value == 5 and shown["sent now"].value == 0
    records = [record.data for record in shown["would be sent"].records]
    assert [tuple(record.values()) for record in records] == [
        (call, "everyone", 120) for call in sorted(completed_of(our.krosai, DAY))
    ]
    assert posts(our) == {} and not our.archive.objects("state/extensions/")
    assert table_key("retention_extensions", DAY) not in our.archive.objects()


def test_the_red_check_says_what_to_do_and_doing_it_makes_it_green(
    ruled: Callable[..., Account], materialize: Callable[..., Any]
) -> None:
    our, calls = troubled(ruled, LOST)
    _, check = materialize(our)
    assert not check.passed
    for word in (
        "5 extensions are unconfirmed",
        "KrosAI dashboard",
        "settle",
        "resend",
        "retention_extensions",
        str(DAY),
    ):
        assert word in check.description
    _, check = materialize(our, dry_run=True, settle=calls)
    assert not check.passed  # a dry run sends nothing, and settles nothing
    _, check = materialize(our, settle=calls[1:], resend=calls[:1])
    assert check.passed and posts(our) == {calls[0]: 1}
    _, check = materialize(our)
    assert check.passed and posts(our) == {calls[0]: 1}


def test_a_refusal_shows_the_answer_of_upstream_and_can_be_settled(
    ruled: Callable[..., Account], materialize: Callable[..., Any]
) -> None:
    our, calls = troubled(ruled, REFUSED)
    _, check = materialize(our)
    assert (
        not check.passed
        and "5 extensions were refused: POST /calls/{id}/recording/extend: status 403" in check.description
    )
    _, check = materialize(our, settle=calls)
    assert check.passed
    _, check = materialize(our)
    assert check.passed and posts(our) == {}


def test_an_unknown_id_fails_the_run_with_a_sentence(
    ruled: Callable[..., Account], materialize: Callable[..., Any]
) -> None:
    our = ruled()
    result, _ = materialize(our, resend=["call_nobody"])
    [failed] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "resend: call_nobody is no decision of the day" in failed.user_failure_data.description
    assert posts(our) == {}
