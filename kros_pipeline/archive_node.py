"""The asset `archive`: the archive as a whole, at the end of the graph, with its standing checks.

Every hour it materializes with the numbers of the archive's health. It has no partitions: what it says is of all days.
The check that reads audio back belongs to the same asset, and is a step of its own.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from .archive_checks import (
    BYTES_CHECK,
    STANDING_CHECKS,
    THE_ARCHIVE,
    archive_metadata,
    bytes_result,
    standing_check_results,
)
from .catalog import OWNERS, place_metadata
from .core import schemas
from .core.errors import ExternalError
from .failures import raise_as_dagster_failure
from .jobs import VERIFY_ARCHIVE
from .partitions import days_under_way, show_earlier_days
from .resources import Archive
from .runbook import page_metadata, runbook_metadata, with_runbook_link

_SCHEDULE_HEAD_START = timedelta(days=1, hours=6)  # yesterday's schedule begins after 4 hours, and has 2 hours to end


def archive_asset(days: dg.DailyPartitionsDefinition, archive_url: str | None = None) -> dg.AssetsDefinition:
    """Make the asset of the archive as a whole. A red check of severity ERROR fails its run, and the sensor posts it.

    It materializes before that: its numbers are wanted most where something is wrong.
    """

    @dg.asset(
        key=THE_ARCHIVE,
        deps=[schemas.RECONCILIATION.name],
        description=with_runbook_link(
            "The archive as a whole: is a day missing, is a recording about to be lost, are calls recorded?",
            THE_ARCHIVE.to_user_string(),
        ),
        group_name="archive",
        kinds={"s3"},
        owners=OWNERS,
        metadata=place_metadata(archive_url) | runbook_metadata(THE_ARCHIVE.to_user_string()) | page_metadata(),
        check_specs=[_check_spec(name, description) for name, description in STANDING_CHECKS.items()],
    )
    def archive(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[Any]:
        from .archive.capabilities import read_capabilities
        from .archive.latest_look import write_latest_look
        from .archive.request_quota import read_requests_of_day
        from .operations.archive_totals import gather_totals
        from .operations.health import check_health
        from .operations.metrics import make_look
        from .operations.sealing import describe_seals

        first = date.fromisoformat(days.get_first_partition_key() or "9999-12-31")
        with raise_as_dagster_failure("the schedule looks again within the hour"):
            ctx = archive.open(context)
            found = read_capabilities(ctx.store)
            shown = found.describe() if found is not None else {}
            seals = describe_seals(ctx.store, ctx.clock)
            ctx.counts_usage = True
            last = (datetime.now(UTC) - _SCHEDULE_HEAD_START).date()
            health = check_health(
                first,
                last,
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                lookback_days=ctx.settings.lookback_days,
                under_way=days_under_way(context.instance),
            )
            totals = gather_totals(
                first,
                last,
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                requests_per_day=ctx.settings.source.plan.requests_per_day,
                api_requests_today=read_requests_of_day(ctx.store, ctx.clock.now().date()),
            )
            results = standing_check_results(health, totals)
            checks = {str(result.check_name): result.passed for result in results}
            if ctx.identity.is_claimed:  # nothing is written into an archive that is nobody's yet
                write_latest_look(ctx.store, make_look(totals, checks, ctx.clock.now()))
        if totals.first_day is not None and totals.first_day < first:
            context.log.info(show_earlier_days(context.instance.root_directory, totals.first_day, first))
        yield dg.MaterializeResult(metadata=archive_metadata(health, totals) | shown | seals, check_results=results)
        _ping_heartbeat(context, ctx.settings.notifications.heartbeat_url)
        red = [result for result in results if not result.passed]
        if any(result.severity == dg.AssetCheckSeverity.ERROR for result in red):
            names = [str(result.check_name) for result in red]
            reasons = " ".join(str(result.description) for result in red)
            raise dg.Failure(
                description=f"Standing checks are red: {', '.join(names)}. {reasons}",
                metadata=runbook_metadata(*names),
                allow_retries=False,
            )

    return archive


def _check_spec(name: str, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name, asset=THE_ARCHIVE, description=with_runbook_link(description, name), metadata=runbook_metadata(name)
    )


def _ping_heartbeat(context: dg.AssetExecutionContext, url: str | None) -> None:
    """Ping the dead man's switch, if there is one: the look ran to its end, red or green. It never fails the look."""
    from .operations.heartbeat import ping_heartbeat

    if url is None:
        return
    try:
        ping_heartbeat(url)
    except ExternalError as error:
        context.log.warning(f"{error} The next look pings again.")


