"""Wire assets, checks, jobs, schedules and the resource together. The one place that reads the environment."""

import os
from typing import Any

import dagster as dg

from .archive_node import archive_asset, verification_check
from .assets import daily_assets
from .core.settings import find_unknown_names
from .erasure_job import erase_calls_job
from .evidence_job import export_evidence_job
from .jobs import (
    accept_quarantined_job,
    daily_archive_job,
    read_webhook_deliveries_job,
    standing_checks_job,
    test_rules_job,
    turn_on_recording_job,
    verify_archive_job,
)
from .partitions import daily_partitions
from .resources import Archive
from .schedules import (
    daily_archive_schedule,
    owed_days_schedule,
    settled_days_schedule,
    standing_checks_schedule,
    verify_archive_schedule,
    webhook_deliveries_schedule,
)
from .sealing_job import seal_days_job, seal_days_schedule
from .sensors import tell_of_failures
from .steps.process import configure_process
from .steps.settings import SETTINGS, read_code_versions


@dg.definitions
def defs() -> dg.Definitions:
    """Make all definitions.

    calls → recordings, transcripts → utterances → flagged_calls → retention_extensions → reconciliation → archive.
    """
    configure_process()
    days = daily_partitions(os.environ, os.environ.get("DAGSTER_HOME"))
    url = os.environ.get("KROS_ARCHIVE_URL")
    assets = daily_assets(days, read_code_versions(os.environ), url)
    archive, verification = archive_asset(days, url), verification_check()
    daily, nightly = daily_archive_job(assets), verify_archive_job(verification)
    hourly = standing_checks_job(archive, verification)
    sealing = seal_days_job()
    deliveries = read_webhook_deliveries_job(days.start.date())
    # An EnvVar that is not set fails a run in a hundred lines; a setting that is left out fails it in one sentence.
    given = {name for name, text in os.environ.items() if text.strip()}
    declared = [setting.name for setting in SETTINGS]
    fields: dict[str, Any] = {name.lower(): dg.EnvVar(name) for name in declared if name in given}
    unknown_names = " ".join(find_unknown_names(given, declared))
    return dg.Definitions(
        assets=[*assets, archive],
        asset_checks=[verification],
        jobs=[
            daily,
            hourly,
            nightly,
            deliveries,
            sealing,
            erase_calls_job(),
            export_evidence_job(),
            accept_quarantined_job(),
            turn_on_recording_job(),
            test_rules_job(),
        ],
        schedules=[
            daily_archive_schedule(daily),
            owed_days_schedule(daily, days),
            settled_days_schedule(daily, days),
            standing_checks_schedule(hourly),
            verify_archive_schedule(nightly),
            webhook_deliveries_schedule(deliveries),
            seal_days_schedule(sealing),
        ],
        sensors=[tell_of_failures],
        resources={"archive": Archive(unknown_names=unknown_names, **fields)},
        # Concurrency lives inside the steps, in threads: a process for each would cost a day ten seconds.
        executor=dg.in_process_executor,
    )
