"""The standing checks: what of the archive as a whole must be true every hour, and who is notified when it is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive_node import DAYS_CHECK, DELETION_CHECK, RECORDED_CHECK
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import NotificationFailed, UnknownCalls
from kros_pipeline.core.retention import warning_days
from kros_pipeline.operations.notifications import notify
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.sensors import tell_of_failures
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import DAY, PLAIN, MakeAccount
from kros_pipeline_tests.support.steps import check_health, reconcile_day


def reconciled(ctx: RunContext, day: date, verdict: str, **counts: int) -> None:
    row: dict[str, Any] = dict.fromkeys(schemas.RECONCILIATION.column_names, 0) | {
        "call_date": day, "verdict": verdict, "stats_total": None, "problems": [],
        "checked_at": ctx.clock.now(), **counts,
    }  # fmt: skip
    ctx.tables.commit(schemas.RECONCILIATION, day, lambda _: batches_of(schemas.RECONCILIATION, [row]))


def recorded(ctx: RunContext, day: date, *statuses: str) -> None:
    rows = [
        dict.fromkeys(schemas.RECORDINGS.column_names)
        | {"call_id": f"call_{number}", "call_date": day, "status": status, "attempts": 0}
        for number, status in enumerate(statuses)
    ]
    ctx.tables.commit(schemas.RECORDINGS, day, lambda _: batches_of(schemas.RECORDINGS, rows))


# A recent day: its verdict, when it is looked at, and whether it is a reason for red.
@pytest.mark.parametrize(
    ("verdict", "now", "sentence"),
    [
        (None, "2025-01-11T05:10:00Z", "2025-01-10 was never archived."),
        ("complete", "2025-01-11T05:10:00Z", None),
        ("incomplete", "2025-01-11T05:10:00Z", "2025-01-10 is incomplete."),
        ("waiting", "2025-01-14T23:10:00Z", None),
        ("waiting", "2025-01-15T00:10:00Z", "2025-01-10 is still waiting, a day after its grace days."),
        # two weeks later it is no recent day any more
        (None, "2025-01-25T00:10:00Z", None),
    ],
)
def test_a_recent_day_must_be_archived_and_not_wait_too_long(
    account: MakeAccount, verdict: str | None, now: str, sentence: str | None
) -> None:
    our = account(now=datetime.fromisoformat(now))
    if verdict:
        reconciled(our.ctx, DAY, verdict)
    assert check_health(our.ctx, DAY, DAY).days == ([sentence] if sentence else [])


# Pro keeps 30 days: 2025-01-10 is deleted from 2025-02-09 on.
@pytest.mark.parametrize(
    ("today", "days_left", "is_urgent"),
    [("2025-02-01", None, False), ("2025-02-02", 7, False), ("2025-02-05", 4, False), ("2025-02-06", 3, True),
     ("2025-02-09", 0, True)],
)  # fmt: skip
def test_an_unarchived_recording_is_a_warning_and_then_an_error_before_upstream_deletes_it(
    account: MakeAccount, today: str, days_left: int | None, is_urgent: bool
) -> None:
    our = account(now=datetime.fromisoformat(f"{today}T12:00:00Z"), KROSAI_PLAN="pro")
    reconciled(our.ctx, DAY, "incomplete", recordings_failed=1, recordings_pending=1)
    recorded(our.ctx, DAY, "archived", "pending", "not_recorded", "failed", "lost")
    found = check_health(our.ctx, DAY, DAY)
    assert (found.least_days_left, found.is_urgent) == (days_left, is_urgent)
    assert (found.count, found.calls) == (
        (2, [("call_1", DAY, days_left), ("call_3", DAY, days_left)]) if days_left is not None else (0, [])
    )


def test_a_day_that_was_never_listed_is_at_risk_as_a_whole(account: MakeAccount) -> None:
    our = account(now=datetime(2025, 2, 6, tzinfo=UTC), KROSAI_PLAN="pro")
    found = check_health(our.ctx, DAY, DAY)
    assert (found.days_never_listed, found.count, found.is_urgent) == ([(DAY, 3)], 0, True)


def test_the_count_is_exact_and_the_sample_capped(account: MakeAccount) -> None:
    our = account(now=datetime(2025, 2, 6, tzinfo=UTC), KROSAI_PLAN="pro")
    reconciled(our.ctx, DAY, "waiting", recordings_pending=50)
    recorded(our.ctx, DAY, *["pending"] * 50)
    found = check_health(our.ctx, DAY, DAY)
    assert (found.count, len(found.calls)) == (50, 20)


def test_a_recording_that_upstream_keeps_without_end_is_never_about_to_be_deleted(account: MakeAccount) -> None:
    our = account(now=datetime(2025, 1, 12, tzinfo=UTC), KROSAI_PLAN="enterprise")
    assert check_health(our.ctx, DAY, DAY).least_days_left is None


@pytest.mark.parametrize(("retention_days", "days"), [(7, (3, 1)), (30, (7, 3)), (90, (7, 3)), (365, (7, 3))])
def test_a_short_retention_warns_later_and_a_long_one_a_week_before(retention_days: int, days: tuple[int, int]) -> None:
    assert warning_days(retention_days) == days


# The job.


def run_standing_checks(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    from kros_pipeline.definitions import defs

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs().resolve_job_def("standing_checks_job")
        return job.execute_in_process(instance=instance, raise_on_error=False)


def test_a_red_standing_check_fails_its_run_and_says_what_to_do(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(KROS_START_DATE="2025-01-10")
    result = run_standing_checks(our.environment, monkeypatch)
    assert not result.success
    reported = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(reported) == {DAYS_CHECK, DELETION_CHECK, RECORDED_CHECK}
    assert not reported[DAYS_CHECK].passed
    assert "was never archived." in reported[DAYS_CHECK].description
    assert "open the day's last run" in reported[DAYS_CHECK].description
    assert our.requests() == {}, "only the archive is read"


def test_an_archive_that_begins_today_has_no_day_to_miss(account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime.now(UTC).date().isoformat()
    result = run_standing_checks(account(KROS_START_DATE=today).environment, monkeypatch)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())


# Are calls still recorded?


def test_a_day_on_which_recording_seems_switched_off_is_a_warning_that_says_what_to_do(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_due = (datetime.now(UTC) - timedelta(days=1, hours=6)).date()
    days = [last_due - timedelta(days=number) for number in range(8, -1, -1)]
    our = account(KROS_START_DATE=days[0].isoformat())
    our.ctx.identity.claim()
    for day in days[:-1]:
        reconciled(our.ctx, day, "complete", calls=40, recordings_archived=30, recordings_lost=4, recordings_failed=4)
    reconciled(our.ctx, days[-1], "waiting", calls=40, recordings_archived=18, recordings_pending=22)
    result = run_standing_checks(our.environment, monkeypatch)
    assert result.success, "a warning fails no run"
    [reported] = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert reported.check_name == RECORDED_CHECK and reported.severity is dg.AssetCheckSeverity.WARN
    assert f"{days[-1]}: 18 of 40 calls have a recording, where 95% had one in the days before." in reported.description
    assert "launch the job turn_on_recording" in reported.description


def test_the_recorded_share_is_seen_over_three_weeks_whatever_upstreams_retention(account: MakeAccount) -> None:
    our = account(now=datetime(2025, 1, 25, 12, tzinfo=UTC), KROSAI_PLAN="free")
    reconciled(our.ctx, date(2025, 1, 8), "complete", calls=20, recordings_archived=20)
    reconciled(our.ctx, date(2025, 1, 22), "complete", calls=20, recordings_archived=9)
    found = check_health(our.ctx, date(2025, 1, 1), date(2025, 1, 24))
    assert [(drop.recorded_day.day, drop.recorded_day.recorded, drop.share_before) for drop in found.drops] == [
        (date(2025, 1, 22), 9, 1.0)
    ]
    assert found.days_never_listed[0][0] == date(2025, 1, 18), "what upstream has deleted is not at risk any more"


# Notifications.


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A server that keeps what is posted to it."""
    reported: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reported.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/secret-path", reported
        finally:
            server.shutdown()
            thread.join()


