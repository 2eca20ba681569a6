"""Where a person must act, the run fails and the day is incomplete: never `waiting`, and never exit code 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.assets
import kros_pipeline.steps.run_context
from kros_pipeline.archive.object_store import CREATE, Replace
from kros_pipeline.checks import LIST_CHECK
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true
from kros_pipeline_tests.support.memory_store import MemoryObjectStore, open_memory_archive

AFTER_CALLS = ("recordings", "transcripts", "utterances", "flagged_calls", "retention_extensions", "reconciliation")
FIRST_URL_REFUSED = Fault(attempts=1)  # so that each call is asked for another URL
ASK_EVERY_TRANSCRIPT = {"KROS_TRANSCRIPT_DETAILS": "always"}


@dataclass
class Ended:
    """How a run ended."""

    success: bool
    failed: dict[str, str]
    red: set[str]
    materialized: set[str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.setattr(kros_pipeline.assets, "RETRIES", dg.RetryPolicy(max_retries=2, delay=0))

    def launch(our: Account, *assets: str, **settings: str) -> Ended:
        def opened_at(texts: Any) -> RunContext:
            return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
        for name, value in (our.environment | settings).items():
            monkeypatch.setenv(name, value)
        job = defs().resolve_job_def("daily_archive")
        result = job.execute_in_process(
            tags={"dagster/partition": str(DAY)},
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
        )
        failures = {event.step_key: event.step_failure_data for event in result.all_events if event.is_step_failure}
        return Ended(
            result.success,
            {
                str(step): str(data.user_failure_data.description)
                for step, data in failures.items()
                if data.user_failure_data is not None
            },
            {check.check_name for check in result.get_asset_check_evaluations() if not check.passed},
            {
                event.asset_key.to_user_string()
                for event in result.all_events
                if event.is_step_materialization and event.asset_key
            },
        )

    return launch


def deny_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    put = MemoryObjectStore.put

    def denying(self: MemoryObjectStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.startswith("audio/"):
            raise ArchiveDenied(f"{key}: S3 says AccessDenied")
        return put(self, key, *args, **kwargs)

    monkeypatch.setattr(MemoryObjectStore, "put", denying)


def test_a_key_that_is_refused_in_the_middle_of_recordings_fails_the_run_and_the_day(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    our.krosai.set_faults(Faults(storage_denied=FIRST_URL_REFUSED, api_key_refused=Fault(routes=("recording",))))
    ended = run(our)
    assert not ended.success and ended.failed.keys() == {"recordings"}
    assert "Check KROSAI_API_KEY" in ended.failed["recordings"] and "mend this first" in ended.failed["recordings"]
    assert "every_recording_was_tried" in ended.red
    assert {"calls", "recordings", "transcripts"} <= ended.materialized and "reconciliation" not in ended.materialized
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"
    assert "a person must act" in row["problems"][0] and "Check KROSAI_API_KEY" in row["problems"][0]
    assert not row["problems"][0].endswith("..")
    our.krosai.set_faults(Faults())
    assert run(our).success
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_a_key_that_is_refused_in_the_middle_of_transcripts_fails_the_run_and_keeps_what_was_done(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    our.krosai.set_faults(Faults(api_key_refused=Fault(routes=("transcript",))))
    ended = run(our, **ASK_EVERY_TRANSCRIPT)
    assert not ended.success and ended.failed.keys() == {"transcripts"}
    assert "every_transcript_was_asked_for" in ended.red
    assert {row["status"] for row in our.archive.table("recordings", DAY)} == {"archived"}
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete" and "Check KROSAI_API_KEY" in row["problems"][0]


# The list is refused once `calls` has read it: the organization was changed in between.
def test_an_organization_that_is_refused_in_the_middle_of_a_day_fails_the_run_and_the_day(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    assert run(our, "calls").success
    our.krosai.set_faults(Faults(api_error=Fault(routes=("list",), value=403)))
    ended = run(our, *AFTER_CALLS)
    assert not ended.success and "KROSAI_ORGANIZATION_ID" in ended.failed["recordings"]
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete" and "KROSAI_ORGANIZATION_ID" in row["problems"][0]


def test_rows_of_another_organization_fail_the_run_and_the_day(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account(replace(PLAIN, organization_id="org-1"))
    our.krosai.set_faults(Faults(list_foreign_rows=Fault()))
    ended = run(our)
    assert not ended.success and LIST_CHECK in ended.red
    assert "rows of another organization (3)" in ended.failed["reconciliation"]
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"


def test_a_bucket_that_refuses_audio_fails_the_run_and_the_day(
    memory_account: MakeAccount, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = memory_account()
    deny_audio(monkeypatch)
    ended = run(our)
    assert not ended.success and "AccessDenied" in ended.failed["recordings"]
    assert "every_recording_was_tried" in ended.red
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete" and "AccessDenied" in row["problems"][0]


def test_a_server_that_ignores_conditions_is_refused_before_anything_is_archived(
    memory_account: MakeAccount, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = memory_account()
    put = MemoryObjectStore.put

    def overwriting(self: MemoryObjectStore, key: str, *args: Any, mode: Any, **kwargs: Any) -> Any:
        head = self.head(key)
        return put(self, key, *args, mode=Replace(head.version) if head is not None else CREATE, **kwargs)

    monkeypatch.setattr(MemoryObjectStore, "put", overwriting)
    ended = run(our)
    assert not ended.success and ended.failed.keys() == {"calls"} and ended.materialized == set()
    assert "ignores If-None-Match" in ended.failed["calls"] and "mend this first" in ended.failed["calls"]
    assert our.archive.objects().keys() == {"state/probe/daily.json"}
    assert our.requests().keys() == {"list"}


def test_a_bucket_that_refuses_a_table_fails_the_run_and_the_day(
    memory_account: MakeAccount, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = memory_account()
    put = MemoryObjectStore.put

    def denying(self: MemoryObjectStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.startswith("tables/transcripts/"):
            raise ArchiveDenied(f"{key}: S3 says AccessDenied")
        return put(self, key, *args, **kwargs)

    monkeypatch.setattr(MemoryObjectStore, "put", denying)
    ended = run(our)
    assert not ended.success and "AccessDenied" in ended.failed["transcripts"]
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete" and any("AccessDenied" in problem for problem in row["problems"])


def test_a_recording_step_that_is_launched_alone_fails_too(
    memory_account: MakeAccount, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = memory_account()
    assert run(our, "calls").success
    deny_audio(monkeypatch)
    assert not run(our, "recordings").success
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"


def test_a_list_that_a_bad_key_cannot_read_leaves_the_proof_of_an_earlier_run(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    assert run(our).success
    our.krosai.set_faults(Faults(api_key_refused=Fault()))
    ended = run(our)
    assert not ended.success and ended.failed.keys() == {"calls"}
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "complete"


def test_too_many_requests_end_as_waiting_and_the_run_succeeds(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    our.krosai.set_faults(
        Faults(storage_denied=FIRST_URL_REFUSED, api_rate_limited=Fault(routes=("recording",), value="3600"))
    )
    ended = run(our)
    assert ended.success and ended.red == {"every_recording_was_tried", "every_recording_is_safe"}
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "waiting"


def test_a_call_that_has_not_failed_cannot_be_acknowledged_in_the_run_config(
    memory_account: MakeAccount, run: Callable[..., Ended]
) -> None:
    our = memory_account()
    assert run(our).success
    call_id = min(row["call_id"] for row in our.archive.table("calls", DAY))
    before = our.archive.objects("tables/")
    job = defs().resolve_job_def("daily_archive")
    result = job.execute_in_process(
        tags={"dagster/partition": str(DAY)},
        raise_on_error=False,
        asset_selection=[dg.AssetKey("reconciliation")],
        run_config={"ops": {"reconciliation": {"config": {"acknowledged_call_ids": [call_id]}}}},
    )
    [failed] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None and call_id in str(failed.user_failure_data.description)
    assert our.archive.objects("tables/") == before
