"""The real job, through Dagster: its graph, its runs, and what an operator sees of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import kros_pipeline.failures
import kros_pipeline.steps.run_context
from kros_pipeline.core.object_keys import quota_key, usage_key
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import (
    DAY,
    LAST_CHANCE,
    PLAIN,
    VARIED,
    WITHIN_GRACE,
    Account,
    MakeAccount,
)
from kros_pipeline_tests.support.archive_check import (
    SECRETS,
    assert_archive_is_true,
    assert_nothing_is_false,
    completed_of,
    table_key,
)

ROOT = Path(__file__).parents[2]
ASSETS = ("calls", "recordings", "transcripts", "utterances", "flagged_calls", "retention_extensions", "reconciliation")
RECONCILIATION_CHECKS = {
    "every_call_is_accounted_for",
    "every_recording_is_safe",
    "every_transcript_is_parsed",
    "no_object_is_unknown",
}


@dataclass
class Run:
    """One run of the job in this process, and what its instance keeps of it."""

    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance

    @property
    def succeeded(self) -> bool:
        return self.result.success

    def metadata(self, asset: str) -> dict[str, Any]:
        [event] = self.result.asset_materializations_for_node(asset)
        return {name: value.value for name, value in event.metadata.items()}

    def checks(self) -> dict[str, Any]:
        return {check.check_name: check for check in self.result.get_asset_check_evaluations()}

    def red(self) -> set[str]:
        return {name for name, check in self.checks().items() if not check.passed}

    def failures(self) -> str:
        """What an operator reads first of the steps that failed by themselves."""
        failed = [event.step_failure_data for event in self.result.all_events if event.is_step_failure]
        return " ".join(str(data.user_failure_data.description) for data in failed if data.user_failure_data)

    def log(self) -> str:
        """Everything of the run that the instance keeps, as JSON."""
        records = self.instance.get_records_for_run(self.result.run_id).records
        entries: list[Any] = [record.event_log_entry for record in records]  # `to_json` has no annotations
        return " ".join(entry.to_json() for entry in entries)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def run_job(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Runs `daily_archive` for an account's day as the CLI would, but here, and by the account's clock."""
    monkeypatch.setattr(kros_pipeline.failures, "RETRY_DELAY_SECONDS", 0.0)

    def run(our: Account, day: object = DAY, **settings: str | None) -> Run:
        def opened_at(texts: Any) -> RunContext:
            return open_run_context(texts, clock=our.clock)

        monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
        for name, value in (our.environment | settings).items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        job = defs().resolve_job_def("daily_archive")
        # As the CLI names the partition: Dagster does not ask whether there is such a one.
        result = job.execute_in_process(tags={"dagster/partition": str(day)}, instance=instance, raise_on_error=False)
        return Run(result, instance)

    return run


