"""The standing checks: true of the archive as a whole, looked at every hour, whatever runs or does not run."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.object_keys import call_key
from .failures import raise_as_dagster_failure
from .jobs import TURN_ON_RECORDING
from .resources import Archive

if TYPE_CHECKING:
    from .operations.health import ArchiveHealth

DAYS_CHECK = "no_recent_day_is_missing"
DELETION_CHECK = "no_recording_is_about_to_be_deleted"
RECORDED_CHECK = "recorded_calls_are_not_dropping"

# The checks hang on a key of their own, the archive as a whole: on one of the daily assets they would run with each of
# its days, and nobody could launch it alone.
THE_ARCHIVE = dg.AssetKey("archive")


def standing_checks(days: dg.DailyPartitionsDefinition) -> dg.AssetChecksDefinition:
    """All checks in one look at the archive. A red one fails the run, so that whoever is told of failures is told."""

    @dg.multi_asset_check(
        name="standing_checks",
        specs=[
            dg.AssetCheckSpec(
                DAYS_CHECK,
                asset=THE_ARCHIVE,
                description="Every day of the last two weeks is archived, and none is incomplete or waits too long.",
            ),
            dg.AssetCheckSpec(
                DELETION_CHECK,
                asset=THE_ARCHIVE,
                description="Upstream deletes no recording within the next days that is not in the archive.",
            ),
            dg.AssetCheckSpec(
                RECORDED_CHECK,
                asset=THE_ARCHIVE,
                description="On no day of the last week were markedly fewer calls recorded than in the days before.",
            ),
        ],
    )
    def standing(context: dg.AssetCheckExecutionContext, archive: Archive) -> Iterator[Any]:
        from .operations.health import check_health

        first = date.fromisoformat(days.get_first_partition_key() or "9999-12-31")
        with raise_as_dagster_failure("the schedule looks again within the hour"):
            found = check_health(archive.open(context), first, _last_day_due(datetime.now(UTC)))
        results = [_of_days(found), _of_deletion(found), _of_recorded(found)]
        yield from results
        red = [result.check_name for result in results if not result.passed]
        if any(not result.passed and result.severity == dg.AssetCheckSeverity.ERROR for result in results):
            raise dg.Failure(description=f"Standing checks are red: {', '.join(map(str, red))}.", allow_retries=False)

    return standing


def _last_day_due(now: datetime) -> date:
    """The last day that should be archived by now: yesterday, once its schedule has had two hours for it."""
    return (now - timedelta(days=1, hours=6)).date()


def _of_days(found: "ArchiveHealth") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=DAYS_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not found.days,
        description=(
            f"{' '.join(found.days)} owed_days_schedule takes them up by itself, if it is running; "
            "open the day's last run to see why it has not."
            if found.days
            else "All recent days are archived."
        ),
        metadata={"days": len(found.days)},
    )


def _of_deletion(found: "ArchiveHealth") -> dg.AssetCheckResult:
    never_listed = "".join(f" {day} was never listed, {left} days are left." for day, left in found.days_never_listed)
    sample = dg.TableMetadataValue(
        records=[
            dg.TableRecord({"call": call_key(call_id), "day": str(day), "days left": left})
            for call_id, day, left in found.calls
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in ("call", "day", "days left")]),
    )
    return dg.AssetCheckResult(
        check_name=DELETION_CHECK,
        asset_key=THE_ARCHIVE,
        passed=found.least_days_left is None,
        severity=dg.AssetCheckSeverity.ERROR if found.is_urgent else dg.AssetCheckSeverity.WARN,
        description=(
            f"{found.count} recordings are not archived, and upstream deletes the first of them in "
            f"{found.least_days_left} days.{never_listed} Materialize their days now; if that does not help, have "
            "the recordings' retention extended in the KrosAI dashboard."
            if found.least_days_left is not None
            else "No recording that is not archived is near its deletion."
        ),
        metadata={"recordings": found.count, **({"sample": sample} if found.calls else {})},
    )


def _of_recorded(found: "ArchiveHealth") -> dg.AssetCheckResult:
    told = "".join(
        f"{drop.recorded_day.day}: {drop.recorded_day.recorded} of {drop.recorded_day.calls} calls have a recording, "
        f"where {drop.share_before:.0%} had one in the days before. "
        for drop in found.drops
    )
    return dg.AssetCheckResult(
        check_name=RECORDED_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not found.drops,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{told}Recording may be switched off at KrosAI, and what is not recorded cannot be archived: look at the "
            f"organization's settings in its dashboard, or launch the job {TURN_ON_RECORDING}, which turns recording "
            "and transcription on."
            if found.drops
            else "Calls are recorded as in the days before."
        ),
        metadata={"days": len(found.drops)},
    )
