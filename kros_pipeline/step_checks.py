"""The checks of single steps: the cause with its counts, the day, what happens next; or, where green, what was done."""

from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.reason_kinds import describe_kinds
from .core.statuses import ExtensionStatus, RecordingStatus, TranscriptStatus
from .failures import what_to_do

if TYPE_CHECKING:
    from .steps.report import Report


def check_step(name: str, problem: str, done: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """Return a step's check, red where there is a `problem`, with the numbers among the step's metadata."""
    numbers = {name: value for name, value in metadata.items() if type(value) is int and "/" not in name}
    return dg.AssetCheckResult(passed=not problem, check_name=name, description=problem or done, metadata=numbers)


def describe_recordings(report: "Report") -> str:
    """Say how many recordings are archived, and what became of the others."""
    return _describe(report, RecordingStatus.ARCHIVED, RecordingStatus, "recordings")


def describe_transcripts(report: "Report") -> str:
    """Say how many transcripts are kept, and what became of the others."""
    return _describe(report, TranscriptStatus.KEPT, TranscriptStatus, "transcripts")


def describe_extensions(report: "Report") -> str:
    """Say how many extensions upstream confirmed, and what became of the others."""
    return _describe(report, ExtensionStatus.EXTENDED, ExtensionStatus, "extensions")


def describe_untried(day: date, report: "Report") -> str:
    """Say why not every recording of a day was tried; nothing where each was."""
    if report.error is None:
        return ""
    pending = report.counts[RecordingStatus.PENDING]
    return f"{day}: {pending} recordings are pending, and not all were tried: {_cause(report.error)}"


def describe_unanswered(day: date, report: "Report") -> str:
    """Say for which transcripts of a day upstream gave no answer; nothing where it gave one for each."""
    if report.error is not None:
        pending = report.counts[TranscriptStatus.PENDING]
        return f"{day}: {pending} transcripts are pending, and not all were asked for: {_cause(report.error)}"
    if not report.problem_count:
        return ""
    return (
        f"{day}: upstream did not answer for the transcripts of {report.problem_count} calls "
        f"({describe_kinds(report.problem_kinds)}). owed_days_schedule launches the next run, which asks again: "
        "nothing to do now."
    )


def _cause(error: Exception) -> str:
    return f"{str(error).rstrip('.')}. What happens next: {what_to_do(error).value}."


def _describe(
    report: "Report",
    done: str,
    statuses: type[RecordingStatus] | type[TranscriptStatus] | type[ExtensionStatus],
    what: str,
) -> str:
    counts = {str(status): report.counts.get(status, 0) for status in statuses}
    others = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count and status != done]
    return f"{counts[done]} of {sum(counts.values())} {what} are {done}{''.join(f', {other}' for other in others)}."
