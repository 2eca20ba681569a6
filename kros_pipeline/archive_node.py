"""The asset `archive`: the archive as a whole, at the end of the graph, with its standing checks.

Every hour it materializes with the numbers of the archive's health. It has no partitions: what it says is of all days.
The check that reads audio back belongs to the same asset, and is a step of its own.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .core import schemas
from .core.object_keys import call_key
from .failures import raise_as_dagster_failure
from .jobs import TURN_ON_RECORDING, VERIFY_ARCHIVE
from .partitions import days_under_way
from .resources import Archive

if TYPE_CHECKING:
    from .operations.health import ArchiveHealth
    from .operations.verification import Verification

THE_ARCHIVE = dg.AssetKey("archive")
DAYS_CHECK = "no_recent_day_is_missing"
DELETION_CHECK = "no_recording_is_about_to_be_deleted"
RECORDED_CHECK = "recorded_calls_are_not_dropping"
BYTES_CHECK = "every_object_is_as_it_was_archived"
_STANDING_CHECKS = {
    DAYS_CHECK: (
        "Every day of the last two weeks is archived. No day that upstream still has is incomplete or waits too long, "
        "and no table of a complete day was deleted or replaced."
    ),
    DELETION_CHECK: "Upstream deletes no recording within the next days that is not in the archive.",
    RECORDED_CHECK: "On no day of the last week were markedly fewer calls recorded than in the days before.",
}
_SCHEDULE_HEAD_START = timedelta(days=1, hours=6)  # yesterday's schedule begins after 4 hours, and has 2 hours to end


def archive_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Make the asset of the archive as a whole. A red check of severity ERROR fails its run, and the sensor posts it.

    It materializes before that: its numbers are wanted most where something is wrong.
    """

    @dg.asset(
        key=THE_ARCHIVE,
        deps=[schemas.RECONCILIATION.name],
        description="The archive as a whole: is a day missing, is a recording about to be lost, are calls recorded?",
        group_name="archive",
        kinds={"s3"},
        check_specs=[
            dg.AssetCheckSpec(name, asset=THE_ARCHIVE, description=description)
            for name, description in _STANDING_CHECKS.items()
        ],
    )
    def archive(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[Any]:
        from .archive.capabilities import read_capabilities
        from .operations.health import check_health
        from .operations.sealing import describe_seals

        first = date.fromisoformat(days.get_first_partition_key() or "9999-12-31")
        with raise_as_dagster_failure("the schedule looks again within the hour"):
            ctx = archive.open(context)
            found = read_capabilities(ctx.store)
            shown = found.describe() if found is not None else {}
            seals = describe_seals(ctx.store, ctx.clock)
            health = check_health(
                first,
                (datetime.now(UTC) - _SCHEDULE_HEAD_START).date(),
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                lookback_days=ctx.settings.lookback_days,
                under_way=days_under_way(context.instance),
            )
        results = [_days_result(health), _deletion_result(health), _recorded_result(health)]
        yield dg.MaterializeResult(metadata=_health_metadata(health) | shown | seals, check_results=results)
        red = [str(result.check_name) for result in results if not result.passed]
        if any(not result.passed and result.severity == dg.AssetCheckSeverity.ERROR for result in results):
            raise dg.Failure(description=f"Standing checks are red: {', '.join(red)}.", allow_retries=False)

    return archive


def _health_metadata(health: "ArchiveHealth") -> dict[str, Any]:
    """Return the numbers of the archive's health, for the asset's plots."""
    metadata: dict[str, Any] = {
        "missing, incomplete or overdue days": len(health.days),
        "never listed days": len(health.days_never_listed),
        "unarchived recordings near deletion": health.count,
        "days with fewer recorded calls": len(health.drops),
    }
    if health.least_days_left is not None:
        metadata["days until the next deletion"] = health.least_days_left
    return metadata


def _days_result(health: "ArchiveHealth") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=DAYS_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not health.days,
        description=(
            f"{' '.join(health.days)} owed_days_schedule takes them up by itself, if it is running; "
            "open the day's last run to see why it has not."
            if health.days
            else "All recent days are archived."
        ),
        metadata={"days": len(health.days)},
    )


