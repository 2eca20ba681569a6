"""The check that reads the archive back: a part of it every night, any of it on demand."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .checks import THE_ARCHIVE
from .failures import raise_as_dagster_failure
from .resources import Archive

if TYPE_CHECKING:
    from .operations.verification import Verification

BYTES_CHECK = "every_object_is_as_it_was_archived"


class VerificationConfig(dg.Config):
    """Which days to read back; by default those whose turn it is today, a twenty-eighth of the archive."""

    days: list[str] = Field(default=[], description="Days like 2025-01-10, read back now.")
    everything: bool = Field(
        default=False, description="Every day of the archive, now: it takes as long as reading all its audio does."
    )


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
        from .archive.archived_days import archived_days
        from .operations.verification import verify_days

        with raise_as_dagster_failure("launch it again for these days; the schedule goes on with others"):
            ctx = archive.open(context)
            there = archived_days(ctx.store)
            found = verify_days(ctx, _days_meant(config, there, datetime.now(UTC).date()))
        yield _of_bytes(found)
        if not found.is_sound:
            raise dg.Failure(description=f"{BYTES_CHECK} is red.", allow_retries=False)

    return verification


def _days_meant(config: VerificationConfig, there: list[date], today: date) -> list[date]:
    if config.everything:
        return there
    if not config.days:
        from .operations.verification import days_of_the_turn

        return days_of_the_turn(there, today)
    try:
        days = sorted({date.fromisoformat(day) for day in config.days})
    except ValueError as error:
        raise dg.Failure(description=f"days: {error}; write them like 2025-01-10.", allow_retries=False) from None
    if absent := [str(day) for day in days if day not in there]:
        raise dg.Failure(description=f"days: never archived: {', '.join(absent[:5])}.", allow_retries=False)
    return days


def _of_bytes(found: "Verification") -> dg.AssetCheckResult:
    kinds = {
        "object with other bytes than were archived": found.drifted,
        "archived object that is not there": found.missing,
        "object that no table knows": found.unknown,
        "object of an erased call, to be erased again by erase_calls": found.erased,
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
