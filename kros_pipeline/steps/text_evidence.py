"""Compares the kept texts of a day with their turns, call by call, in both directions. No text is kept in memory."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from ..archive.parquet import Partition, Row
from ..core import schemas
from ..core.evidence import Evidence
from ..core.sorted_lookup import outer_join
from ..core.speaker_roles import USUAL_ROLES
from ..core.statuses import Speaker, TranscriptStatus
from ..core.two_answers import are_two


def add_texts(opened: Mapping[str, Partition | None], evidence: Evidence, now: datetime) -> None:
    """Count transcripts and turns, and find the calls whose turns are not their text. `now` is the time of the check.

    `opened` are the readable tables, by name: None where there is no partition.
    """
    transcripts, utterances = opened.get("transcripts"), opened.get("utterances")
    columns = ("call_id", "status", "source", "fetched_at", "reason")
    for batch in transcripts.batches(columns) if transcripts else ():
        evidence.transcripts.update(batch.column("status").to_pylist())
        for row in batch.filter(pc.is_valid(batch.column("reason"))).to_pylist():
            if row["status"] == TranscriptStatus.KEPT:
                evidence.doubtful_texts[row["reason"]] += 1
            else:
                evidence.unread_answers.append(row["call_id"])
        for row in batch.filter(pc.equal(batch.column("status"), TranscriptStatus.PENDING.value)).to_pylist():
            _add_pending_text(row, evidence, now)
    if utterances is not None:
        evidence.utterances = utterances.row_count
        evidence.unknown_labels = _count_unknown_labels(utterances)
    if not {"transcripts", "utterances"} <= opened.keys():
        return
    for text, turns in outer_join(_measure_texts(transcripts), _measure_turns(utterances)):
        if text is None:
            if turns is not None:
                evidence.turns_without_text.append(turns["call_id"])
        elif turns is None:
            evidence.texts_without_turns.append(text["call_id"])
        elif not text["chars"] == turns["chars"] == turns["end"]:
            evidence.texts_unlike_their_turns.append(text["call_id"])


def _count_unknown_labels(utterances: Partition) -> Counter[str]:
    """Count the turns of each label that names neither of the two roles, nor anybody else who is known."""
    counts: Counter[str] = Counter()
    for batch in utterances.batches(("speaker", "speaker_label")):
        is_role = pc.is_in(batch.column("speaker"), pa.array([Speaker.AGENT.value, Speaker.CALLER.value]))
        for item in batch.filter(pc.invert(is_role)).column("speaker_label").value_counts().to_pylist():
            if item["values"] is not None and not USUAL_ROLES.is_known(item["values"]):
                counts[item["values"]] += item["counts"]
    return counts


def _add_pending_text(row: Row, evidence: Evidence, now: datetime) -> None:
    """Count a pending transcript by what it waits for: a second answer, late data, or a run that can ask for it.

    One that is pending after its second answer was due was asked for, and upstream did not answer.
    """
    is_overdue = evidence.grace_is_over and are_two(row["fetched_at"], now)
    if row["source"] is None or is_overdue:
        evidence.pending_by_error += 1
    elif evidence.grace_is_over:
        evidence.add_answered_once(schemas.TRANSCRIPTS.name, row["fetched_at"])


def _measure_texts(transcripts: Partition | None) -> Iterator[Row]:
    """Yield the calls with a kept text, and its length in code points; texts of no length have no turns."""
    for batch in transcripts.batches(("call_id", "status", "text")) if transcripts else ():
        kept = batch.filter(pc.equal(batch.column("status"), TranscriptStatus.KEPT.value))
        # A kept row without its text is like no turns at all.
        lengths = pc.fill_null(pc.utf8_length(kept.column("text")), -1).to_pylist()
        for call_id, chars in zip(kept.column("call_id").to_pylist(), lengths, strict=True):
            if chars:
                yield {"call_id": call_id, "chars": chars}


def _measure_turns(utterances: Partition | None) -> Iterator[Row]:
    """Yield the calls with turns: the sum of their turns' lengths in code points, and where the last one ends."""
    call: Row | None = None
    for batch in utterances.batches(("call_id", "char_start", "char_end")) if utterances else ():
        chars = pc.subtract(batch.column("char_end"), batch.column("char_start"))
        turns = pa.table({"call_id": batch.column("call_id"), "chars": chars, "end": batch.column("char_end")})
        calls = turns.group_by("call_id", use_threads=False).aggregate([("chars", "sum"), ("end", "max")])
        calls = calls.sort_by("call_id")  # Arrow returns the groups in any order
        columns = (calls.column(name).to_pylist() for name in ("call_id", "chars_sum", "end_max"))
        for call_id, length, end in zip(*columns, strict=True):
            if call is not None and call["call_id"] == call_id:  # its turns began in the batch before
                call = {"call_id": call_id, "chars": call["chars"] + length, "end": max(call["end"], end)}
                continue
            if call is not None:
                yield call
            call = {"call_id": call_id, "chars": length, "end": end}
    if call is not None:
        yield call
