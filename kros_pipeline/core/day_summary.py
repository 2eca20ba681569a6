"""Say of a day, in sentences and numbers, what each check found where nothing is wrong, and what happens next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from .call_counters import CallCounter
from .evidence import Evidence
from .next_look import NextLook
from .retention import upstream_expires_on
from .statuses import DayVerdict, RecordingStatus, TranscriptStatus
from .verdict import (
    CALLS_CHECK,
    COUNTERS_CHECK,
    FORMAT_CHECK,
    HOLD_CHECK,
    OBJECTS_CHECK,
    RECORDINGS_CHECK,
    SHARED_CHECK,
    TRANSCRIPTS_CHECK,
    find_pending_listing,
)

_TAKEN_UP = "owed_days_schedule takes the day up by itself: nothing to do"


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """What a check that is not red says. With `is_waiting` something may still come: a warning, until it has come.

    `numbers` are named with their units; they go with a red check, too.
    """

    sentence: str
    numbers: dict[str, int | float]
    is_waiting: bool = False


def summarize_checks(
    evidence: Evidence, counters: Sequence[CallCounter], next_look: NextLook | None
) -> dict[str, CheckSummary]:
    """Summarize what each check of a day found."""
    summaries = {
        CALLS_CHECK: _summarize_calls(evidence),
        RECORDINGS_CHECK: _summarize_recordings(evidence, next_look),
        TRANSCRIPTS_CHECK: _summarize_transcripts(evidence, next_look),
        OBJECTS_CHECK: CheckSummary(
            f"The bucket holds {evidence.objects} objects of the day ({_gb(evidence)}), and the table names each.",
            {"objects": evidence.objects, "audio (GB)": round(evidence.object_bytes / 1e9, 3)},
        ),
        HOLD_CHECK: CheckSummary(
            f"{evidence.flags} flags of rules; no recording lacks a legal hold that KROS_LEGAL_HOLD asks for.",
            {"flags": evidence.flags},
        ),
        COUNTERS_CHECK: _summarize_counters(evidence, counters),
    }
    archived = evidence.recordings[RecordingStatus.ARCHIVED]
    others = {
        FORMAT_CHECK: (sum(map(len, evidence.in_other_format.values())), "are no MP3", "recordings that are no MP3"),
        SHARED_CHECK: (
            len(evidence.with_same_bytes),
            "have the bytes of another call's",
            "recordings with equal bytes",
        ),
    }
    for name, (count, what, unit) in others.items():
        summaries[name] = CheckSummary(f"{count} of {archived} archived recordings {what}.", {unit: count})
    return summaries


def describe_next_step(
    day: date,
    verdict: DayVerdict,
    evidence: Evidence,
    next_look: NextLook | None,
    *,
    retention_days: int | None,
    today: date,
) -> str:
    """Say what happens next with a day, and what is to do. No schedule takes up a day that upstream has deleted."""
    ends_on = upstream_expires_on(day, retention_days)
    if ends_on is not None and ends_on < today:
        if verdict == DayVerdict.COMPLETE:
            return "Nothing is owed."
        return (
            f"Upstream kept its recordings until {ends_on}: no schedule takes the day up any more. Mend the cause, and "
            "materialize the whole day. What upstream has deleted cannot be had: acknowledge it, as the runbook says."
        )
    if verdict == DayVerdict.INCOMPLETE:
        until = f" until upstream deletes its recordings ({ends_on})" if ends_on else ""
        return (
            f"owed_days_schedule tries the day again{until}. To be faster, mend the cause and materialize the whole "
            'day; do not use "Re-execute from failure".'
        )
    if next_look is not None:
        return f"{_TAKEN_UP} before {_time(next_look.at)}."
    if verdict == DayVerdict.WAITING or not evidence.grace_is_over:
        return f"{_TAKEN_UP} within the hour."
    again = f" It is listed once more in every 28 days until {ends_on}, when upstream deletes it." if ends_on else ""
    return f"Nothing is owed.{again}"


def _summarize_calls(evidence: Evidence) -> CheckSummary:
    listed = evidence.listing.listed_total if evidence.listing is not None else 0
    erased = f", and {evidence.erased} were erased" if evidence.erased else ""
    numbers: dict[str, int | float] = {"calls listed": listed, "calls": evidence.calls, "calls erased": evidence.erased}
    pending = find_pending_listing(evidence)
    if pending:
        return CheckSummary(f"{' '.join(pending)} {_TAKEN_UP}.", numbers, is_waiting=True)
    return CheckSummary(
        f"{listed} calls were listed and proved; the table has {evidence.calls}{erased}, each with its rows.",
        numbers,
    )


def _summarize_recordings(evidence: Evidence, next_look: NextLook | None) -> CheckSummary:
    counts = evidence.recordings
    not_recorded, pending = counts[RecordingStatus.NOT_RECORDED], counts[RecordingStatus.PENDING]
    expected = counts.total() - not_recorded
    length = f"{_gb(evidence)}, {evidence.audio_seconds / 60:,.0f} minutes"
    safe = f"{counts[RecordingStatus.ARCHIVED]} of {expected} recordings are safe ({length})"
    details = [
        *([f"{not_recorded} calls were not recorded"] if not_recorded else []),
        *([f"{len(evidence.acknowledged)} are acknowledged as not safe"] if evidence.acknowledged else []),
    ]
    numbers: dict[str, int | float] = {
        "recordings safe": counts[RecordingStatus.ARCHIVED],
        "recordings expected": expected,
        "recordings pending": pending,
        **{f"recordings {status}": len(call_ids) for status, call_ids in evidence.unsafe.items()},
        "recordings acknowledged": len(evidence.acknowledged),
        "calls not recorded": not_recorded,
        "audio (minutes)": round(evidence.audio_seconds / 60, 1),
    }
    return _with_pending([safe, *details], pending, evidence, next_look, numbers)


def _summarize_transcripts(evidence: Evidence, next_look: NextLook | None) -> CheckSummary:
    counts = evidence.transcripts
    pending = counts[TranscriptStatus.PENDING]
    expected = counts.total() - counts[TranscriptStatus.NONE]
    kept = counts[TranscriptStatus.KEPT]
    sentence = f"{kept} of {expected} transcripts are kept, and parsed into {evidence.utterances} turns"
    numbers: dict[str, int | float] = {
        "transcripts kept": kept,
        "transcripts expected": expected,
        "transcripts pending": pending,
        "turns": evidence.utterances,
    }
    return _with_pending([sentence], pending, evidence, next_look, numbers)


def _with_pending(
    clauses: list[str],
    pending: int,
    evidence: Evidence,
    next_look: NextLook | None,
    numbers: dict[str, int | float],
) -> CheckSummary:
    """Add what is waited for, and until when."""
    if not pending:
        return CheckSummary(f"{'; '.join(clauses)}.", numbers)
    until = evidence.second_answers_due_at if evidence.grace_is_over else evidence.grace_ends_at
    waited = f"{pending} are waited for until {_time(until)}" if until else f"{pending} are pending"
    by = f" before {_time(next_look.at)}" if next_look is not None else " within the hour"
    return CheckSummary(f"{'; '.join([*clauses, waited])}. {_TAKEN_UP}{by}.", numbers, is_waiting=True)


def _summarize_counters(evidence: Evidence, counters: Sequence[CallCounter]) -> CheckSummary:
    calls = evidence.calls + evidence.erased
    shown = ", ".join(f"{counter.name} {counter.value}" for counter in counters) or "none could be read"
    numbers: dict[str, int | float] = {f"upstream's {counter.name}": counter.value for counter in counters}
    return CheckSummary(f"The archive has {calls} calls; upstream's counters: {shown}.", numbers | {"calls": calls})


def _gb(evidence: Evidence) -> str:
    size = evidence.object_bytes
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


_time: Callable[[datetime], str] = "{:%Y-%m-%d %H:%M} UTC".format
