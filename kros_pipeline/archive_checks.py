"""What the asset `archive` shows: its numbers, and the results of its checks, each with what to do."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.object_keys import call_key
from .core.s3_prices import LIST_PRICES
from .jobs import TURN_ON_RECORDING, VERIFY_ARCHIVE
from .runbook import runbook_metadata

if TYPE_CHECKING:
    from .operations.archive_totals import ArchiveTotals
    from .operations.health import ArchiveHealth
    from .operations.verification import Coverage, Verification

THE_ARCHIVE = dg.AssetKey("archive")
DAYS_CHECK = "no_recent_day_is_missing"
DELETION_CHECK = "no_recording_is_about_to_be_deleted"
RECORDED_CHECK = "recorded_calls_are_not_dropping"
REFUSALS_CHECK = "no_extension_is_refused"
COVERAGE_CHECK = "verification_keeps_up"
WRONG_OBJECTS = "objects that are not as they should be"
BYTES_CHECK = "every_object_is_as_it_was_archived"
STANDING_CHECKS = {
    DAYS_CHECK: (
        "Every day of the last two weeks is archived. No day that upstream still has is incomplete or waits too long, "
        "and no table of a day of the archive, however old, was deleted or replaced since its check."
    ),
    DELETION_CHECK: "Upstream deletes no recording within the next days that is not in the archive.",
    RECORDED_CHECK: "On no day of the last week were markedly fewer calls recorded than in the days before.",
    REFUSALS_CHECK: "No longer retention was refused or is unconfirmed, of days that upstream still has.",
    COVERAGE_CHECK: f"{VERIFY_ARCHIVE} has read each day back in the last 28 days, or the day had no turn yet.",
}
_MAX_NAMED_DAYS = 5


def archive_metadata(health: "ArchiveHealth", totals: "ArchiveTotals") -> dict[str, Any]:
    """Return the numbers of the archive, the most important first. Each has its unit in its name, and plots."""
    owed: dict[str, Any] = {"days owed": totals.days_owed}
    if totals.oldest_owed_day is not None:
        owed["oldest day owed"] = str(totals.oldest_owed_day)
    if totals.days_left_before_deletion is not None:
        owed["days left before upstream deletes the oldest day owed"] = totals.days_left_before_deletion
    quota: dict[str, Any] = {"API requests today": totals.api_requests_today}
    if totals.api_requests_quota_per_day is not None:
        quota["API requests that the plan allows a day"] = totals.api_requests_quota_per_day
        share = 100 * totals.api_requests_today / totals.api_requests_quota_per_day
        quota["API requests today (% of the plan's day)"] = round(share, 1)
    of_days = [*health.days, *health.other_days]
    deletion = {} if health.least_days_left is None else {"days until the next deletion": health.least_days_left}
    return {
        "days complete": totals.days_complete,
        "days waiting": totals.days_waiting,
        "days incomplete": totals.days_incomplete,
        "days missing": totals.days_missing,
        "missing, incomplete or overdue days": len(health.days),
        **({"which days, and why": "\n".join(of_days)} if of_days else {}),
        **owed,
        "unarchived recordings near deletion": health.count,
        **deletion,
        "calls": totals.calls,
        "recordings archived": totals.recordings_archived,
        "recordings pending": totals.recordings_pending,
        "recordings failed": totals.recordings_failed,
        "recordings lost": totals.recordings_lost,
        "audio (GB)": round(totals.audio_gigabytes, 3),
        "audio (minutes)": round(totals.audio_minutes, 1),
        "turns of speech": totals.utterances,
        "recordings archived today": totals.moved_recordings_today,
        "audio archived today (GB)": round(totals.moved_bytes_today / 1e9, 3),
        **quota,
        "S3 cost of the month (US dollars, estimate)": round(totals.estimated_usd_this_month, 2),
        "S3 cost is estimated by": f"list prices of {LIST_PRICES.as_of}: {LIST_PRICES.source}",
        "S3 write requests this month": totals.s3_writes_this_month,
        "S3 read requests this month": totals.s3_reads_this_month,
        "days verified in the last 28 days": totals.coverage.days_verified,
        "days verified in the last 28 days (%)": round(totals.coverage.percent, 1),
        "days late for verification": totals.coverage.days_late,
        "days with findings of the verification": totals.coverage.days_with_findings,
        "extensions refused": totals.extensions_refused,
        "extensions unconfirmed": totals.extensions_unconfirmed,
        "never listed days": len(health.days_never_listed),
        "days with fewer recorded calls": len(health.drops),
    }


def standing_check_results(health: "ArchiveHealth", totals: "ArchiveTotals") -> list[dg.AssetCheckResult]:
    """Return the results of the standing checks. A red one has the runbook's section about it."""
    results = [
        _days_result(health, totals),
        _deletion_result(health, totals),
        _recorded_result(health),
        _extensions_result(totals),
        _coverage_result(totals.coverage),
    ]
    return [_with_runbook(result) for result in results]


