"""Where a table of a day is damaged, its run fails, and the day's row says so: no row stays `complete`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.steps.run_context
from kros_pipeline.definitions import defs
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import table_key
from kros_pipeline_tests.support.memory_store import open_memory_archive

RunAssets = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run_assets(monkeypatch: pytest.MonkeyPatch) -> RunAssets:
    """Launch some assets of an account's day, all of the job where none are named."""

    def run(our: Account, *assets: str) -> dg.ExecuteInProcessResult:
        def opened_at(texts: Any) -> RunContext:
            return open_run_context(texts, clock=our.clock, open_archive=open_memory_archive)

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
        for name, value in our.environment.items():
            monkeypatch.setenv(name, value)
        return (
            defs()
            .resolve_job_def("daily_archive")
            .execute_in_process(
                tags={"dagster/partition": str(DAY)},
                raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
            )
        )

    return run


@pytest.mark.parametrize("table", ["calls", "recordings", "transcripts", "utterances", "retention_extensions"])
def test_a_run_that_meets_an_unreadable_table_writes_an_incomplete_row(
    memory_account: MakeAccount, run_assets: RunAssets, table: str
) -> None:
    our = memory_account()
    assert our.run_day().verdict.verdict == "complete"
    key = table_key(table, DAY)
    our.archive.write(key, b"<html>" * 50)
    assert not run_assets(our).success
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"
    assert any(key in problem for problem in row["problems"])
    assert our.archive.read(key) == b"<html>" * 50


@pytest.mark.parametrize("asset", ["recordings", "transcripts", "utterances", "flagged_calls", "retention_extensions"])
def test_an_asset_that_misses_the_table_of_calls_fails_in_one_sentence_and_writes_the_row(
    memory_account: MakeAccount, run_assets: RunAssets, asset: str
) -> None:
    our = memory_account()
    assert our.run_day().verdict.verdict == "complete"
    our.archive.delete(table_key("calls", DAY))
    result = run_assets(our, asset)
    [failed] = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    assert data is not None and f"calls of {DAY} is missing: materialize `calls` first" in str(data.description)
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"
    assert "The table `calls` of the day is missing." in row["problems"]
