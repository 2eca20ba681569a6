"""The checks: those of each day, and the standing checks of the archive as a whole."""

import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .core import schemas
from .core.object_keys import call_key
from .core.verdict import CALLS_CHECK, HOLD_CHECK, OBJECTS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK, Verdict
from .failures import raise_as_dagster_failure
from .jobs import TURN_ON_RECORDING
from .resources import Archive

if TYPE_CHECKING:
    from .operations.health import ArchiveHealth
    from .operations.verification import Verification

LIST_CHECK = "the_list_was_read_whole"
RECORDINGS_TRIED_CHECK = "every_recording_was_tried"
TRANSCRIPTS_ASKED_CHECK = "every_transcript_was_asked_for"
EXTENSIONS_CHECK = "every_extension_is_confirmed"
RECONCILIATION_CHECKS = {
    CALLS_CHECK: "The list was read whole and proved, every row of it was understood, and every call has its rows.",
    RECORDINGS_CHECK: "Nothing is lost, failed or refused, and the bucket holds every archived object with its size.",
    TRANSCRIPTS_CHECK: "The turns of every kept transcript, joined, are as long as its text.",
    OBJECTS_CHECK: "The bucket holds no audio of the day that the table does not name.",
    HOLD_CHECK: "Archived recordings of flagged calls are under legal hold, if KROS_LEGAL_HOLD is on.",
}
WHAT_TO_DO = {
    CALLS_CHECK: "Materialize the whole day again; if the list stays unproved or unread, ask KrosAI why.",
    RECORDINGS_CHECK: (
        "Materialize the whole day again: the run tries failed recordings again, and fetches missing ones again. "
        "Bodies that arrived and were not verified are below quarantine/. An object of another size was changed by "
        "somebody else: move it out of audio/, and the next run fetches the recording again. A refused host belongs "
        "into KROS_RECORDING_HOSTS, if it is KrosAI's. A lost recording is gone upstream: once that is understood, "
        "name the calls in the run config of `reconciliation` (acknowledged_call_ids)."
    ),
    TRANSCRIPTS_CHECK: "Materialize the whole day again; if the check stays red, somebody else writes these tables.",
    OBJECTS_CHECK: (
        "Materialize the whole day again: the run adopts what an interrupted run left behind. An object that stays "
        "unknown was written by somebody else: find out by whom, and move it out of audio/. For an object of an erased "
        "call, launch `erase_calls` again with the same calls."
    ),
    HOLD_CHECK: "Use a bucket with Object Lock for the archive, or allow the hold, or set KROS_LEGAL_HOLD to off.",
}
_DAY_CHECKS: dict[str, dict[str, str]] = {
    "calls": {LIST_CHECK: "A pass over the list was proved, and every row of it was understood."},
    "recordings": {RECORDINGS_TRIED_CHECK: "Nothing kept the step from trying every recording that was not safe yet."},
    "transcripts": {TRANSCRIPTS_ASKED_CHECK: "Upstream answered for every transcript that had to be asked for."},
    "retention_extensions": {EXTENSIONS_CHECK: "Upstream answered every extension that was sent, and refused none."},
    "reconciliation": RECONCILIATION_CHECKS,
}

DAYS_CHECK = "no_recent_day_is_missing"
DELETION_CHECK = "no_recording_is_about_to_be_deleted"
RECORDED_CHECK = "recorded_calls_are_not_dropping"
BYTES_CHECK = "every_object_is_as_it_was_archived"
_STANDING_CHECKS = {
    DAYS_CHECK: "Every day of the last two weeks is archived, and none is incomplete or waits too long.",
    DELETION_CHECK: "Upstream deletes no recording within the next days that is not in the archive.",
    RECORDED_CHECK: "On no day of the last week were markedly fewer calls recorded than in the days before.",
}
_SCHEDULE_HEAD_START = timedelta(days=1, hours=6)  # yesterday's schedule begins after 4 hours, and has 2 hours to end

# The standing checks have an asset key of their own, the archive as a whole. On a daily asset they would run with each
# of its days, and that asset could not be launched without them.
THE_ARCHIVE = dg.AssetKey("archive")


def day_check_specs(table: schemas.Table, days: dg.DailyPartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """Return the checks of one asset, partitioned: else a good day would turn another day's red check green."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # the pin on dagster's minor release is for this
        return [
            dg.AssetCheckSpec(name, asset=table.name, description=description, partitions_def=days)
            for name, description in _DAY_CHECKS.get(table.name, {}).items()
        ]


def reconciliation_check_results(verdict: Verdict) -> list[dg.AssetCheckResult]:
    """Return the results of the checks of `reconciliation`: red with what is wrong and what to do about it."""
    return [
        dg.AssetCheckResult(
            passed=not sentences,
            check_name=name,
            description=" ".join([*sentences, WHAT_TO_DO[name]]) if sentences else RECONCILIATION_CHECKS[name],
            metadata={"verdict": verdict.verdict.value},  # a text: Dagster's serializer refuses enum members
        )
        for name, sentences in verdict.failures.items()
    ]


def standing_checks(days: dg.DailyPartitionsDefinition) -> dg.AssetChecksDefinition:
    """Make the standing checks, which run together. A red one fails the run, and the failure sensor posts it."""

    @dg.multi_asset_check(
        name="standing_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=THE_ARCHIVE, description=description)
            for name, description in _STANDING_CHECKS.items()
        ],
    )
    def standing(context: dg.AssetCheckExecutionContext, archive: Archive) -> Iterator[Any]:
        from .operations.health import check_health

        first = date.fromisoformat(days.get_first_partition_key() or "9999-12-31")
        with raise_as_dagster_failure("the schedule looks again within the hour"):
            ctx = archive.open(context)
            health = check_health(
                first,
                (datetime.now(UTC) - _SCHEDULE_HEAD_START).date(),
                store=ctx.store,
                tables=ctx.tables,
                clock=ctx.clock,
                retention_days=ctx.settings.source.retention_days,
                lookback_days=ctx.settings.lookback_days,
            )
        results = [_days_result(health), _deletion_result(health), _recorded_result(health)]
        yield from results
        red = [result for result in results if not result.passed]
        if any(result.severity == dg.AssetCheckSeverity.ERROR for result in red):
            names = ", ".join(str(result.check_name) for result in red)
            raise dg.Failure(description=f"Standing checks are red: {names}.", allow_retries=False)

    return standing


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
            f"{health.least_days_left} days.{never_listed} Materialize their days now; if that does not help, have "
            "the recordings' retention extended in the KrosAI dashboard."
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
