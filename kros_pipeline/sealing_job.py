"""The job `seal_days` and its schedule: settled days are sealed every hour, the oldest first."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from .failures import raise_as_dagster_failure
from .resources import Archive
from .runbook import runbook_metadata

if TYPE_CHECKING:
    from .operations.sealing import SealingReport

SEAL_DAYS = "seal_days"
_MAX_SHOWN = 20


def seal_days_job() -> dg.JobDefinition:
    """Make the job that seals settled days, and signs and time-stamps what is not yet."""

    @dg.op(name="seal")
    def seal(context: dg.OpExecutionContext, archive: Archive) -> None:
        from .operations.sealing import seal_days_of

        with raise_as_dagster_failure("the schedule looks again within the hour"):
            ctx = archive.open(context)
            ctx.counts_usage = True
            ctx.prepare_archive(asks_source=False)
            report = seal_days_of(ctx)
        for sentence in report.owed:
            context.log.warning(sentence)
        metadata = _sealing_metadata(report)
        if report.refused:
            more = len(report.refused) - 1
            raise dg.Failure(
                description=report.refused[0] + (f" ({more} more in the metadata)" if more else ""),
                metadata=metadata
                | {"to be mended": "; ".join(report.refused[:_MAX_SHOWN])}
                | runbook_metadata("SealRefused"),
                allow_retries=False,
            )
        context.add_output_metadata(metadata)

    @dg.job(
        name=SEAL_DAYS,
        description="Seals settled days: records, manifest, and a seal that anybody can check without this software.",
    )
    def seal_all() -> None:
        seal()

    return seal_all


def seal_days_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Seal what was settled since, every hour: a job of its own, so that no day waits for it, or fails with it."""
    return dg.ScheduleDefinition(
        name="seal_days_schedule",
        job=job,
        cron_schedule="55 * * * *",
        description="Seals the days that were settled, or have changed, since the last look.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _sealing_metadata(report: "SealingReport") -> dict[str, Any]:
    """Return counts, days, sentences and the head of the chain; nothing that names a call."""
    shown = [str(day) for day in report.sealed[:_MAX_SHOWN]]
    more = len(report.sealed) - len(shown)
    return {
        "days sealed": len(report.sealed),
        "which": ", ".join(shown) + (f" and {more} more" if more > 0 else "") or "none",
        "days for the next look": report.left,
        "owed": "; ".join(report.owed[:_MAX_SHOWN]) or "nothing",
        "seals": report.attachments.seals,
        "seals without a signature": report.attachments.unsigned,
        "seals without a time-stamp": report.attachments.unstamped,
        "head of the chain": report.head or "none",
    }
