"""The asset `archive`: at the end of the graph, launched by itself, and materialized whatever its checks say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from kros_pipeline import archive_node
from kros_pipeline.archive.latest_look import read_latest_look
from kros_pipeline.archive_checks import (
    BYTES_CHECK,
    DAYS_CHECK,
    DELETION_CHECK,
    STANDING_CHECKS,
    THE_ARCHIVE,
)
from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.definitions import defs
from kros_pipeline.operations import health
from kros_pipeline.operations.health import ArchiveHealth
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.webhook_server import webhook_server

STANDING = set(STANDING_CHECKS)
BYTES = dg.AssetCheckKey(THE_ARCHIVE, BYTES_CHECK)


@dataclass
class Launched:
    """What a launch left."""

    success: bool
    checks: dict[str, Any]
    steps: set[str]
    metadata: list[dict[str, Any]]
    said: str


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Launched]]:
    with dg.DagsterInstance.ephemeral() as instance:

        def run(our: Account, job: str = "standing_checks_job", **selection: Any) -> Launched:
            for name, value in our.environment.items():
                monkeypatch.setenv(name, value)
            selected = defs().get_repository_def().get_job(job).get_subset(**selection)
            result = selected.execute_in_process(instance=instance, raise_on_error=False)
            failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
            event = instance.get_latest_materialization_event(THE_ARCHIVE)
            kept = [event.asset_materialization] if event is not None else []
            return Launched(
                result.success,
                {check.check_name: check for check in result.get_asset_check_evaluations()},
                {event.step_key for event in result.all_events if event.is_step_start and event.step_key},
                [{name: value.value for name, value in each.metadata.items()} for each in kept if each],
                " ".join(str(data.user_failure_data.description) for data in failed if data.user_failure_data),
            )

        yield run


def finds(monkeypatch: pytest.MonkeyPatch, found: ArchiveHealth) -> None:
    monkeypatch.setattr(health, "check_health", lambda *_, **__: found)


# The graph.


def test_the_archive_is_an_asset_without_partitions_that_depends_on_reconciliation() -> None:
    node = defs().resolve_asset_graph().get(THE_ARCHIVE)
    assert node.is_materializable and node.partitions_def is None
    assert node.parent_keys == {dg.AssetKey("reconciliation")}
    assert {key.name for key in node.check_keys} == {*STANDING, BYTES_CHECK}


@pytest.mark.parametrize(
    ("job", "assets", "checks"),
    [("standing_checks_job", {THE_ARCHIVE}, STANDING), ("verify_archive", set(), {BYTES_CHECK})],
)
def test_each_job_of_the_archive_selects_its_own_checks(job: str, assets: set[dg.AssetKey], checks: set[str]) -> None:
    layer = defs().resolve_job_def(job).asset_layer
    assert set(layer.executable_asset_keys) == assets
    assert {key.name for key in layer.asset_graph.asset_check_keys} == checks


def test_the_daily_job_has_nothing_of_the_archive_as_a_whole() -> None:
    layer = defs().resolve_job_def("daily_archive").asset_layer
    assert THE_ARCHIVE not in layer.executable_asset_keys
    assert not [key for key in layer.asset_graph.asset_check_keys if key.asset_key == THE_ARCHIVE]


def test_the_schedule_launches_the_job_every_hour() -> None:
    schedule = defs().resolve_schedule_def("standing_checks_schedule")
    assert (schedule.job_name, schedule.cron_schedule) == ("standing_checks_job", "10 * * * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


# Its runs.


def test_a_healthy_archive_materializes_with_zeros(account: MakeAccount, launch: Callable[..., Launched]) -> None:
    our = account(KROS_START_DATE=datetime.now(UTC).date().isoformat())
    launched = launch(our)
    assert launched.success and not our.archive.objects(), "the archive is nobody's yet"
    assert launched.checks.keys() == STANDING and all(check.passed for check in launched.checks.values())
    [metadata] = launched.metadata
    numbers = {name: value for name, value in metadata.items() if isinstance(value, int | float)}
    full = {"days verified in the last 28 days (%)": 100.0, "API requests that the plan allows a day": 500_000}
    assert {name: value for name, value in numbers.items() if value} == full
    assert list(metadata)[:4] == ["days complete", "days waiting", "days incomplete", "days missing"]
    assert {
        "calls", "audio (GB)", "audio (minutes)", "API requests today", "S3 cost of the month (US dollars, estimate)",
    } <= numbers.keys()  # fmt: skip
    assert "us-east-1" in metadata["S3 cost is estimated by"]


@pytest.mark.parametrize("first_days_ago", [0, 4])
def test_the_heartbeat_is_pinged_after_each_look_that_ran_to_its_end_red_or_green(
    account: MakeAccount, launch: Callable[..., Launched], first_days_ago: int
) -> None:
    first = (datetime.now(UTC) - timedelta(days=first_days_ago)).date().isoformat()
    with webhook_server() as hook:
        hook.answers = [500, 200]
        our = account(KROS_START_DATE=first, KROS_HEARTBEAT_URL=hook.url())
        for number in (1, 2):  # a ping that is not accepted changes nothing
            launched = launch(our)
            assert launched.success == (first_days_ago == 0) and len(launched.metadata) == 1
            assert len(hook.asked) == number


def test_the_heartbeat_is_not_pinged_by_a_look_that_broke_off(
    account: MakeAccount, launch: Callable[..., Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> ArchiveHealth:
        raise ArchiveUnavailable("S3 answers 503")

    monkeypatch.setattr(health, "check_health", fail)
    with webhook_server() as hook:
        assert not launch(account(KROS_HEARTBEAT_URL=hook.url())).success
    assert not hook.asked


def test_what_the_s3_server_can_do_is_shown(account: MakeAccount, launch: Callable[..., Launched]) -> None:
    our = account(KROS_START_DATE=datetime.now(UTC).date().isoformat())
    our.ctx.prepare_archive()
    our.ctx.identity.claim()
    [metadata] = launch(our).metadata
    assert metadata["S3 create-only and conditional writes"] == "honoured"
    assert metadata["S3 SHA-256 of a body"] == "compared"
    assert metadata["S3 erasure"] == "not probed: erase_calls was never launched"
    assert "at http://127.0.0.1:" in metadata["S3 server"]


def test_the_metrics_are_of_the_last_look_whatever_it_found(
    account: MakeAccount, launch: Callable[..., Launched]
) -> None:
    our = account(KROS_START_DATE=(datetime.now(UTC) - timedelta(days=4)).date().isoformat())
    our.ctx.identity.claim()
    our.run_day()
    asked = sum(our.requests().values())
    assert not launch(our).success
    look = read_latest_look(our.ctx.store)
    assert look is not None and datetime.now(UTC) - look.looked_at < timedelta(minutes=5)
    assert look.checks.keys() == STANDING and not look.checks[DAYS_CHECK]
    assert (look.numbers["calls"], look.numbers["days_complete"] + look.numbers["days_waiting"]) == (8, 1)
    assert look.numbers["api_requests_today"] == 0 < asked, "the day was run by another clock"


def test_a_red_error_materializes_with_its_numbers_and_then_fails_the_run(
    account: MakeAccount, launch: Callable[..., Launched]
) -> None:
    launched = launch(account(KROS_START_DATE=(datetime.now(UTC) - timedelta(days=4)).date().isoformat()))
    assert not launched.success
    assert launched.said.startswith(f"Standing checks are red: {DAYS_CHECK}. ")
    assert "was never archived." in launched.said and "owed_days_schedule takes them up" in launched.said
    assert not launched.checks[DAYS_CHECK].passed and launched.checks.keys() == STANDING
    [metadata] = launched.metadata
    assert metadata["missing, incomplete or overdue days"] in (3, 4)  # the day before yesterday may not be due yet


def test_the_numbers_are_those_of_the_health(
    account: MakeAccount, launch: Callable[..., Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ArchiveHealth(
        days=["2025-01-10 is incomplete."],
        count=12,
        days_never_listed=[(DAY, 3), (DAY, 4)],
        least_days_left=3,
        is_urgent=True,
    )
    finds(monkeypatch, found)
    launched = launch(account())
    [metadata] = launched.metadata
    shown = {
        "missing, incomplete or overdue days": 1,
        "which days, and why": "2025-01-10 is incomplete.",
        "never listed days": 2,
        "unarchived recordings near deletion": 12,
        "days with fewer recorded calls": 0,
        "days until the next deletion": 3,
    }
    assert {name: metadata[name] for name in shown} == shown
    assert launched.said.startswith(f"Standing checks are red: {DAYS_CHECK}, {DELETION_CHECK}. ")


def test_a_changed_day_that_upstream_has_no_more_is_red_and_says_what_to_do(
    account: MakeAccount, launch: Callable[..., Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "2023-01-10: deleted since its check: the table `transcripts`."
    finds(monkeypatch, ArchiveHealth(other_days=[sentence]))
    launched = launch(account())
    assert not launched.success and launched.said.startswith(f"Standing checks are red: {DAYS_CHECK}. {sentence}")
    assert "restore each deleted, replaced or unreadable table" in launched.said
    assert "owed_days_schedule" not in launched.said
    [metadata] = launched.metadata
    assert metadata["which days, and why"] == sentence


@pytest.mark.parametrize("is_urgent", [False, True])
def test_a_red_warning_does_not_fail_the_run_and_a_red_error_does(
    account: MakeAccount, launch: Callable[..., Launched], monkeypatch: pytest.MonkeyPatch, is_urgent: bool
) -> None:
    finds(monkeypatch, ArchiveHealth(count=1, least_days_left=6, is_urgent=is_urgent))
    launched = launch(account())
    assert launched.success is not is_urgent
    assert not launched.checks[DELETION_CHECK].passed
    assert len(launched.metadata) == 1


def test_an_archive_that_cannot_be_read_fails_in_one_sentence_and_does_not_materialize(
    account: MakeAccount, launch: Callable[..., Launched]
) -> None:
    launched = launch(account(KROS_ARCHIVE_URL="s3://no-such-bucket/x"))
    assert not launched.success and "NoSuchBucket" in launched.said
    assert launched.metadata == [] and launched.checks == {}


# The UI launches an asset by the implicit job, with every check of it that can be run.


def test_launched_in_the_ui_it_reads_no_audio_back(
    account: MakeAccount, launch: Callable[..., Launched], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(replace(PLAIN, audio_seconds=(1, 2)), KROS_START_DATE=datetime.now(UTC).date().isoformat())
    monkeypatch.setattr(archive_node, "_select_days", lambda *_: pytest.fail("audio is read back"))
    everything = {BYTES, *(dg.AssetCheckKey(THE_ARCHIVE, name) for name in STANDING)}
    launched = launch(our, "__ASSET_JOB", asset_selection={THE_ARCHIVE}, asset_check_selection=everything)
    assert launched.success
    assert launched.checks.keys() == STANDING
    assert len(launched.metadata) == 1


def test_the_verification_alone_reads_audio_back_from_the_ui_too(
    account: MakeAccount, launch: Callable[..., Launched]
) -> None:
    launched = launch(account(), "__ASSET_JOB", asset_check_selection={BYTES})
    assert launched.success
    assert launched.checks.keys() == {BYTES_CHECK} and launched.steps == {"verification"}
    assert launched.metadata == []