def test_a_sentence_is_posted_as_slack_takes_it() -> None:
    with webhook() as (url, reported):
        notify(url, "a day failed")
    assert reported == [{"text": "a day failed"}]


# The URL is a secret: no refusal shows it.
@pytest.mark.parametrize("url", ["", "ftp://host/secret", "http://example.com/secret", "https://[secret", "secret"])
def test_a_webhook_that_is_no_https_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(NotificationFailed) as refusal:
        notify(url, "a day failed")
    assert "secret" not in str(refusal.value)


def test_a_webhook_that_does_not_take_it_is_an_error_that_does_not_show_its_path() -> None:
    with webhook(status=500) as (url, _), pytest.raises(NotificationFailed, match="answered 500") as refusal:
        notify(url, "a day failed")
    assert "secret" not in str(refusal.value)


def test_a_failed_day_is_posted_with_its_first_sentence_and_no_call(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kros_pipeline.definitions import defs
    from kros_pipeline.resources import Archive

    our = account()
    our.krosai.set_faults(Faults(storage_missing=Fault()))
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    with webhook() as (url, reported), dg.DagsterInstance.ephemeral() as instance:
        fields: dict[str, Any] = {"kros_webhook_url": url}
        job = defs().resolve_job_def("daily_archive")
        result = job.execute_in_process(instance=instance, partition_key=str(DAY), raise_on_error=False)
        assert not result.success
        failed = next(event for event in result.all_events if event.is_failure and event.is_job_event)
        with dg.build_run_status_sensor_context(
            sensor_name="tell_of_failures",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=failed,
            resources={"archive": Archive(**fields)},
        ).for_run_failure() as context:
            tell_of_failures(context)
    link = "docs/runbook.md#incomplete"
    assert reported == [{"text": f"daily_archive {DAY} failed: {DAY} is incomplete. (run {result.run_id[:8]}, {link})"}]


# What an operator acknowledges.


def test_an_acknowledged_lost_recording_no_longer_fails_the_day_and_stays_among_its_problems(
    account: MakeAccount,
) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(storage_missing=Fault()))
    lost = [call["id"] for call in our.krosai.expected_calls(str(DAY))]
    assert our.run_day().verdict.verdict == "incomplete"
    accepted = reconcile_day(our.ctx, DAY, lost)
    assert accepted.verdict.verdict == "complete"
    assert accepted.row["recordings_lost"] == len(lost)
    assert f"{len(lost)} × recording that is not safe, acknowledged" in " ".join(accepted.row["problems"])
    assert reconcile_day(our.ctx, DAY).verdict.verdict == "complete", "it is said once, and stays said"


def test_an_acknowledgement_of_another_days_call_is_refused_by_name(account: MakeAccount) -> None:
    our = account(PLAIN)
    our.run_day()
    with pytest.raises(UnknownCalls, match="call_elsewhere"):
        reconcile_day(our.ctx, DAY, ["call_elsewhere"])
