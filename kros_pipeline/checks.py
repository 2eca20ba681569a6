"""The standing checks: true of the archive as a whole, looked at every hour, whatever runs or does not run."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from .failures import HANDLED, failure
from .resources import Archive
from .steps.verify import Verification, archived_days, days_of_the_turn, verify_days
from .steps.watch import Watch, watch_archive

DAYS_CHECK = "no_recent_day_is_missing"
DELETION_CHECK = "no_recording_is_about_to_be_deleted"
BYTES_CHECK = "every_object_is_as_it_was_archived"

# The checks hang on a key of their own, the archive as a whole: on one of the daily assets they would run with each of
# its days, and nobody could launch it alone.
THE_ARCHIVE = dg.AssetKey("archive")


def standing_checks(days: dg.DailyPartitionsDefinition) -> dg.AssetChecksDefinition:
    """Both checks in one look at the archive. A red one fails the run, so that whoever is told of failures is told."""

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
        ],
    )
    def standing(context: dg.AssetCheckExecutionContext, archive: Archive) -> Iterator[Any]:
        first = date.fromisoformat(days.get_first_partition_key() or "9999-12-31")
        try:
            found = watch_archive(archive.open(context), first, _last_day_due(datetime.now(UTC)))
        except HANDLED as error:
            raise failure(error) from None
        results = [_of_days(found), _of_deletion(found)]
        yield from results
        red = [result.check_name for result in results if not result.passed]
        if any(not result.passed and result.severity == dg.AssetCheckSeverity.ERROR for result in results):
            raise dg.Failure(description=f"Standing checks are red: {', '.join(map(str, red))}.", allow_retries=False)

    return standing


def _last_day_due(now: datetime) -> date:
    """The last day that should be archived by now: yesterday, once its schedule has had two hours for it."""
    return (now - timedelta(days=1, hours=6)).date()


def _of_days(found: Watch) -> dg.AssetCheckResult:
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


def _of_deletion(found: Watch) -> dg.AssetCheckResult:
    never_listed = "".join(f" {day} was never listed, {left} days are left." for day, left in found.days_never_listed)
    sample = dg.TableMetadataValue(
        records=[
            dg.TableRecord({"call": call_id[:128], "day": str(day), "days left": left})
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


class VerificationConfig(dg.Config):
    """Which days to read back; by default those whose turn it is today, a twenty-eighth of the archive."""

    days: list[str] = Field(default=[], description="Days like 2025-01-10, read back now.")
    everything: bool = Field(default=False, description="Every day of the archive, now.")


def verification_check() -> dg.AssetChecksDefinition:
    """Reads archived audio back and hashes it. Red, and failed, where bytes are not those that were archived."""

    @dg.multi_asset_check(
        name="verification",
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
        try:
            work = archive.open(context)
            there = archived_days(work)
            found = verify_days(work, _days_meant(config, there, datetime.now(UTC).date()))
        except HANDLED as error:
            raise failure(error) from None
        yield _of_bytes(found)
        if not found.is_sound:
            raise dg.Failure(description=f"{BYTES_CHECK} is red.", allow_retries=False)

    return verification


def _days_meant(config: VerificationConfig, there: list[date], today: date) -> list[date]:
    if config.everything:
        return there
    if not config.days:
        return days_of_the_turn(there, today)
    try:
        days = sorted({date.fromisoformat(day) for day in config.days})
    except ValueError as error:
        raise dg.Failure(description=f"days: {error}; write them like 2025-01-10.", allow_retries=False) from None
    if absent := [str(day) for day in days if day not in there]:
        raise dg.Failure(description=f"days: never archived: {', '.join(absent[:5])}.", allow_retries=False)
    return days


def _of_bytes(found: Verification) -> dg.AssetCheckResult:
    kinds = {
        "object with other bytes than were archived": found.drifted,
        "archived object that is not there": found.missing,
        "object that no table knows": found.unknown,
        "object that could not be read": found.unread,
    }
    wrong = [f"{len(keys)} × {what}: {', '.join(keys[:3])}." for what, keys in kinds.items() if keys]
    what_to_do = (
        "Where bytes are others: restore the version that has the hash in the day's audit, or move the object out of "
        "audio/. Then materialize the day: what is missing is fetched again, if upstream still has it. Find out who "
        "else may write there."
    )
    return dg.AssetCheckResult(
        check_name=BYTES_CHECK,
        asset_key=THE_ARCHIVE,
        passed=found.is_sound,
        description=" ".join([*wrong, what_to_do]) if wrong else "All that was read back is as it was archived.",
        metadata={"days": len(found.days), "objects": found.objects, "bytes": found.bytes_read},
    )