class VerificationConfig(dg.Config):
    """Which days to read back; by default those whose turn it is today, a twenty-eighth, and those with findings."""

    days: list[str] = Field(default=[], description="Days like 2025-01-10, read back now.")
    everything: bool = Field(
        default=False,
        description="Every day of the archive, now: it takes as long as reading all its audio does. If it is killed, "
        "launch it again: it goes on where it was.",
    )


def verification_check() -> dg.AssetChecksDefinition:
    """Make the check that reads archived audio back and hashes it. Red bytes fail the run."""

    @dg.multi_asset_check(
        name="verification",
        can_subset=True,  # so that it may yield nothing
        specs=[
            _check_spec(
                BYTES_CHECK,
                "Recordings, read back, have the SHA-256 of their tables; a 28th of the days each day. Red until every "
                "day with findings was read again, and was sound. A later "
                'materialization of `archive` hides the result: "Execution history" shows it.',
            )
        ],
    )
    def verification(
        context: dg.AssetCheckExecutionContext, config: VerificationConfig, archive: Archive
    ) -> Iterator[Any]:
        if THE_ARCHIVE in context.op_execution_context.job_def.asset_layer.executable_asset_keys:
            # The UI adds every check of an asset to its materialization, and this one reads gigabytes.
            context.log.info("Nothing was read back: launch the job %s for that.", VERIFY_ARCHIVE)
            return
        from .archive.archived_days import archived_days
        from .archive.verified_days import read_verified_days
        from .operations.archive_totals import read_coverage
        from .operations.verification import verify_days

        with raise_as_dagster_failure("launch it again for these days; the schedule goes on with others"):
            ctx = archive.open(context)
            ctx.counts_usage = True
            with_findings = read_verified_days(ctx.store).with_findings
            found = verify_days(
                _select_days(config, archived_days(ctx.store), datetime.now(UTC).date(), with_findings),
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                audit_log=ctx.audit_log,
                clock=ctx.clock,
                threads=ctx.settings.download_workers,
                log=ctx.log,
                is_everything=config.everything,
            )
            coverage = read_coverage(store=ctx.store, tables=ctx.tables, clock=ctx.clock)
        result = bytes_result(found, coverage)
        yield result
        if not found.is_sound:
            raise dg.Failure(
                description=f"{BYTES_CHECK} is red. {result.description}",
                metadata=runbook_metadata(BYTES_CHECK),
                allow_retries=False,
            )

    return verification


def _select_days(
    config: VerificationConfig, archived: list[date], today: date, with_findings: Mapping[date, datetime]
) -> list[date]:
    from .operations.verification import select_days

    if config.everything:
        return sorted({*archived, *with_findings})
    if not config.days:
        return select_days(archived, today, with_findings)
    try:
        days = sorted({date.fromisoformat(day) for day in config.days})
    except ValueError as error:
        raise _refuse_days(f"{error}; write them like 2025-01-10.") from None
    if absent := [str(day) for day in days if day not in archived]:
        raise _refuse_days(f"never archived: {', '.join(absent[:5])}.")
    return days


def _refuse_days(why: str) -> dg.Failure:
    return dg.Failure(description=f"days: {why}", metadata=runbook_metadata("BadDays"), allow_retries=False)