def _deletion_result(health: "ArchiveHealth") -> dg.AssetCheckResult:
    never_listed = "".join(f" {day} was never listed, {left} days are left." for day, left in health.days_never_listed)
    never_proved = "".join(
        f" The list of {day} was never proved, {left} days are left." for day, left in health.days_never_proved
    )
    sample = dg.TableMetadataValue(
        records=[
            dg.TableRecord({"call": call_key(call_id), "day": str(day), "days left": left})
            for call_id, day, left in health.calls
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in ("call", "day", "days left")]),
    )
    return dg.AssetCheckResult(
        check_name=DELETION_CHECK,
        asset_key=THE_ARCHIVE,
        passed=health.least_days_left is None,
        severity=dg.AssetCheckSeverity.ERROR if health.is_urgent else dg.AssetCheckSeverity.WARN,
        description=(
            f"{health.count} recordings are not archived, and upstream deletes the first of them in "
            f"{health.least_days_left} days.{never_listed}{never_proved} Materialize their days now; if that does not "
            "help, have the recordings' retention extended in the KrosAI dashboard."
            if health.least_days_left is not None
            else "No recording that is not archived is near its deletion."
        ),
        metadata={"recordings": health.count, **({"sample": sample} if health.calls else {})},
    )


def _recorded_result(health: "ArchiveHealth") -> dg.AssetCheckResult:
    sentences = "".join(
        f"{drop.recorded_day.day}: {drop.recorded_day.recorded} of {drop.recorded_day.calls} calls have a recording, "
        f"where {drop.share_before:.0%} had one in the days before. "
        for drop in health.drops
    )
    return dg.AssetCheckResult(
        check_name=RECORDED_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not health.drops,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{sentences}Recording may be switched off at KrosAI, and what is not recorded cannot be archived: check "
            f"the organization's settings in its dashboard, or launch the job {TURN_ON_RECORDING}, which turns "
            "recording and transcription on."
            if health.drops
            else "Calls are recorded as in the days before."
        ),
        metadata={"days": len(health.drops)},
    )


class VerificationConfig(dg.Config):
    """Which days to read back; by default those whose turn it is today, a twenty-eighth of the archive."""

    days: list[str] = Field(default=[], description="Days like 2025-01-10, read back now.")
    everything: bool = Field(
        default=False, description="Every day of the archive, now: it takes as long as reading all its audio does."
    )


def verification_check() -> dg.AssetChecksDefinition:
    """Make the check that reads archived audio back and hashes it. Red bytes fail the run."""

    @dg.multi_asset_check(
        name="verification",
        can_subset=True,  # so that it may yield nothing
        specs=[
            dg.AssetCheckSpec(
                BYTES_CHECK,
                asset=THE_ARCHIVE,
                description="Recordings, read back, have the SHA-256 of their tables; a 28th of the days each day.",
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
        from .operations.verification import verify_days

        with raise_as_dagster_failure("launch it again for these days; the schedule goes on with others"):
            ctx = archive.open(context)
            found = verify_days(
                _select_days(config, archived_days(ctx.store), datetime.now(UTC).date()),
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                audit_log=ctx.audit_log,
                threads=ctx.settings.download_workers,
                log=ctx.log,
            )
        yield _bytes_result(found)
        if not found.is_sound:
            raise dg.Failure(description=f"{BYTES_CHECK} is red.", allow_retries=False)

    return verification


def _select_days(config: VerificationConfig, archived: list[date], today: date) -> list[date]:
    from .operations.verification import select_days

    if config.everything:
        return archived
    if not config.days:
        return select_days(archived, today)
    try:
        days = sorted({date.fromisoformat(day) for day in config.days})
    except ValueError as error:
        raise dg.Failure(description=f"days: {error}; write them like 2025-01-10.", allow_retries=False) from None
    if absent := [str(day) for day in days if day not in archived]:
        raise dg.Failure(description=f"days: never archived: {', '.join(absent[:5])}.", allow_retries=False)
    return days


def _bytes_result(found: "Verification") -> dg.AssetCheckResult:
    kinds = {
        "object with other bytes than were archived": found.drifted,
        "archived object that is not there": found.missing,
        "object that no table knows": found.unknown,
        "object of an erased call, to be erased again by erase_calls": found.erased,
        "object that could not be read": found.unread,
    }
    wrong = [f"{len(keys)} × {what}: {', '.join(keys[:3])}." for what, keys in kinds.items() if keys]
    to_do = (
        "Where bytes are others: restore the version that has the hash in the day's audit, or move the object out of "
        "audio/. Then materialize the day: what is missing is fetched again, if upstream still has it. Find out who "
        "else may write there."
    )
    return dg.AssetCheckResult(
        check_name=BYTES_CHECK,
        asset_key=THE_ARCHIVE,
        passed=found.is_sound,
        description=" ".join([*wrong, to_do]) if wrong else "All that was read back is as it was archived.",
        metadata={"days": len(found.days), "objects": found.objects, "bytes": found.bytes_read},
    )
