"""The sensor `notify_of_changes`: what ended runs show is sent once, from Dagster's own event log."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

import kros_pipeline.sensors
import kros_pipeline.steps.run_context
from kros_pipeline.archive_checks import BYTES_CHECK, THE_ARCHIVE, bytes_result
from kros_pipeline.core.errors import ArchiveDenied, ArchiveUnavailable, TooManyRequests
from kros_pipeline.core.object_keys import NOTIFICATIONS
from kros_pipeline.core.seal_keys import seal_key
from kros_pipeline.definitions import defs
from kros_pipeline.failures import failure
from kros_pipeline.operations.sealing import seal_days_of
from kros_pipeline.operations.verification import Coverage, Verification
from kros_pipeline.partitions import days_under_way
from kros_pipeline.resources import Archive
from kros_pipeline.sensors import notify_of_changes
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_run
from kros_pipeline_tests.support.sealed_days import write_settled_day
from kros_pipeline_tests.support.webhook_server import Webhook, webhook_server

DAY = date(2025, 1, 10)
_numbers = itertools.count(1)


@dataclass
class Deployment:
    """A Dagster, its sensor and its cursor."""

    instance: dg.DagsterInstance
    hook: Webhook
    settings: dict[str, str]
    ctx: RunContext
    cursor: str | None = None
    skipped: list[str] = field(default_factory=list)

    def tick(self) -> list[str]:
        """Look once; return the messages that were sent."""
        before = len(self.hook.posted)
        fields: dict[str, Any] = {"kros_webhook_url": self.hook.url(), **self.settings}
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources={"archive": Archive(**fields)}
        ) as context:
            result: Any = notify_of_changes(context)
            self.cursor = context.cursor
        self.skipped.append(result.skip_message)
        return [posted["text"] for posted in self.hook.posted[before:]]

    def run(
        self, day: date | str | None = DAY, error: Exception | None = None, job: str = "daily_archive", **tags: str
    ) -> str:
        """Run a job that fails with an error, or succeeds; return the run's id."""

        @dg.op(name="work")
        def work() -> None:
            if error is not None:
                raise error

        @dg.job(name=job)
        def made() -> None:
            work()

        partition = {"dagster/partition": str(day)} if day else {}
        tagged = partition | {f"dagster/{name}": value for name, value in tags.items()}
        return made.execute_in_process(instance=self.instance, tags=tagged, raise_on_error=False).run_id

    def run_checks(self, *results: dg.AssetCheckResult) -> None:
        """Materialize `archive` with these checks; a red error fails the run, as the real one does."""

        @dg.asset(
            key=THE_ARCHIVE,
            check_specs=[dg.AssetCheckSpec(str(result.check_name), asset=THE_ARCHIVE) for result in results],
        )
        def archive() -> Iterator[Any]:
            yield dg.MaterializeResult(check_results=list(results))
            if any(not result.passed and result.severity == dg.AssetCheckSeverity.ERROR for result in results):
                raise dg.Failure(description="Standing checks are red.", allow_retries=False)

        job = dg.Definitions(
            assets=[archive], jobs=[dg.define_asset_job("standing_checks_job", selection=[archive])]
        ).resolve_job_def("standing_checks_job")
        job.execute_in_process(instance=self.instance, raise_on_error=False)

    def reconcile(self, day: date, verdict: str, failed: int = 0) -> None:
        checked(self.ctx, day, verdict, datetime.now(UTC), recordings_failed=failed)


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    archive = MemoryArchive("notify-sensor", f"test-{next(_numbers)}")
    yield archive
    archive.forget()