def _with_runbook(result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    if result.passed:
        return result
    return result._replace(metadata={**(result.metadata or {}), **runbook_metadata(str(result.check_name))})


def _days_result(health: "ArchiveHealth", totals: "ArchiveTotals") -> dg.AssetCheckResult:
    counts = (
        f"{totals.days_complete} days are complete, {totals.days_waiting} waiting, {totals.days_incomplete} "
        f"incomplete, {totals.days_missing} missing"
    )
    by_schedule = (
        f"{' '.join(health.days)} owed_days_schedule takes them up by itself, if it is running; "
        "open the day's last run to see why it has not."
    )
    by_hand = (
        f"{' '.join(health.other_days)} No schedule takes these up, because upstream has them no more or they are "
        "before the first partition: restore each deleted, replaced or unreadable table from an older version, before "
        "the bucket deletes it, and then materialize `reconciliation` of the day."
    )
    wrong = [*([by_schedule] if health.days else []), *([by_hand] if health.other_days else [])]
    return dg.AssetCheckResult(
        check_name=DAYS_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not wrong,
        description=(f"{' '.join(wrong)} In all, {counts}." if wrong else f"All recent days are archived: {counts}."),
        metadata={
            "days": len(health.days) + len(health.other_days),
            "days incomplete": totals.days_incomplete,
            "days owed": totals.days_owed,
        },
    )


def _deletion_result(health: "ArchiveHealth", totals: "ArchiveTotals") -> dg.AssetCheckResult:
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
            else f"Of {totals.recordings_expected} recordings, none that is not archived is near its deletion."
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
            else "On 0 of the last 7 days were fewer calls recorded than in the days before."
        ),
        metadata={"days": len(health.drops)},
    )


def _extensions_result(totals: "ArchiveTotals") -> dg.AssetCheckResult:
    refused, unconfirmed = totals.extensions_refused, totals.extensions_unconfirmed
    days = totals.days_with_open_extensions
    named = ", ".join(map(str, days[:_MAX_NAMED_DAYS])) + (", …" if len(days) > _MAX_NAMED_DAYS else "")
    kinds = [f"{refused} extensions of the retention were refused"] if refused else []
    kinds += [f"of {unconfirmed} nobody knows whether upstream acted"] if unconfirmed else []
    return dg.AssetCheckResult(
        check_name=REFUSALS_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not days,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"Upstream's answers to extensions: {'; '.join(kinds)}. Days ({len(days)}): {named}. "
            "The archive has the recordings; upstream deletes its own as planned. "
            "The check of `retention_extensions` of each day says why, and how to settle or resend them."
            if days
            else "0 extensions are refused, and 0 unconfirmed, of the days that upstream still has."
        ),
        metadata={"extensions refused": refused, "extensions unconfirmed": unconfirmed, "days": len(days)},
    )


def _coverage_result(coverage: "Coverage") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=COVERAGE_CHECK,
        asset_key=THE_ARCHIVE,
        passed=not coverage.days_late,
        severity=dg.AssetCheckSeverity.WARN,
        description=_describe_coverage(coverage),
        metadata=_coverage_numbers(coverage),
    )


def _describe_coverage(coverage: "Coverage") -> str:
    verified = f"Verified in the last 28 days: {coverage.days_verified} of {coverage.days} days"
    if not coverage.days_late:
        return f"{verified}. Every other day has its turn before it is 28 days old."
    return (
        f"{verified}; {coverage.days_late} days missed their turn. Look whether verify_archive_schedule is running and "
        f"its runs succeed, or launch {VERIFY_ARCHIVE} for these days."
    )


def _coverage_numbers(coverage: "Coverage") -> dict[str, Any]:
    return {
        "days verified in the last 28 days": coverage.days_verified,
        "days verified in the last 28 days (%)": round(coverage.percent, 1),
        "days late for verification": coverage.days_late,
        "days with findings": coverage.days_with_findings,
    }


def _describe_days_before(found: "Verification") -> str:
    return (
        f"{found.days_before} days before them were read by the launch that was killed. " if found.days_before else ""
    )


def _describe_other_days(found: "Verification") -> str:
    days = found.days_with_findings
    named = ", ".join(map(str, days[:_MAX_NAMED_DAYS])) + (", …" if len(days) > _MAX_NAMED_DAYS else "")
    return (
        f"{len(days)} days had findings in earlier launches, and no later reading of them was sound: {named}. Each "
        "night's launch reads at most 14 such days again, the longest unread first."
    )


def bytes_result(found: "Verification", coverage: "Coverage") -> dg.AssetCheckResult:
    """Return the result of a verification: a warning where days missed their turn, red where bytes are wrong.

    It is also red while a day that an earlier launch found to be wrong was not read again, and found sound.
    """
    kinds = {
        "object with other bytes than were archived": found.drifted,
        "archived object that is not there": found.missing,
        "object that no table knows": found.unknown,
        "object of an erased call, to be erased again by erase_calls": found.erased,
        "object that could not be read": found.unread,
        "table with fewer archived recordings than the day's row of reconciliation": found.lost_rows,
    }
    wrong = [f"{len(keys)} × {what}: {', '.join(keys[:3])}." for what, keys in kinds.items() if keys]
    if found.days_with_findings:
        wrong.append(_describe_other_days(found))
    to_do = (
        "Where bytes are others: restore the version that has the hash in the day's audit, or move the object out of "
        "audio/. Then materialize the day: what is missing is fetched again, if upstream still has it. Restore a table "
        "that has lost rows from a version. Find out who else may write there."
    )
    read = (
        f"{found.objects} objects ({found.bytes_read / 1e9:.2f} GB) of {len(found.days)} days were read back, and are "
        f"as they were archived. {_describe_days_before(found)}{_describe_coverage(coverage)}"
    )
    return _with_runbook(
        dg.AssetCheckResult(
            check_name=BYTES_CHECK,
            asset_key=THE_ARCHIVE,
            passed=found.is_sound and not coverage.days_late,
            severity=dg.AssetCheckSeverity.WARN if found.is_sound else dg.AssetCheckSeverity.ERROR,
            description=" ".join([*wrong, to_do]) if wrong else read,
            metadata={
                "days": len(found.days),
                "days of the launch before": found.days_before,
                "objects": found.objects,
                WRONG_OBJECTS: sum(map(len, kinds.values())),
                "bytes": found.bytes_read,
                "audio read back (GB)": round(found.bytes_read / 1e9, 3),
                **_coverage_numbers(coverage),
            },
        )
    )
