"""The job `rewrite_days` and the asset `call_events`, as an operator meets them in Dagster."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.definitions import defs
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import table_key
from kros_pipeline_tests.support.memory_store import open_memory_archive
from kros_pipeline_tests.support.reader_archive import NEWER_COLUMNS, without_newer_columns

Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def our(memory_account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> Account:
    made = memory_account()

    def opened_at(texts: Any) -> RunContext:
        return open_run_context(texts, clock=made.clock, open_archive=open_memory_archive)

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def launch() -> Iterator[Launch]:
    with dg.DagsterInstance.ephemeral() as instance:

        def run(job: str, **options: Any) -> dg.ExecuteInProcessResult:
            return defs().resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)

        yield run


def rewrite(launch: Launch, **config: Any) -> dg.ExecuteInProcessResult:
    return launch("rewrite_days", run_config={"ops": {"rewrite": {"config": config}}})


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def said(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def test_rewrite_days_is_a_dry_run_by_default_and_says_what_it_would_do(our: Account, launch: Launch) -> None:
    our.run_day()
    for name in NEWER_COLUMNS:
        our.archive.write(table_key(name, DAY), without_newer_columns(our.archive.read(table_key(name, DAY)), name))
    before = our.archive.objects()
    reported = shown(launch("rewrite_days"))
    assert our.archive.objects() == before
    assert (reported["would be rewritten"], reported["days looked at"], reported["days"]) == (5, 1, str(DAY))
    assert reported["files of utterances"] == "1, without start_seconds"
    assert reported["dry run"].startswith("nothing was changed")
    reported = shown(rewrite(launch, dry_run=False, days=["2024-01-01..2025-12-31"]))
    assert (reported["rewritten"], reported["to be looked at"]) == (5, "nothing")
    for name, table in TABLES.items():
        assert pq.read_schema(io.BytesIO(our.archive.read(table_key(name, DAY)))).names == list(table.column_names)
    assert shown(rewrite(launch, dry_run=False))["rewritten"] == 0


def test_rewrite_days_refuses_days_that_cannot_be_read_and_names_files_that_cannot(
    our: Account, launch: Launch
) -> None:
    our.run_day()
    assert said(rewrite(launch, days=["10.1.2025"])).startswith("days: '10.1.2025' is no day like 2025-01-10")
    assert shown(rewrite(launch, days=["2030-01-01"]))["days looked at"] == 0
    our.archive.write(table_key("recordings", DAY), b"no parquet")
    result = rewrite(launch, dry_run=False)
    assert not result.success
    assert said(result).startswith(f"1 files could not be read or written; the others are done. recordings of {DAY}: ")


def test_call_events_is_an_asset_of_the_day_only_where_it_is_wanted(
    our: Account, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> set[str]:
        return {key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()}

    assert "call_events" not in keys()
    monkeypatch.setenv("KROS_CALL_EVENTS", "On")
    assert "call_events" in keys()
    result = launch("daily_archive", tags={"dagster/partition": str(DAY)})
    assert result.success
    [event] = result.asset_materializations_for_node("call_events")
    assert event.metadata["asked"].value == len(our.archive.table("calls", DAY)) == 8
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["every_call_was_asked_for_its_events"].passed
    assert our.archive.table("reconciliation", DAY)[0]["verdict"] == "complete"


def test_a_bad_text_of_the_setting_is_reported_by_the_run(
    our: Account, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KROS_CALL_EVENTS", "maybe")
    result = launch("rewrite_days")
    assert "KROS_CALL_EVENTS is 'maybe'" in said(result)
