"""Decide whether a day is complete, from what the source says, what the tables say and what the bucket holds.

- A day is `incomplete` if its list, its tables and its bucket do not agree, or if a recording is lost, failed or
  refused and no operator has acknowledged that, or if a step could not do its work and a person must act.
- Otherwise it is `waiting` if something is missing that may still come without anybody acting.
- Otherwise it is `complete`.

A recording that should be under legal hold and is not makes its own check red, and so does an independent counter that
shows more calls, a recording in another format than MP3, and one with another call's bytes. The day's verdict does not
change: the recording is archived all the same, and what a counter counts is not documented.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .audio import FORMAT_CHANGED
from .evidence import Evidence
from .object_keys import call_key
from .reason_kinds import describe_kinds
from .speaker_roles import is_showable
from .statuses import DayVerdict, ExtensionStatus, RecordingStatus, TranscriptStatus
from .unknown_statuses import name_unknown_statuses

if TYPE_CHECKING:
    from .listing import Listing

CALLS_CHECK = "every_call_is_accounted_for"
RECORDINGS_CHECK = "every_recording_is_safe"
TRANSCRIPTS_CHECK = "every_transcript_is_parsed"
OBJECTS_CHECK = "no_object_is_unknown"
HOLD_CHECK = "every_flagged_recording_is_held"
COUNTERS_CHECK = "no_counter_shows_more_calls"
FORMAT_CHECK = "every_recording_is_an_mp3"
SHARED_CHECK = "no_two_calls_have_the_same_bytes"
CHECKS = (
    CALLS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK, OBJECTS_CHECK, HOLD_CHECK, COUNTERS_CHECK, FORMAT_CHECK,
    SHARED_CHECK,
)  # fmt: skip

_MAX_NAMES = 5
_MAX_KINDS = 3
_UNREAD_ANSWER = "transcript in a form that is not understood: the answer is kept below state/transcripts/"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a day. `failures` has the sentences that make each check red; `notes` change nothing."""

    verdict: DayVerdict
    failures: dict[str, list[str]]
    notes: list[str]

    @property
    def problems(self) -> list[str]:
        """All sentences, as the table stores them."""
        return [sentence for sentences in self.failures.values() for sentence in sentences] + self.notes


def decide_verdict(evidence: Evidence) -> Verdict:
    """Decide the verdict on a day, and say why."""
    mismatches = {
        CALLS_CHECK: list(_check_calls(evidence)),
        RECORDINGS_CHECK: list(_check_recordings(evidence)),
        TRANSCRIPTS_CHECK: list(_check_transcripts(evidence)),
        OBJECTS_CHECK: list(_check_objects(evidence)),
    }
    may_still_come = list(_find_what_may_still_come(evidence))
    if any(mismatches.values()):
        verdict = DayVerdict.INCOMPLETE
    elif may_still_come:
        verdict = DayVerdict.WAITING
    else:
        verdict = DayVerdict.COMPLETE
    acknowledged = _count("recording that is not safe, acknowledged", _keys(evidence.acknowledged))
    oddities = evidence.listing.oddities if evidence.listing is not None else []
    too_late = _count(
        "call that was first asked about when upstream's retention was over: a deleted recording looks the same",
        _keys(evidence.asked_too_late),
    )
    failures = mismatches | {
        HOLD_CHECK: evidence.unheld,
        COUNTERS_CHECK: evidence.counter_differences,
        FORMAT_CHECK: [
            sentence
            for name, call_ids in sorted(evidence.in_other_format.items())
            for sentence in _count(f"recording that is no MP3 ({name}): {FORMAT_CHANGED}", _keys(call_ids))
        ],
        SHARED_CHECK: _count(
            "archived recording with the same bytes as another call's", _keys(evidence.with_same_bytes)
        ),
    }
    witnessed = _name_witnessed_calls(evidence)
    defects = list(_name_defects(evidence))
    doubts = [*_describe_doubtful_texts(evidence), *_name_unknown_labels(evidence)]
    extensions = list(_describe_open_extensions(evidence))
    notes = [*may_still_come, *acknowledged, *too_late, *witnessed, *defects, *doubts, *extensions, *oddities]
    return Verdict(verdict, failures, notes)


