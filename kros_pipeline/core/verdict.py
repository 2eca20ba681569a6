"""Is a day complete? What the source says, what the tables say and what the bucket holds, put side by side.

Never green on a mismatch: what is missing and may still come makes a day `waiting`, anything else that is not as it
should be makes it `incomplete`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .evidence import Evidence
from .object_keys import call_key

COMPLETE, WAITING, INCOMPLETE = "complete", "waiting", "incomplete"

CALLS_CHECK = "every_call_is_accounted_for"
RECORDINGS_CHECK = "every_recording_is_safe"
TRANSCRIPTS_CHECK = "every_transcript_is_parsed"
OBJECTS_CHECK = "no_object_is_unknown"
HOLD_CHECK = "every_flagged_recording_is_held"
CHECKS = {
    CALLS_CHECK: "The list was read whole and proved, every row of it was understood, and every call has its rows.",
    RECORDINGS_CHECK: "Nothing is lost, failed or refused, and the bucket holds every archived object in its size.",
    TRANSCRIPTS_CHECK: "The turns of every kept transcript, joined, are as long as its text.",
    OBJECTS_CHECK: "The bucket holds no audio of the day that the table does not know.",
    HOLD_CHECK: "Archived recordings of flagged calls are under legal hold, if KROS_LEGAL_HOLD is on.",
}
WHAT_TO_DO = {
    CALLS_CHECK: "Materialize the whole day again; if the list stays unproved or unread, ask KrosAI why.",
    RECORDINGS_CHECK: (
        "Materialize the whole day again: what failed is tried again, what vanished is fetched again. Bodies that "
        "arrived and were not verified are below quarantine/. An object of another size was changed by somebody else: "
        "move it out of audio/, and the next run fetches the recording again. A refused host belongs into "
        "KROS_RECORDING_HOSTS, if it is KrosAI's. What is lost is gone upstream: once that is understood, name the "
        "calls in the run config of "
        "`reconciliation` (acknowledged_call_ids)."
    ),
    TRANSCRIPTS_CHECK: "Materialize the whole day again; if it stays so, somebody else writes these tables.",
    OBJECTS_CHECK: (
        "Materialize the whole day again: what a broken-off run left behind is taken in. What stays unknown "
        "was written by somebody else: find out by whom, and move it out of audio/. For an object of an erased call, "
        "launch `erase_calls` again with the same calls."
    ),
    HOLD_CHECK: "Make a bucket with Object Lock the archive's, or allow the hold, or set KROS_LEGAL_HOLD to off.",
}
_SAMPLE = 5


@dataclass(frozen=True)
class Verdict:
    """`failures` has, for each check, the sentences that make it red; `notes` are told and weigh nothing."""

    verdict: str
    failures: dict[str, list[str]]
    notes: list[str]

    @property
    def problems(self) -> list[str]:
        """All sentences, for the table."""
        return [sentence for sentences in self.failures.values() for sentence in sentences] + self.notes


def decide_verdict(found: Evidence) -> Verdict:
    """The verdict of a day."""
    failures = {
        CALLS_CHECK: list(_of_calls(found)),
        RECORDINGS_CHECK: list(_of_recordings(found)),
        TRANSCRIPTS_CHECK: list(_of_transcripts(found)),
        OBJECTS_CHECK: [
            *_counted("object in the bucket that no row of the table names", found.objects_unknown),
            *_counted("object of an erased call", found.objects_of_erased_calls),
        ],
    }
    waiting = list(_waited_for(found))
    notes = waiting + _counted("recording that is not safe, acknowledged", _keys(found.acknowledged))
    notes += found.listing.oddities if found.listing else []
    verdict = INCOMPLETE if any(failures.values()) else WAITING if waiting else COMPLETE
    # What is not held is archived all the same: its check is red, and the day's verdict stays.
    return Verdict(verdict, failures | {HOLD_CHECK: found.unheld}, notes)


def _of_calls(found: Evidence) -> Iterable[str]:
    listing = found.listing
    if listing is None:
        yield "The day's calls were never listed: materialize `calls`."
    else:
        if not listing.out_of_requests:
            yield from listing.problems
        if not listing.proved and not listing.problems:
            yield "The list is not proved."
        if listing.unparsed:
            kinds = "; ".join(f"{count} × {problem}" for problem, count in Counter(listing.unparsed).most_common(3))
            yield f"{len(listing.unparsed)} rows of the list are no calls, and are kept in state/unparsed/: {kinds}."
        if found.calls + found.erased < listing.listed_total:
            but = f", {found.erased} were erased" if found.erased else ""
            yield f"{listing.listed_total} calls were listed, and the table `calls` has {found.calls}{but}."
    yield from _counted("call without a row in `recordings`", _keys(found.calls_without_recording_row))
    yield from _counted("call without a row in `transcripts`", _keys(found.calls_without_transcript_row))


def _of_recordings(found: Evidence) -> Iterable[str]:
    for status, ids in found.unsafe.items():
        yield from _counted(f"recording {status}", _keys(ids))
    yield from _counted("archived recording that is not in the bucket", found.objects_missing)
    yield from _counted("archived recording of another size in the bucket", found.objects_of_other_size)


def _of_transcripts(found: Evidence) -> Iterable[str]:
    if found.transcript_chars != found.utterance_chars:
        yield f"Kept transcripts have {found.transcript_chars} characters, their turns {found.utterance_chars}."
    if found.transcripts_with_text != found.calls_with_utterances:
        yield f"{found.transcripts_with_text} transcripts have text, {found.calls_with_utterances} calls have turns."


def _waited_for(found: Evidence) -> Iterable[str]:
    if found.listing is not None and found.listing.out_of_requests:
        yield from found.listing.problems
    if found.listed_before_late_data:
        yield "The list was last read before late calls could come: materialize the whole day."
    for what, count in (("recordings", found.recordings["pending"]), ("transcripts", found.transcripts["pending"])):
        if count:
            yield f"{count} {what} are pending."


def _keys(call_ids: list[str]) -> list[str]:
    """As ids are shown: a plain one as it is; any other may hold what a screen or a log would obey."""
    return [call_key(call_id) for call_id in call_ids]


def _counted(what: str, items: list[str]) -> list[str]:
    """`3 × recording lost: call_a, call_b, call_c`, with a few of the names."""
    if not items:
        return []
    more = ", …" if len(items) > _SAMPLE else ""
    return [f"{len(items)} × {what}: {', '.join(sorted(items)[:_SAMPLE])}{more}."]