@pytest.fixture
def ours(archive: MemoryArchive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    clock = clock_without_waits(lambda: datetime.now(UTC))
    ctx = open_memory_run(archive, FakeCallSource([], clock), clock)
    ctx.identity.claim()
    ctx.identity.check()
    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", lambda _: ctx)
    with webhook_server() as hook, dg.DagsterInstance.ephemeral() as instance:
        yield Deployment(instance, hook, {"kros_archive_url": "s3://bucket/p"}, ctx)


def incomplete(day: date = DAY) -> dg.Failure:
    return dg.Failure(
        description=f"{day} is incomplete. 5 × recording failed: call_a, call_b, …. Somebody called +234 803 123 4567. "
        "<!channel> owed_days_schedule tries the day again."
    )


def test_a_day_is_notified_once_when_it_is_red_and_once_when_it_is_resolved(ours: Deployment) -> None:
    assert ours.tick() == []
    first = ours.run(error=incomplete())
    [message] = ours.tick()
    assert message == (
        "1 red: s3://bucket/p\n\n"
        "RED: day 2025-01-10: 2025-01-10 is incomplete. 5 × recording failed. Somebody called (number). "
        "‹!channel› owed_days_schedule tries the day again.\n"
        "Runbook: docs/runbook.md#incomplete\n"
        f"Run: http://127.0.0.1:3000/runs/{first}"
    )
    ours.reconcile(DAY, "incomplete", failed=1)
    for _ in range(3):
        ours.run(error=incomplete())
        assert ours.tick() == []
    ours.reconcile(DAY, "complete")
    last = ours.run()
    [message] = ours.tick()
    assert message == (
        "1 resolved: s3://bucket/p\n\nRESOLVED: day 2025-01-10: 2025-01-10 is complete.\n"
        f"Run: http://127.0.0.1:3000/runs/{last}"
    )
    assert ours.tick() == [] and ours.skipped[-1] == "No run ended that shows anything new."


def test_a_message_carries_the_head_of_the_seal_chain_out_of_the_account(
    ours: Deployment, archive: MemoryArchive
) -> None:
    write_settled_day(ours.ctx, DAY)
    head = seal_days_of(ours.ctx).head
    ours.run(error=RuntimeError("x"), job="erase_calls", day=None)
    [message] = ours.tick()
    assert head and message.endswith(f"\n\nHead of the seal chain: {head}")
    archive.delete(seal_key(1))
    ours.run(error=RuntimeError("x"), job="verify_archive", day=None)
    [message] = ours.tick()
    assert "RED: job verify_archive" in message and "it cannot be shown: seals/seal-000001.txt is gone" in message


def test_a_day_that_became_worse_is_notified_again(ours: Deployment) -> None:
    for failed, kind in ((2, "RED"), (3, ""), (4, "WORSE"), (5, "")):
        ours.reconcile(DAY, "incomplete", failed=failed)
        ours.run(error=incomplete())
        sent = ours.tick()
        assert [f"{kind}: day 2025-01-10" in message for message in sent] == ([True] if kind else [])


def test_a_backfill_of_many_red_days_is_one_message_a_look(ours: Deployment) -> None:
    days = [DAY + timedelta(days=number) for number in range(12)]
    for day in days:
        ours.run(day, incomplete(day))
    [message] = ours.tick()
    assert message.startswith(
        "12 red: s3://bucket/p\n\nRED: 12 days (2025-01-10, 2025-01-11, 2025-01-12, …); of the first: "
    )
    assert message.count("RED") == 1


def test_a_run_that_dagster_retries_is_not_notified_and_its_last_try_is(ours: Deployment) -> None:
    ours.run(error=incomplete(), will_retry="true")
    assert ours.tick() == []
    ours.run(error=incomplete(), will_retry="false")
    assert len(ours.tick()) == 1


def test_a_run_of_which_it_is_not_known_yet_whether_dagster_retries_it_is_waited_for(
    ours: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ours.run(error=incomplete())  # without retries Dagster does not tag it
    monkeypatch.setattr(dg.DagsterInstance, "run_retries_enabled", True)
    assert ours.tick() == []
    ours.instance.add_run_tags(run_id, {"dagster/will_retry": "false"})
    assert len(ours.tick()) == 1


def test_each_standing_check_is_a_subject_and_its_run_is_not_one_more(ours: Deployment) -> None:
    late = dg.AssetCheckResult(
        check_name="a",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description="3 late.",
        metadata={"days": 3},
    )
    bad = dg.AssetCheckResult(check_name="b", passed=False, description="2 days are missing. Mend it.")
    ours.run_checks(late, bad)
    [message] = ours.tick()
    assert message.startswith("1 red, 1 warning: s3://bucket/p\n\nRED: check b: 2 days are missing. Mend it.\n")
    assert "WARNING: check a: 3 late.\n" in message and "job" not in message
    ours.run_checks(late, bad)
    assert ours.tick() == []
    ours.run_checks(dg.AssetCheckResult(check_name="a", passed=True, description="0 days late."),
                    dg.AssetCheckResult(check_name="b", passed=True))  # fmt: skip
    [message] = ours.tick()
    assert message.startswith("2 resolved: ") and "RESOLVED: check a: 0 days late." in message


def test_a_verification_is_worse_by_what_is_wrong_and_not_by_what_was_read(ours: Deployment) -> None:
    for read, wrong, kind in ((5_000, 1, "RED"), (20_000, 1, ""), (100, 2, "WORSE")):
        drifted = [f"audio/dt=2025-01-10/call_{number}.mp3" for number in range(wrong)]
        found = Verification(days=[DAY] * read, objects=read, drifted=drifted)
        ours.run_checks(bytes_result(found, Coverage(read, read, 0, 0)))
        sent = ours.tick()
        assert [f"{kind}: check {BYTES_CHECK}: {wrong} × object with" in message for message in sent] == [True] * len(
            sent
        )
        assert len(sent) == bool(kind) and not any("call_" in message for message in sent)


def test_a_finding_is_not_resolved_by_a_night_that_reads_other_days(ours: Deployment) -> None:
    coverage, key = Coverage(2, 1, 0, 1), f"audio/dt={DAY}/call_a.mp3"
    ours.run_checks(bytes_result(Verification(days=[DAY], drifted=[key]), coverage))
    assert "RED" in ours.tick()[0]
    ours.run_checks(bytes_result(Verification(days=[DAY + timedelta(days=1)], days_with_findings=[DAY]), coverage))
    assert not any("RESOLVED" in message for message in ours.tick())
    ours.run_checks(bytes_result(Verification(days=[DAY]), Coverage(2, 2, 0, 0)))
    assert "RESOLVED" in ours.tick()[0]


def test_a_job_is_red_with_its_reason_and_what_to_do(ours: Deployment) -> None:
    error = failure(ArchiveUnavailable("S3 answers 503"), "launch it again")
    ours.run(None, error, "erase_calls")
    [message] = ours.tick()
    assert "RED: job erase_calls: S3 answers 503\nWhat to do: launch it again\n" in message
    ours.run(None, None, "erase_calls")
    [message] = ours.tick()
    assert "RESOLVED: job erase_calls: erase_calls succeeded." in message


def test_a_failure_that_is_tried_again_by_itself_is_a_warning_and_an_error_after_it_is_worse(ours: Deployment) -> None:
    ours.run(error=failure(TooManyRequests("the run's share of 500 API requests is used up (budget)")))
    [message] = ours.tick()
    assert message.startswith("1 warning: ") and "owed_days_schedule; nothing to do now" in message
    ours.run(error=failure(ArchiveDenied("S3 says AccessDenied")))
    [message] = ours.tick()
    assert message.startswith("1 worse: ") and "AccessDenied" in message


def test_while_runs_of_a_backfill_are_under_way_a_second_message_waits(ours: Deployment) -> None:
    ours.run(error=incomplete())
    running = dg.DagsterRun(
        "daily_archive", status=dg.DagsterRunStatus.STARTED, tags={"dagster/backfill": "b1", "dagster/partition": "x"}
    )
    ours.instance.add_run(running)
    assert len(ours.tick()) == 1
    ours.run(DAY + timedelta(days=1), incomplete(DAY + timedelta(days=1)))
    assert ours.tick() == []
    ours.instance.delete_run(running.run_id)
    assert len(ours.tick()) == 1


def test_a_run_that_a_person_ended_and_a_day_that_a_run_refuses_are_no_news(ours: Deployment) -> None:
    ours.instance.add_run(dg.DagsterRun("daily_archive", status=dg.DagsterRunStatus.CANCELED))
    ours.run(datetime.now(UTC).date() + timedelta(days=1), dg.Failure(description="The day is not over."))
    for no_day in ("2025-02-30", "٢٠٢٥-٠١-١٠", "9999-99-99", "x"):
        ours.run(no_day, dg.Failure(description="It is no day."))
    assert ours.tick() == []
    ours.run(error=incomplete())
    assert len(ours.tick()) == 1, "a run of no day does not keep the later ones from being seen"


def test_a_run_of_no_day_keeps_no_schedule_from_its_work() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for partition in ("2025-02-30", "2025-01-10"):
            tags = {"dagster/partition": partition}
            instance.add_run(dg.DagsterRun("daily_archive", status=dg.DagsterRunStatus.STARTED, tags=tags))
        assert days_under_way(instance) == {DAY}


def test_a_webhook_that_answers_503_is_tried_again_by_a_look_that_sees_nothing_new(
    ours: Deployment, archive: MemoryArchive
) -> None:
    ours.hook.answers = [503]
    ours.run(error=incomplete())
    assert len(ours.tick()) == 1 and "answered 503" in ours.skipped[-1]
    assert ours.tick() == [], "a minute later at the earliest"
    state = json.loads(archive.read(NOTIFICATIONS))
    [target] = state["targets"].values()
    target["not_before"] = datetime.now(UTC).isoformat()
    archive.write(NOTIFICATIONS, json.dumps(state).encode())
    assert len(ours.tick()) == 1
    assert ours.tick() == []


def test_dagsters_database_may_be_lost_and_a_second_deployment_may_share_the_archive(ours: Deployment) -> None:
    ours.run(error=incomplete())
    ours.reconcile(DAY, "incomplete")
    assert len(ours.tick()) == 1
    with dg.DagsterInstance.ephemeral() as instance:
        other = Deployment(instance, ours.hook, ours.settings, ours.ctx)
        other.run(error=incomplete())
        assert other.tick() == []
        ours.reconcile(DAY, "complete")
        other.run_checks(dg.AssetCheckResult(check_name="a", passed=True))  # the hourly look, and no run of the day
        [message] = other.tick()
    assert message.startswith("1 resolved: s3://bucket/p")
    ours.run()
    assert ours.tick() == []


def test_where_the_archive_cannot_be_used_somebody_is_notified_all_the_same_and_once(
    ours: Deployment, archive: MemoryArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_again = kros_pipeline.steps.run_context.open_run_context

    def refuse(_: Any) -> Any:
        raise ArchiveUnavailable("S3 answers 503")

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", refuse)
    ours.run(error=failure(ArchiveUnavailable("S3 answers 503")))
    assert len(ours.tick()) == 1
    ours.run(error=failure(ArchiveUnavailable("S3 answers 503")))
    assert ours.tick() == []
    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", open_again)
    ours.run(error=failure(ArchiveUnavailable("S3 answers 503")))
    assert ours.tick() == [], "what was sent meanwhile is known"
    assert f"day {DAY}" in json.loads(archive.read(NOTIFICATIONS))["red"]
    assert json.loads(ours.cursor or "{}")["state"] == ""


def test_a_bucket_that_never_answers_keeps_no_notification_back(
    ours: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def stall(_: Any) -> Any:
        is_over.wait(30)
        raise ArchiveUnavailable("S3 gives no answer")

    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", stall)
    monkeypatch.setattr(kros_pipeline.sensors, "_OPENING_SECONDS", 0.05)
    ours.run(error=failure(ArchiveUnavailable("S3 gives no answer")))
    assert len(ours.tick()) == 1
    ours.run(error=failure(ArchiveUnavailable("S3 gives no answer")))
    assert ours.tick() == []
    is_over.set()


@pytest.mark.parametrize("text", ["", "https://hooks.example/s3cr3t", "s3://user:s3cr3t@bucket/p"])
def test_what_is_set_in_place_of_the_archives_url_is_not_shown(ours: Deployment, text: str) -> None:
    ours.settings["kros_archive_url"] = text
    ours.run(error=incomplete())
    [message] = ours.tick()
    assert message.startswith("1 red: KROS_ARCHIVE_URL is missing or bad\n") and "s3cr3t" not in message


def test_an_archive_that_is_nobodys_yet_is_not_written(
    ours: Deployment, archive: MemoryArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = MemoryArchive("notify-sensor", f"test-{next(_numbers)}")
    clock = clock_without_waits(lambda: datetime.now(UTC))
    ctx = open_memory_run(new, FakeCallSource([], clock), clock)
    monkeypatch.setattr(kros_pipeline.steps.run_context, "open_run_context", lambda _: ctx)
    ours.run(error=dg.Failure(description="The key is wrong."))
    assert len(ours.tick()) == 1 and new.objects() == {}
    assert ours.tick() == []


def test_without_a_target_nothing_is_read_and_a_bad_one_is_named_without_its_url(ours: Deployment) -> None:
    def tick(**fields: str) -> Any:
        with dg.build_sensor_context(ours.instance, resources={"archive": Archive(**fields)}) as context:
            return notify_of_changes(context)

    assert "nobody is notified" in tick().skip_message
    for bad in ("slack://s3cr3t", "http://h.example/s3cr3t"):
        with pytest.raises(dg.Failure) as refusal:
            tick(kros_notify=bad)
        assert "make notify-test" in str(refusal.value.description) and "s3cr3t" not in str(refusal.value.description)


def test_the_sensor_runs_by_default() -> None:
    [sensor] = defs().sensors or []
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING and sensor.minimum_interval_seconds == 60