def _describe_open_extensions(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for extensions that an operator has to decide on. The verdict does not change: audio is safe."""
    what_it_is = {
        ExtensionStatus.REFUSED: "extension of the retention refused by upstream",
        ExtensionStatus.UNCONFIRMED: "extension of the retention unconfirmed: nobody knows whether upstream acted",
    }
    for status, what in what_it_is.items():
        kinds = evidence.open_extensions.get(status, Counter())
        if kinds:
            yield (
                f"{kinds.total()} × {what} ({describe_kinds(kinds)}). The check of `retention_extensions` says what to "
                "do."
            )


def _name_defects(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for recordings that play and are not as they should be. The verdict does not change."""
    kinds = "; ".join(f"{count} × {kind}" for kind, count in evidence.kinds_of_defects.most_common(_MAX_KINDS))
    yield from _count(f"recording archived with a defect ({kinds})", _keys(evidence.with_defects))


def _describe_doubtful_texts(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for what is doubtful about kept texts. The verdict does not change: upstream has no better."""
    for reason, count in sorted(evidence.doubtful_texts.items()):
        yield f"{count} × kept text: {reason}."


def _name_unknown_labels(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence with the labels that name neither the agent nor the caller. Nothing that may be speech is named.

    The verdict does not change. Rules about a speaker hold for a turn of `unknown`, and not for one of `other`.
    """
    if evidence.unknown_labels:
        names = [
            f"{name} ({count})"
            for name, count in sorted(evidence.unknown_labels.items(), key=lambda item: (-item[1], item[0]))
            if is_showable(name)
        ]
        others = len(evidence.unknown_labels) - len(names[:_MAX_NAMES])
        shown = ", ".join([*names[:_MAX_NAMES], *([f"{others} more labels"] if others else [])])
        yield (
            f"{evidence.unknown_labels.total()} turns have a label that is neither the agent's nor the caller's: "
            f"{shown}. If it is one of the two, add it to KROS_AGENT_LABELS or KROS_CALLER_LABELS."
        )


def _name_witnessed_calls(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for calls that webhook deliveries name and no table has. The verdict does not change."""
    if evidence.witnessed_calls:
        yield (
            f"{evidence.witnessed_calls} × call that a webhook delivery named is in no table, and the list does not "
            "show it: ask KrosAI why."
        )


def _check_calls(evidence: Evidence) -> Iterator[str]:
    """Yield problems unless the list was read whole and proved, every row was parsed, and every call has its rows.

    Every table of the day must be there. Calls and their rows must be the same sets: a row without its call is what the
    table `calls` has lost.
    """
    if evidence.blocked_by:
        yield f"A step could not do its work, and a person must act: {evidence.blocked_by}"
    yield from evidence.unreadable
    for name in evidence.missing_tables:
        yield f"The table `{name}` of the day is missing."
    if evidence.unreadable_listing:
        yield evidence.unreadable_listing
    elif evidence.listing is None:
        yield "The day's calls were never listed: materialize `calls`."
    else:
        yield from _check_listing(evidence.listing, may_be_proved_later=_may_be_proved_later(evidence))
        yield from _check_listed_calls(evidence, evidence.listing)
    yield from _count("call without a row in `recordings`", _keys(evidence.calls_without_recording_row))
    yield from _count("call without a row in `transcripts`", _keys(evidence.calls_without_transcript_row))
    for name, call_ids in (
        ("recordings", evidence.recordings_without_call),
        ("transcripts", evidence.transcripts_without_call),
    ):
        yield from _count(f"row of `{name}` whose call the table `calls` does not have", _keys(call_ids))
    yield from name_unknown_statuses("recordings", evidence.recordings, RecordingStatus)
    yield from name_unknown_statuses("transcripts", evidence.transcripts, TranscriptStatus)


def _check_listed_calls(evidence: Evidence, listing: "Listing") -> Iterator[str]:
    """Yield a problem where the table `calls` has not all that was listed; it may hold more."""
    if evidence.lost_calls:
        yield f"{evidence.lost_calls} × call that was listed, and that the table `calls` has lost."
    names_no_calls = listing.call_digests is None  # version 0.1.0 wrote the listing: there are counts to compare
    listed = listing.listed_total
    if names_no_calls and not evidence.unreadable and evidence.calls + evidence.erased < listed:
        erased = f", {evidence.erased} were erased" if evidence.erased else ""
        yield f"{listed} calls were listed, and the table `calls` has {evidence.calls}{erased}."


def _check_listing(listing: "Listing", *, may_be_proved_later: bool) -> Iterator[str]:
    if not listing.out_of_requests and not may_be_proved_later:  # otherwise the day waits for the next run
        yield from listing.problems
    if not listing.proved and not listing.problems:
        yield "The list is not proved."
    if listing.unparsed:
        kinds = "; ".join(f"{count} × {problem}" for problem, count in Counter(listing.unparsed).most_common(3))
        yield f"{len(listing.unparsed)} rows of the list are no calls, and are kept in state/unparsed/: {kinds}."


def _may_be_proved_later(evidence: Evidence) -> bool:
    """Return whether only calls that complete or vanish kept the list from being proved, and late ones may come."""
    return evidence.listing is not None and evidence.listing.is_moving and not evidence.grace_is_over


def _check_recordings(evidence: Evidence) -> Iterator[str]:
    """Yield problems unless every recording is safe, and the bucket holds every archived one with its size."""
    for status, call_ids in evidence.unsafe.items():
        kinds = describe_kinds(evidence.unsafe_kinds.get(status, Counter()))
        for sentence in _count(f"recording {status}", _keys(call_ids)):
            yield f"{sentence.removesuffix('.')} ({kinds})." if kinds else sentence
    yield from _count("archived recording that is not in the bucket", evidence.objects_missing)
    yield from _count("archived recording of another size in the bucket", evidence.objects_of_other_size)
    yield from _count(
        "archived recording with the same bytes as another call's, though upstream declares another size or length",
        _keys(evidence.contradicted),
    )
    yield from _count(
        "body that came and was rejected is kept in quarantine; an operator can accept it with the job "
        "`accept_quarantined`",
        _keys(evidence.quarantined),
    )


def _check_transcripts(evidence: Evidence) -> Iterator[str]:
    """Yield problems unless the turns of each kept transcript, joined, are as long as its text."""
    yield from _count("kept text without turns", _keys(evidence.texts_without_turns))
    yield from _count("kept text whose turns are not as long as it is", _keys(evidence.texts_unlike_their_turns))
    yield from _count("call with turns and without a kept text", _keys(evidence.turns_without_text))
    if evidence.grace_is_over:
        yield from _count(_UNREAD_ANSWER, _keys(evidence.unread_answers))


def _check_objects(evidence: Evidence) -> Iterator[str]:
    """Yield problems where the bucket holds audio of the day that the tables do not name."""
    yield from _count("object in the bucket that no row of the table names", evidence.objects_unknown)
    yield from _count("object of an erased call", evidence.objects_of_erased_calls)


def find_pending_listing(evidence: Evidence) -> list[str]:
    """Return a sentence for each reason why the list is to be read again, without anybody acting."""
    listing = evidence.listing
    is_moving = listing is not None and (listing.out_of_requests or _may_be_proved_later(evidence))
    return [
        *(listing.problems if listing is not None and is_moving else []),
        *(listing.pending if listing is not None else []),
        *(
            ["The list was last read before late calls could come: materialize the whole day."]
            if evidence.listed_before_late_data
            else []
        ),
    ]


def _find_what_may_still_come(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for each thing that is missing and may still come without anybody acting."""
    yield from find_pending_listing(evidence)
    if not evidence.grace_is_over:
        yield from _count(_UNREAD_ANSWER, _keys(evidence.unread_answers))
    pending = {
        "recordings": evidence.recordings[RecordingStatus.PENDING],
        "transcripts": evidence.transcripts[TranscriptStatus.PENDING],
    }
    for what, count in pending.items():
        if count:
            yield f"{count} {what} are pending."
    if evidence.second_answers_due_at is not None:
        counts = " and ".join(f"{count} {table}" for table, count in sorted(evidence.answered_once.items()))
        yield (
            f"Upstream has said once that there is none, of {counts}: nothing is to do. A second answer settles them, "
            f"from {evidence.second_answers_due_at:%Y-%m-%d %H:%M} UTC on, or when upstream is about to delete the day."
        )
    unanswered = pending["transcripts"] - len(evidence.unread_answers)
    if unanswered > evidence.answered_once["transcripts"] and evidence.grace_is_over:
        yield (
            "The grace days are over, and upstream has not answered for the pending transcripts: each run asks again. "
            "The metadata of `transcripts` says why; a refusal needs a person."
        )


def _keys(call_ids: list[str]) -> list[str]:
    """Return ids as they may be shown: an id that is not plain could hold what a terminal or a log would obey."""
    return [call_key(call_id) for call_id in call_ids]


def _count(what: str, names: list[str]) -> list[str]:
    """Return `3 × recording lost: call_a, call_b, call_c.` with at most five names, or nothing where there are none."""
    if not names:
        return []
    more = ", …" if len(names) > _MAX_NAMES else ""
    return [f"{len(names)} × {what}: {', '.join(sorted(names)[:_MAX_NAMES])}{more}."]
