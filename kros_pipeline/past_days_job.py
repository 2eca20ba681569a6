"""The job `report_past_days`: puts back what Dagster's database knew of complete days, from the archive.

Dagster's database is expendable: the archive itself says which days are complete. After the loss of the database the UI
shows all days as missing. This job reports each complete day as materialized, with the checks that its row proves.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .checks import LIST_CHECK, RECORDINGS_TRIED_CHECK, TRANSCRIPTS_ASKED_CHECK
from .core import schemas
from .core.verdict import CALLS_CHECK, OBJECTS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK
from .failures import raise_as_dagster_failure
from .jobs import NO_RETRY, opens_with
from .resources import Archive

if TYPE_CHECKING:
    from .archive.parquet import Row

REPORT_PAST_DAYS = "report_past_days"
# What `complete` with a proved list says. Other checks are left as they are: a row does not say what they were about.
_PROVED_CHECKS = {
    schemas.CALLS.name: (LIST_CHECK,),
    schemas.RECORDINGS.name: (RECORDINGS_TRIED_CHECK,),
    schemas.TRANSCRIPTS.name: (TRANSCRIPTS_ASKED_CHECK,),
    schemas.RECONCILIATION.name: (CALLS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK, OBJECTS_CHECK),
}
_COUNTS = {
    schemas.CALLS.name: ("calls",),
    schemas.RECORDINGS.name: ("recordings_archived", "objects_in_bucket", "bytes_in_bucket"),
    schemas.TRANSCRIPTS.name: ("transcripts_kept",),
    schemas.UTTERANCES.name: ("utterances",),
    schemas.RECONCILIATION.name: ("calls", "recordings_archived", "transcripts_kept", "audio_seconds"),
}
_MAX_SHOWN_DAYS = 31


class PastDaysConfig(dg.Config):
    """Which days to report."""

    days: list[str] = Field(
        default=[],
        description="Days, such as 2025-01-10, or ranges: 2025-01-01..2025-01-31; by default all of the archive.",
    )
    again: bool = Field(default=False, description="Report also the days that Dagster knows as materialized.")
    dry_run: bool = Field(default=False, description="Only say which days would be reported.")


def report_past_days_job(assets: Sequence[dg.AssetsDefinition], first_day: date) -> dg.JobDefinition:
    """Make the job that reports past days from `first_day` on, the first partition.

    It reads the archive, writes to Dagster's database only, and does not ask KrosAI.
    """
    names = [asset.key.to_user_string() for asset in assets]

    @dg.op(name="report_days", out=dg.Out(dg.Nothing))
    def report_days(context: dg.OpExecutionContext, config: PastDaysConfig, archive: Archive) -> Iterator[Any]:
        from .operations.past_days import find_past_days
        from .operations.rule_trial import read_days

        known = {name: context.instance.get_materialized_partitions(dg.AssetKey(name)) for name in names}
        reported: list[date] = []
        known_days, others = 0, Counter[str]()
        with raise_as_dagster_failure(NO_RETRY):
            ctx = archive.open(context)
            wanted = read_days(config.days) if config.days else None
            for found in find_past_days(wanted, store=ctx.store, tables=ctx.tables):
                others += found.others
                for day, row in found.complete.items():
                    unknown = [name for name in names if config.again or day.isoformat() not in known[name]]
                    if day < first_day:
                        others["before KROS_START_DATE"] += 1
                    elif not unknown:
                        known_days += 1
                    else:
                        reported.append(day)
                        if not config.dry_run:
                            yield from _events_of(day, row, unknown)  # events of a run: one without may come only once
                context.log.info("%d complete days reported so far", len(reported))
            requests = ctx.store.requests_made
        metadata = _metadata(reported, is_dry_run=config.dry_run) | {
            "days that Dagster knew already": known_days,
            "days that are not reported": ", ".join(f"{count} {why}" for why, count in others.items()) or "none",
            "S3 requests": requests,
        }
        yield dg.Output(None, metadata=metadata)

    @dg.job(
        name=REPORT_PAST_DAYS,
        config=opens_with("report_days", days=[], again=False, dry_run=True),
        description="Puts complete days back into Dagster's database, from the archive, after that database was lost.",
    )
    def report() -> None:
        report_days()

    return report


def _events_of(
    day: date, row: "Row", names: Sequence[str]
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """Yield the events of one complete day, in the order of the graph: what follows must not look older."""
    said = f"Put back from the archive: the day was complete on {row['checked_at']:%Y-%m-%d %H:%M} UTC."
    for name in names:
        counts = {column.replace("_", " "): row[column] for column in _COUNTS.get(name, ()) if row[column] is not None}
        metadata = {"put back from": "tables/reconciliation", "checked at": f"{row['checked_at']:%Y-%m-%d %H:%M} UTC"}
        yield dg.AssetMaterialization(name, description=said, metadata=metadata | counts, partition=day.isoformat())
        for check_name in _PROVED_CHECKS.get(name, ()):
            yield dg.AssetCheckEvaluation(
                dg.AssetKey(name), check_name, passed=True, description=said, partition=day.isoformat()
            )


def _metadata(reported: list[date], *, is_dry_run: bool) -> dict[str, Any]:
    """Return which days were reported, or would be, and what to do next."""
    shown = [day.isoformat() for day in reported[:_MAX_SHOWN_DAYS]]
    more = [f"and {len(reported) - len(shown)} more"] if len(reported) > len(shown) else []
    which = ", ".join([*shown, *more]) or "none"
    if not is_dry_run:
        next_step = "Nothing: owed_days_schedule takes up the days that are not complete."
        return {"days reported": len(reported), "which": which, "what to do next": next_step}
    next_step = "Set dry_run to false, and launch the job again." if reported else "Nothing."
    return {
        "dry run": "nothing was reported",
        "days that would be reported": len(reported),
        "which": which,
        "what to do next": next_step,
    }
