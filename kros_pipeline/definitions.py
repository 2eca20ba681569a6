"""Wire assets, checks, jobs, schedules and the resource together. The one place that reads the environment.

This location has everything, for one process with one role. `pipeline_location` and `operator_location` split it: each
is served by a code server of its own, with the rights that its runs need.
"""

import os
import sys
from typing import Any

import dagster as dg

from .acceptance_job import accept_quarantined_job
from .archive_node import archive_asset, verification_check
from .assets import daily_assets
from .call_events_asset import call_events_asset
from .core.settings import find_unknown_names
from .erasure_job import erase_calls_job
from .evidence_job import export_evidence_job
from .jobs import (
    daily_archive_job,
    read_webhook_deliveries_job,
    standing_checks_job,
    test_rules_job,
    turn_on_recording_job,
    verify_archive_job,
)
from .old_runs import delete_old_runs_job, old_runs_schedule
from .partitions import daily_partitions
from .past_days_job import report_past_days_job
from .plan_job import plan_days_job
from .resources import Archive
from .rewrite_job import rewrite_days_job
from .schedules import (
    daily_archive_schedule,
    owed_days_schedule,
    plan_days_schedule,
    settled_days_schedule,
    standing_checks_schedule,
    verify_archive_schedule,
    webhook_deliveries_schedule,
)
from .sealing_job import seal_days_job, seal_days_schedule
from .sensors import notify_of_changes
from .steps.process import configure_process
from .steps.settings import SETTINGS, read_code_versions, wants_call_events


@dg.definitions
def defs() -> dg.Definitions:
    """Make all definitions.

    calls → recordings, transcripts → utterances → flagged_calls → retention_extensions → reconciliation → archive.
    """
    return dg.Definitions(
        **_pipeline(operators_jobs=[erase_calls_job(), turn_on_recording_job()]),
        **_used_by_all(),
    )


def pipeline_definitions() -> dg.Definitions:
    """Make what runs with the pipeline's role: all but the jobs that delete in the archive or change the account."""
    return dg.Definitions(**_pipeline(operators_jobs=[]), **_used_by_all())


def operator_definitions() -> dg.Definitions:
    """Make what runs with the erasure role, and with an API key that may change the account's settings."""
    # Of workers that have the role. Two deployments on one Redis have two queues here, too; ignored without Celery.
    queue = {"dagster-celery/queue": f"{os.environ.get('DAGSTER_CELERY_QUEUE') or 'kros'}-operator"}
    jobs = [erase_calls_job(queue), turn_on_recording_job(queue)]
    return dg.Definitions(jobs=jobs, **_used_by_all())


def _pipeline(*, operators_jobs: list[dg.JobDefinition]) -> dict[str, Any]:
    days = daily_partitions(os.environ, os.environ.get("DAGSTER_HOME"), sys.argv)
    url = os.environ.get("KROS_ARCHIVE_URL")
    assets = daily_assets(days, read_code_versions(os.environ), url)
    if wants_call_events(os.environ):
        assets.append(call_events_asset(days, url))
    archive, verification = archive_asset(days, url), verification_check()
    daily, nightly = daily_archive_job(assets), verify_archive_job(verification)
    hourly = standing_checks_job(archive, verification)
    deliveries, old_runs = read_webhook_deliveries_job(days.start.date()), delete_old_runs_job()
    plan, sealing = plan_days_job(days), seal_days_job()
    return {
        "assets": [*assets, archive],
        "asset_checks": [verification],
        "jobs": [
            daily,
            hourly,
            nightly,
            deliveries,
            old_runs,
            plan,
            sealing,
            export_evidence_job(),
            accept_quarantined_job(),
            test_rules_job(),
            rewrite_days_job(),
            report_past_days_job(assets, days.start.date()),
            *operators_jobs,
        ],
        "schedules": [
            daily_archive_schedule(daily),
            owed_days_schedule(daily, days),
            plan_days_schedule(plan, days),
            settled_days_schedule(daily, days),
            standing_checks_schedule(hourly),
            verify_archive_schedule(nightly),
            webhook_deliveries_schedule(deliveries),
            old_runs_schedule(old_runs),
            seal_days_schedule(sealing),
        ],
        "sensors": [notify_of_changes],  # it reads the runs of every location: a second one would send the same again
    }


def _used_by_all() -> dict[str, Any]:
    """Return what every location needs."""
    configure_process()
    # An EnvVar that is not set fails a run in a hundred lines; a setting that is left out fails it in one sentence.
    given = {name for name, text in os.environ.items() if text.strip()}
    declared = [setting.name for setting in SETTINGS]
    fields: dict[str, Any] = {name.lower(): dg.EnvVar(name) for name in declared if name in given}
    unknown_names = " ".join(find_unknown_names(given, declared))
    return {
        "resources": {"archive": Archive(unknown_names=unknown_names, **fields)},
        # Concurrency lives inside the steps, in threads: a process for each would cost a day ten seconds.
        "executor": dg.in_process_executor,
    }
