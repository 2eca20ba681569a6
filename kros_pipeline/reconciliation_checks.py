"""The checks of `reconciliation`: what each says when it is green, and what an operator does when it is red."""

import dagster as dg

from .core.verdict import CALLS_CHECK, HOLD_CHECK, OBJECTS_CHECK, RECORDINGS_CHECK, TRANSCRIPTS_CHECK, Verdict

DESCRIPTIONS = {
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


def check_results(verdict: Verdict) -> list[dg.AssetCheckResult]:
    """Return the result of each check: red with its sentences and what to do, or green with its description."""
    return [
        dg.AssetCheckResult(
            passed=not sentences,
            check_name=name,
            description=" ".join([*sentences, WHAT_TO_DO[name]]) if sentences else DESCRIPTIONS[name],
            metadata={"verdict": verdict.verdict.value},  # a text: Dagster's serializer refuses Enum members
        )
        for name, sentences in verdict.failures.items()
    ]