# The map.


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting at all."""
    for name in list(os.environ):
        if name.startswith(("KROS_", "KROSAI_", "AWS_")):
            monkeypatch.delenv(name)


def test_definitions_load_with_no_setting_at_all(unset: None) -> None:
    dg.Definitions.validate_loadable(defs())


def test_each_asset_depends_on_the_assets_that_it_reads(unset: None) -> None:
    graph = defs().resolve_asset_graph()
    deps = {
        key.to_user_string(): {dep.to_user_string() for dep in graph.get(key).parent_keys}
        for key in graph.materializable_asset_keys
    }
    assert deps.keys() == {*ASSETS, "archive"}
    assert deps["calls"] == set()
    assert deps["recordings"] == deps["transcripts"] == {"calls"}
    assert "transcripts" in deps["utterances"] and "utterances" in deps["flagged_calls"]
    assert "flagged_calls" in deps["retention_extensions"]
    assert deps["reconciliation"] >= {"recordings", "retention_extensions"}
    assert deps["archive"] == {"reconciliation"}


def test_the_job_has_the_seven_assets_and_their_own_checks_in_one_process(unset: None) -> None:
    job = defs().resolve_job_def("daily_archive")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(ASSETS)
    assert {key.name for key in job.asset_layer.asset_graph.asset_check_keys} >= RECONCILIATION_CHECKS
    assert job.executor_def.name == "in_process"
    implicit = defs().resolve_implicit_global_asset_job_def()  # what the UI launches
    assert implicit.executor_def.name == "in_process"


def test_every_check_of_a_day_is_of_that_day(unset: None) -> None:
    graph = defs().resolve_job_def("daily_archive").asset_layer.asset_graph
    assert graph.asset_check_keys
    for key in graph.asset_check_keys:
        assert graph.get(key).partitions_def is not None, key.name


# What asks the API shares one slot; what does not waits for nobody.
def test_the_assets_that_ask_the_api_share_the_pool(unset: None) -> None:
    pools = {asset.key.to_user_string(): asset.op.pool for asset in defs().assets or ()}  # type: ignore[union-attr]
    assert {name for name, pool in pools.items() if pool == "krosai"} == {
        "calls", "recordings", "transcripts", "retention_extensions", "reconciliation",
    }  # fmt: skip
    assert pools["utterances"] is pools["flagged_calls"] is None
    limits = yaml.safe_load((ROOT / "dagster.yaml").read_text())["concurrency"]["pools"]
    assert limits["default_limit"] == 1


def test_retries_do_not_multiply() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert settings["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert settings["run_monitoring"]["max_runtime_seconds"] > 0


def test_the_first_partition_is_the_start_date(unset: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def first() -> str | None:
        return defs().resolve_job_def("daily_archive").partitions_def.get_first_partition_key()  # type: ignore[union-attr]

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert first() == str(datetime.now(UTC).date() - timedelta(days=30))  # what upstream keeps on plan pro
    monkeypatch.setenv("KROSAI_RETENTION_DAYS", "7")
    assert first() == str(datetime.now(UTC).date() - timedelta(days=7))
    monkeypatch.setenv("KROS_START_DATE", "2025-03-04")
    assert first() == "2025-03-04"


def test_a_bad_start_date_is_named_at_load(unset: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KROS_START_DATE", "yesterday")
    with pytest.raises(ValueError, match="KROS_START_DATE"):
        defs()


def test_both_schedules_run_by_themselves(unset: None) -> None:
    schedules = {name: defs().resolve_schedule_def(name) for name in ("daily_archive_schedule", "owed_days_schedule")}
    for schedule in schedules.values():
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        assert schedule.job_name == "daily_archive"
        assert schedule.execution_timezone in (None, "UTC")
    assert re.fullmatch(r"\d+ [3-6] \* \* \*", str(schedules["daily_archive_schedule"].cron_schedule))
    assert re.fullmatch(r"\d+ \* \* \* \*", str(schedules["owed_days_schedule"].cron_schedule))


@pytest.mark.filterwarnings("ignore:.*run_request_for_partition:DeprecationWarning")  # Dagster's own, of itself
def test_a_tick_on_one_day_runs_the_day_before(
    unset: None, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KROS_START_DATE", "2025-01-01")
    context = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2025, 1, 11, 4, 15, tzinfo=UTC))
    tick = defs().resolve_schedule_def("daily_archive_schedule").evaluate_tick(context)
    [request] = tick.run_requests or ()
    assert request.partition_key == "2025-01-10"
    assert int(request.tags["dagster/priority"]) > 0, "it does not wait behind a backfill in the queue"


def test_the_workspace_loads_the_one_code_location() -> None:
    [place] = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    module = place["python_module"]
    assert module["location_name"] == project["code_location_name"] == "kros_pipeline"
    assert module["module_name"] == project["defs_module"] == "kros_pipeline.definitions"


# A day.


@pytest.mark.slow
def test_the_cli_line_archives_a_day_against_what_the_environment_names(account: MakeAccount, tmp_path: Path) -> None:
    our = account(VARIED)
    command = [
        str(Path(sys.executable).parent / "dagster"), "job", "execute", "-m", "kros_pipeline.definitions",
        "-j", "daily_archive", "--tags", json.dumps({"dagster/partition": str(DAY)}),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment | our.environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_archive_is_true(our.krosai, our.archive, DAY)
    assert not SECRETS.search((done.stdout + done.stderr).encode())


def test_a_second_run_changes_nothing_but_the_reconciliation_and_downloads_nothing(
    account: MakeAccount, run_job: Callable[..., Run]
) -> None:
    our = account(VARIED, now=LAST_CHANCE)
    assert run_job(our).succeeded
    assert_archive_is_true(our.krosai, our.archive, DAY)
    before = our.archive.objects()
    our.krosai.reset_counters()
    again = run_job(our)
    assert again.succeeded and not again.red()
    after = our.archive.objects()
    assert before.keys() == after.keys()
    # When the list was last read, that the day was checked again, and what that has used, is all that is new.
    assert {key for key in before if before[key] != after[key]} <= {
        table_key("reconciliation", DAY),
        f"state/listings/dt={DAY}.json",
        f"state/tables/dt={DAY}.json",
        usage_key(LAST_CHANCE.date()),
        quota_key(LAST_CHANCE.date()),
    }
    assert our.krosai.counters()["storage_requests"] == 0
    assert {name for name in ASSETS if again.metadata(name)["table changed"]} <= {"reconciliation"}


def test_each_materialization_says_what_was_done(account: MakeAccount, run_job: Callable[..., Run]) -> None:
    our = account(VARIED, now=LAST_CHANCE)
    run = run_job(our)
    truth = completed_of(our.krosai, DAY)
    shown = {name: run.metadata(name) for name in ASSETS}
    for name in ASSETS:
        assert {"seconds", "API requests", "S3 requests", "table bytes", "dagster/row_count"} <= shown[name].keys(), (
            name
        )
        assert shown[name]["dagster/row_count"] == len(our.archive.table(name, DAY)), name
        assert shown[name]["S3 requests"] > 0, name
    recorded = [call for call in truth.values() if call["recorded"]]
    assert shown["calls"]["dagster/row_count"] == shown["calls"]["listed"] == len(truth)
    assert shown["recordings"]["archived now"] == shown["recordings"]["archived"] == len(recorded)
    assert shown["recordings"]["bytes archived now"] == sum(call["size_bytes"] for call in recorded)
    assert shown["reconciliation"]["verdict"] == "complete"
    assert sum(shown[name]["API requests"] for name in ASSETS) == sum(our.requests().values())


def test_calls_says_which_dialect_the_api_speaks(account: MakeAccount, run_job: Callable[..., Run]) -> None:
    run = run_job(account(replace(PLAIN, bridge="/v1", organization_id="org-1")))
    assert run.succeeded and run.metadata("calls")["dialect"] == "offset, Bridge"


def test_each_asset_shows_its_tables_columns_with_their_descriptions(unset: None) -> None:
    graph = defs().resolve_asset_graph()
    for name in ASSETS:
        schema = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"]
        columns = {column.name: column.description for column in schema.columns}
        assert columns == {column.name: column.description for column in TABLES[name].columns}
        assert all(columns.values())


# A day that goes wrong in many ways at once, with a rule that flags: no event may say what was said, or who called.
def test_no_event_of_a_run_holds_a_secret_a_number_or_speech(
    account: MakeAccount, run_job: Callable[..., Run], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: everyone, text_matches: '(?i)[a-z]{3}', extend_days: 120}\n")
    our = account(VARIED, KROS_FLAG_RULES=str(rules))
    our.krosai.set_faults(
        Faults(
            url_foreign=Fault(share=0.2),
            storage_denied=Fault(share=0.3),
            storage_html=Fault(share=0.3),
            list_malformed=Fault(share=0.2),
            extend_refused=Fault(share=0.3),
            extend_lost=Fault(share=0.3),
        )
    )
    run = run_job(our)
    assert not run.succeeded
    log = run.log()
    assert "every_recording_is_safe" in log and "recording failed" in log  # it is the whole log that is searched
    assert not SECRETS.search(log.encode())
    assert our.environment["KROSAI_API_KEY"] not in log
    calls = our.archive.table("calls", DAY)
    assert calls and our.archive.table("retention_extensions", DAY)
    for row in calls:
        assert row["from_number"] not in log and row["to_number"] not in log
    speech = {row["text"] for row in our.archive.table("utterances", DAY) if len(row["text"]) > 15}
    assert speech and not [text for text in speech if json.dumps(text)[1:-1] in log or text in log]


def test_a_day_that_is_not_over_is_refused_without_a_request(account: MakeAccount, run_job: Callable[..., Run]) -> None:
    our = account()
    today = datetime.now(UTC).date()
    for day in (today, today + timedelta(days=1)):
        run = run_job(our, day)
        assert not run.succeeded
        assert "is not over" in run.failures()
    assert our.requests() == {} and our.archive.objects() == {}


def test_an_incomplete_day_fails_with_red_checks_that_say_why(
    account: MakeAccount, run_job: Callable[..., Run]
) -> None:
    our = account()
    gone, foreign = sorted(completed_of(our.krosai, DAY))[:2]
    our.krosai.set_faults(Faults(storage_missing=Fault(calls=(gone,)), url_foreign=Fault(calls=(foreign,))))
    run = run_job(our)
    assert not run.succeeded
    assert run.red() == {"every_recording_is_safe"}
    said = run.checks()["every_recording_is_safe"].description
    assert f"1 × recording lost: {gone}" in said and f"1 × recording refused: {foreign}" in said
    assert "materialize the whole day" in run.failures()
    assert (
        run.instance.get_materialized_partitions(dg.AssetKey("reconciliation")) == set()
    )  # so that a backfill takes it
    assert run.instance.get_materialized_partitions(dg.AssetKey("recordings")) == {str(DAY)}
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "incomplete"
    assert_nothing_is_false(our.krosai, our.archive, DAY)

    our.krosai.set_faults(Faults())  # mended
    again = run_job(our)
    assert again.succeeded and not again.red()
    assert_archive_is_true(our.krosai, our.archive, DAY)


def test_a_red_check_of_one_day_leaves_other_days_green(
    account: MakeAccount, run_job: Callable[..., Run], instance: dg.DagsterInstance
) -> None:
    our = account()
    our.krosai.set_faults(Faults(url_foreign=Fault(calls=(min(completed_of(our.krosai, DAY)),))))
    assert not run_job(our).succeeded
    assert run_job(our, "2025-01-11").succeeded
    key = dg.AssetCheckKey(dg.AssetKey("reconciliation"), "every_recording_is_safe")
    checks = [
        record.event.dagster_event.asset_check_evaluation_data
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
        if record.event is not None and record.event.dagster_event is not None
    ]
    assert {check.partition: check.passed for check in checks} == {str(DAY): False, "2025-01-11": True}


def test_a_day_that_waits_for_late_data_succeeds(account: MakeAccount, run_job: Callable[..., Run]) -> None:
    our = account(replace(PLAIN, late_share=0.5), now=WITHIN_GRACE, fresh=True)
    run = run_job(our)
    assert run.succeeded and run.red() == {"every_recording_is_safe", "every_transcript_is_parsed"}
    assert all(check.severity is dg.AssetCheckSeverity.WARN for check in run.checks().values() if not check.passed)
    assert run.metadata("reconciliation")["verdict"] == "waiting"
    assert "pending" in str(run.metadata("reconciliation")["problems"])
    our.krosai.release_late()
    assert run_job(our).succeeded
    assert_archive_is_true(our.krosai, our.archive, DAY)


# An asset that has no check of the failing kind must not hide it: the day fails wherever it went wrong.
@pytest.mark.parametrize(
    ("faults", "asset", "words"),
    [
        (Faults(api_key_refused=Fault(routes=("list",))), "calls", ("401", "KROSAI_API_KEY")),
        (Faults(list_unknown_shape=Fault()), "calls", ("neither 'calls' nor 'data'", "items")),
        (Faults(list_not_json=Fault()), "calls", ("not JSON",)),
        (Faults(api_error=Fault(routes=("list",), value=503)), "calls", ("503",)),
        (Faults(api_rate_limited=Fault(routes=("list",), value="3600")), "calls", ("3,600 seconds", "quota")),
    ],
    ids=["key", "shape", "html", "503", "quota"],
)
def test_a_list_that_cannot_be_read_fails_in_one_sentence_and_touches_nothing(
    account: MakeAccount, run_job: Callable[..., Run], faults: Faults, asset: str, words: tuple[str, ...]
) -> None:
    our = account()
    our.krosai.set_faults(faults)
    run = run_job(our)
    assert not run.succeeded
    for word in words:
        assert word in run.failures()
    assert "Traceback" not in run.failures()
    assert our.archive.objects() == {}
    assert {event.step_key for event in run.result.all_events if event.is_step_failure} == {asset}


# Only what may be otherwise in a moment is started again within the run.
@pytest.mark.parametrize(
    ("fault", "starts"),
    [(Faults(api_error=Fault(routes=("list",))), 2), (Faults(api_key_refused=Fault(routes=("list",))), 1)],
)
def test_a_step_is_started_again_only_where_that_may_help(
    account: MakeAccount, run_job: Callable[..., Run], fault: Faults, starts: int
) -> None:
    our = account()
    our.krosai.set_faults(fault)
    run = run_job(our)
    kinds = [event.event_type_value for event in run.result.all_events if event.step_key == "calls"]
    assert kinds.count("STEP_START") + kinds.count("STEP_RESTARTED") == starts


# Settings: each bad one is one sentence, and nothing is asked or written.
BAD_PATTERN = "rules:\n  - {id: broken, text_matches: '(', extend_days: 30}\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KROSAI_API_KEY": None}, ("KROSAI_API_KEY is missing",)),
        ({"KROSAI_API_KEY": "wêird"}, ("KROSAI_API_KEY",)),
        ({"KROSAI_PLAN": "gold"}, ("KROSAI_PLAN", "'gold'", "enterprise")),
        ({"KROSAI_AUTH": "cookie"}, ("KROSAI_AUTH", "'cookie'")),
        ({"KROSAI_BASE_URL": "http://api.example.com/v1"}, ("KROSAI_BASE_URL", "https")),
        ({"KROSAI_REQUESTS_PER_SECOND": "-1"}, ("KROSAI_REQUESTS_PER_SECOND",)),
        ({"KROSAI_REQUESTS_PER_RUN": "many"}, ("KROSAI_REQUESTS_PER_RUN", "'many'")),
        ({"KROSAI_RETENTION_DAYS": "0"}, ("KROSAI_RETENTION_DAYS",)),
        ({"KROS_ARCHIVE_URL": None}, ("KROS_ARCHIVE_URL is missing",)),
        ({"KROS_ARCHIVE_URL": "s3://"}, ("KROS_ARCHIVE_URL", "bucket")),
        ({"KROS_ARCHIVE_URL": "/var/archive"}, ("KROS_ARCHIVE_URL", "s3://bucket/prefix")),
        ({"KROS_RECORDING_HOSTS": "https://x/y"}, ("KROS_RECORDING_HOSTS",)),
        ({"KROS_SSE": "rot13"}, ("KROS_SSE", "'rot13'")),
        ({"KROS_SSE": "aws:kms"}, ("KROS_KMS_KEY_ID",)),
        ({"KROS_LOOKBACK_DAYS": "soon"}, ("KROS_LOOKBACK_DAYS", "'soon'")),
        ({"KROS_TRANSCRIPT_DETAILS": "sometimes"}, ("KROS_TRANSCRIPT_DETAILS", "'sometimes'")),
        ({"KROS_DOWNLOAD_WORKERS": "0"}, ("KROS_DOWNLOAD_WORKERS",)),
        ({"KROS_FLAG_RULES": "/no/such/file.yaml"}, ("KROS_FLAG_RULES", "cannot be read")),
        ({"KROS_FLAG_RULES": BAD_PATTERN}, ("KROS_FLAG_RULES", "'broken'", "text_matches")),
        ({"KROSAI_TIMEZONE": "Mars/Base"}, ("KROSAI_TIMEZONE", "'Mars/Base'")),
        ({"KROS_LOOKBAK_DAYS": "5"}, ("KROS_LOOKBAK_DAYS is no setting: did you mean KROS_LOOKBACK_DAYS?",)),
        ({"KROSAI_API_KEY": None, "KROSAI_PLAN": "gold"}, ("KROSAI_API_KEY", "KROSAI_PLAN")),  # all of them at once
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_a_bad_setting_is_one_sentence_that_names_it_and_nothing_is_touched(
    account: MakeAccount,
    run_job: Callable[..., Run],
    settings: dict[str, str | None],
    words: tuple[str, ...],
    tmp_path: Path,
) -> None:
    if settings.get("KROS_FLAG_RULES") == BAD_PATTERN:
        (tmp_path / "rules.yaml").write_text(BAD_PATTERN)
        settings = {"KROS_FLAG_RULES": str(tmp_path / "rules.yaml")}
    our = account()
    run = run_job(our, **settings)
    assert not run.succeeded
    said = run.failures()
    for word in words:
        assert word in said
    assert "Traceback" not in said and len(said) < 1_000
    assert our.requests() == {} and our.archive.objects() == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KROSAI_API_KEY": "kros_test_wrong"}, ("401", "KROSAI_API_KEY")),
        ({"KROS_ARCHIVE_URL": "s3://no-such-bucket/x"}, ("NoSuchBucket",)),
    ],
    ids=["wrong key", "no bucket"],
)
def test_a_wrong_key_or_bucket_is_one_sentence_and_nothing_is_written(
    account: MakeAccount, run_job: Callable[..., Run], settings: dict[str, str], words: tuple[str, ...]
) -> None:
    our = account()
    run = run_job(our, **settings)
    assert not run.succeeded
    for word in words:
        assert word in run.failures()
    assert "Traceback" not in run.failures() and "kros_test_wrong" not in run.log()
    assert our.archive.objects() == {}


def test_the_hourly_schedule_asks_for_the_owed_days_oldest_first(
    account: MakeAccount, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(KROSAI_PLAN="free", KROS_START_DATE="2025-01-01")
    now = datetime(2025, 1, 12, 10, 40, tzinfo=UTC)
    our.now = now

    def opened_at(texts: Any) -> RunContext:
        return open_run_context(texts, clock=our.clock)

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", opened_at)
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    schedule = defs().resolve_schedule_def("owed_days_schedule")
    with (
        dg.instance_for_test() as kept,
        dg.build_schedule_context(
            kept, scheduled_execution_time=now, resources=defs().resources, repository_def=defs().get_repository_def()
        ) as context,
    ):
        # A day whose run is under way is not asked for again.
        kept.add_run(
            dg.DagsterRun("daily_archive", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "2025-01-06"})
        )
        tick = schedule.evaluate_tick(context)
    requests = tick.run_requests or ()
    assert [request.partition_key for request in requests] == ["2025-01-05", "2025-01-07", "2025-01-08"]
    assert all(str(request.partition_key) in str(request.run_key) for request in requests)
    assert [request.tags["kros/reason"] for request in requests] == ["missing"] * 3
    assert len({request.run_key for request in requests}) == 3


@pytest.mark.parametrize("selection", [[name] for name in ASSETS] + [list(ASSETS)])
def test_every_asset_can_be_launched_by_itself_and_includes_no_standing_check(selection: list[str]) -> None:
    job = defs().resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection={dg.AssetKey(name) for name in selection})
    assert {node.name for node in subset.nodes} == set(selection)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({}, "Which day?"),
        ({"dagster/partition": "2024-12-31"}, "2024-12-31 is before KROS_START_DATE"),
    ],
)
def test_a_missing_or_too_early_day_is_refused_and_nothing_is_touched(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], words: str
) -> None:
    our = account()
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs().resolve_job_def("daily_archive")
        with pytest.raises(dg.Failure, match=words) as refusal:
            job.execute_in_process(instance=instance, tags=tags)
    assert not refusal.value.allow_retries
    assert our.archive.objects() == {} and our.requests() == {}


# Whose archive, and of which version.


def write_identity(our: Account, **fields: Any) -> None:
    """Replace `state/archive.json` by one with these fields only."""
    our.archive.write("state/archive.json", json.dumps(fields).encode())


def test_another_accounts_key_fails_the_run_before_anything_is_written(
    account: MakeAccount, run_job: Callable[..., Run]
) -> None:
    our, other = account(PLAIN), account(replace(PLAIN, seed=8, api_key="kros_test_other"))
    run_job(our)
    stored = our.archive.json("state/archive.json")
    write_identity(our, **stored | {"base_url": other.environment["KROSAI_BASE_URL"]})  # two accounts at one API
    before = our.archive.objects()
    run = run_job(our, **other.environment | {"KROS_ARCHIVE_URL": our.environment["KROS_ARCHIVE_URL"]})
    assert not run.succeeded and our.archive.objects() == before
    assert "has calls that this API key does not list: of 2025-01-10 it lists 8 calls" in run.failures()


def test_the_first_run_migrates_an_archive_of_version_0_1_0_and_sends_nothing_twice(
    account: MakeAccount, run_job: Callable[..., Run], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: all, extend_days: 90}\n")
    our = account(PLAIN, fresh=True, KROS_FLAG_RULES=str(rules))
    assert run_job(our).succeeded
    claims = our.archive.objects("state/decisions/").keys()
    stored = our.archive.json("state/archive.json")
    write_identity(our, base_url=stored["base_url"], organization_id=None, format=1)
    for key in [*claims, f"tables/retention_extensions/dt={DAY}/part-0.parquet"]:
        our.archive.delete(key)
    before = our.archive.objects()
    run = run_job(our)
    assert run.succeeded and not run.red()
    assert our.archive.json("state/archive.json") == stored
    assert our.archive.objects("state/decisions/").keys() == claims != set()
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    assert {key for key in before if before[key] != our.archive.objects().get(key)} <= {
        "state/archive.json",
        f"state/listings/dt={DAY}.json",
        f"state/tables/dt={DAY}.json",
        table_key("reconciliation", DAY),
        usage_key(our.now.date()),
        quota_key(our.now.date()),
    }
