"""The sensors: who is notified when a run fails."""

import dagster as dg

from .core.errors import ExternalError
from .core.settings import BadSettings
from .failures import failure
from .resources import Archive
from .runbook import read_link
from .steps.settings import parse_webhook_url


@dg.run_failure_sensor(
    name="tell_of_failures",
    description="Posts one sentence to KROS_WEBHOOK_URL, if that is set, for each failed run. It names nobody.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def tell_of_failures(context: dg.RunFailureSensorContext, archive: Archive) -> dg.SkipReason | None:
    """Post the failure of a day, or of a red standing check, which fails its run."""
    from .operations.notifications import notify

    try:
        url = parse_webhook_url(archive.texts())
    except BadSettings as error:
        raise failure(error) from None
    if url is None:
        return dg.SkipReason("KROS_WEBHOOK_URL is not set.")
    run = context.dagster_run
    what = f"{run.job_name} {run.tags.get('dagster/partition', '')}".strip()
    try:
        notify(url, f"{what} failed: {_first_sentence(context)} (run {run.run_id[:8]}, {_find_link(context)})")
    except ExternalError as error:
        raise failure(error) from None
    return None


def _first_sentence(context: dg.RunFailureSensorContext) -> str:
    """Return the first sentence of the first failure. The sentences after it may name calls."""
    for event in context.get_step_failure_events():
        user_failure = event.step_failure_data.user_failure_data
        if user_failure is not None and user_failure.description:
            return user_failure.description.split(". ")[0].rstrip(".") + "."
    return "Dagster shows why."


def _find_link(context: dg.RunFailureSensorContext) -> str:
    """Return the place of the runbook's section about the first failure."""
    events = context.get_step_failure_events()
    failures = [event.step_failure_data.user_failure_data for event in events]
    return read_link(next((found.metadata for found in failures if found is not None), None))
