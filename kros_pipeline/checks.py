"""The checks of each day. Those of the archive as a whole are in `archive_checks.py`."""

import warnings
from collections.abc import Mapping

import dagster as dg

from .core import schemas
from .core.day_summary import CheckSummary
from .core.verdict import (
    CALLS_CHECK,
    COUNTERS_CHECK,
    FORMAT_CHECK,
    HOLD_CHECK,
    OBJECTS_CHECK,
    RECORDINGS_CHECK,
    SHARED_CHECK,
    TRANSCRIPTS_CHECK,
    Verdict,
)

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
    COUNTERS_CHECK: "Upstream's counters show no more calls than the archive, and there are not suddenly none.",
    FORMAT_CHECK: "Every archived recording is an MP3, as upstream documents.",
    SHARED_CHECK: "No two archived recordings of more than 5 seconds have the same bytes.",
}
WHAT_TO_DO = {
    CALLS_CHECK: "Materialize the whole day again; if the list stays unproved or unread, ask KrosAI why.",
    RECORDINGS_CHECK: (
        "Materialize the whole day again: the run tries failed recordings again, and fetches missing ones again. "
        "A body that came and was rejected is below quarantine/, and its row names it: listen to it, and launch the "
        "job `accept_quarantined` if it is the call's recording; to have it downloaded again at once, name the call in "
        "the run config of `recordings` (call_ids). Recordings with another call's bytes, though upstream declares "
        "something else: ask KrosAI, move them out of audio/, and the next run fetches them again. "
        "An object of another size was changed by "
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
    COUNTERS_CHECK: (
        "The verdict stays. Compare the day with the KrosAI dashboard; if it shows more calls, ask KrosAI. "
        "The metadata of `reconciliation` has the counters."
    ),
    FORMAT_CHECK: (
        "The verdict stays: the bytes are archived as they came, at a key that ends in .mp3; Content-Type and the "
        "column `defects` say what they are. Ask KrosAI whether its format changed for good."
    ),
    SHARED_CHECK: (
        "The verdict stays: upstream declares nothing else for these calls, and a fresh URL gave the same bytes. "
        "Listen to two of them; an announcement may well be the same in many calls."
    ),
}
_WARNINGS = {COUNTERS_CHECK, FORMAT_CHECK, SHARED_CHECK}
_DAY_CHECKS: dict[str, dict[str, str]] = {
    "calls": {LIST_CHECK: "The list was proved, and every row of it was understood."},
    "recordings": {RECORDINGS_TRIED_CHECK: "Nothing kept the step from trying every recording that was not safe yet."},
    "transcripts": {TRANSCRIPTS_ASKED_CHECK: "Upstream answered for every transcript that had to be asked for."},
    "retention_extensions": {EXTENSIONS_CHECK: "Upstream answered every extension that was sent, and refused none."},
    "reconciliation": RECONCILIATION_CHECKS,
}


_SEE_PARTITIONS = 'This page shows the day that was checked last; "Partitions" shows every day.'


def day_check_specs(table: schemas.Table, days: dg.DailyPartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """Return the checks of one asset, partitioned: else a good day would turn another day's red check green."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # the pin on dagster's minor release is for this
        return [
            dg.AssetCheckSpec(
                name, asset=table.name, description=f"{description} {_SEE_PARTITIONS}", partitions_def=days
            )
            for name, description in _DAY_CHECKS.get(table.name, {}).items()
        ]


def reconciliation_check_results(verdict: Verdict, summaries: Mapping[str, CheckSummary]) -> list[dg.AssetCheckResult]:
    """Return the results of the checks of `reconciliation`, each with its numbers.

    A red one says what is wrong and what to do about it. One that waits for something is a warning, and says until
    when; it changes no verdict.
    """
    return [_check_result(name, sentences, verdict, summaries[name]) for name, sentences in verdict.failures.items()]


def _check_result(name: str, sentences: list[str], verdict: Verdict, summary: CheckSummary) -> dg.AssetCheckResult:
    is_warning = name in _WARNINGS or not sentences
    return dg.AssetCheckResult(
        passed=not sentences and not summary.is_waiting,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR,
        description=" ".join([*sentences, WHAT_TO_DO[name]]) if sentences else summary.sentence,
        metadata={**summary.numbers, "verdict": verdict.verdict.value},  # a text: Dagster refuses enum members
    )
