"""Gathers the evidence of a day: what the source said, what the tables say and what the bucket holds."""

from collections import Counter
from collections.abc import Mapping
from datetime import date

import pyarrow.compute as pc

from ..archive.acknowledgements import acknowledged_call_keys
from ..archive.listings import read_listing
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import MAX_AGE_SECONDS, Tombstones
from ..core import schemas
from ..core.clock import Clock
from ..core.days import grace_is_over, parse_time
from ..core.evidence import Evidence
from ..core.listing import Listing
from ..core.object_keys import call_key, call_key_in
from ..core.statuses import UNSAFE_RECORDINGS, RecordingStatus, TranscriptStatus


def gather_evidence(
    day: date,
    stored: Mapping[str, int],
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    clock: Clock,
    lookback_days: int,
) -> Evidence:
    """Read everything that the verdict on a day needs. `stored` is the day's audio in the bucket: key to bytes."""
    pseudonyms = tombstones.pseudonyms()
    calls = {row["call_id"] for row in tables.rows(schemas.CALLS, day, ("call_id",))}
    recordings = tables.rows(schemas.RECORDINGS, day, ("call_id", "status", "object_key", "size_bytes"))
    acknowledged = acknowledged_call_keys(store, day)
    unsafe = [row for row in recordings if row["status"] in UNSAFE_RECORDINGS]
    accepted = [row for row in unsafe if call_key(row["call_id"]) in acknowledged]
    reported = [row for row in unsafe if call_key(row["call_id"]) not in acknowledged]
    prefix = store.full_key("")
    archived = {
        row["object_key"].removeprefix(prefix): row["size_bytes"]
        for row in recordings
        if row["status"] == RecordingStatus.ARCHIVED
    }
    unknown = sorted(stored.keys() - archived.keys())
    erased_keys = [key for key in unknown if tombstones.matches(call_key_in(key) or "", pseudonyms)]
    listing = read_listing(store, day)
    evidence = Evidence(
        listing=listing,
        listed_before_late_data=_was_listed_early(day, listing, clock, lookback_days),
        calls=len(calls),
        recordings=Counter(row["status"] for row in recordings),
        transcripts=Counter(),
        calls_without_recording_row=sorted(calls - {row["call_id"] for row in recordings}),
        unsafe={
            str(status): [row["call_id"] for row in reported if row["status"] == status] for status in UNSAFE_RECORDINGS
        },
        acknowledged=[row["call_id"] for row in accepted],
        objects_missing=sorted(archived.keys() - stored.keys()),
        objects_of_other_size=[key for key, size in archived.items() if stored.get(key, size) != size],
        objects_unknown=[key for key in unknown if key not in erased_keys],
        erased=len(tombstones.pseudonyms_of(day, max_age_seconds=MAX_AGE_SECONDS)),
        objects_of_erased_calls=erased_keys,
    )
    _add_texts(day, calls, tables, evidence)
    return evidence


def _was_listed_early(day: date, listing: Listing | None, clock: Clock, lookback_days: int) -> bool:
    """Return whether the grace days are over, and the list was last read before they were."""
    listed_at = parse_time(listing.listed_at) if listing is not None else None
    return (
        listed_at is not None
        and grace_is_over(day, clock.now(), lookback_days)
        and not grace_is_over(day, listed_at, lookback_days)
    )


def _add_texts(day: date, calls: set[str], tables: Tables, evidence: Evidence) -> None:
    """Add up lengths of texts and of turns, a batch at a time: no text is held."""
    missing = set(calls)
    with tables.opened(schemas.TRANSCRIPTS, day) as transcripts:
        for batch in transcripts.batches(("call_id", "status", "text")) if transcripts else ():
            missing.difference_update(batch.column("call_id").to_pylist())
            evidence.transcripts.update(batch.column("status").to_pylist())
            is_kept = pc.equal(batch.column("status"), TranscriptStatus.KEPT.value)
            lengths = pc.utf8_length(batch.filter(is_kept).column("text"))
            evidence.transcript_chars += pc.sum(lengths).as_py() or 0
            evidence.transcripts_with_text += pc.sum(pc.greater(lengths, 0)).as_py() or 0
    evidence.calls_without_transcript_row = sorted(missing)
    with tables.opened(schemas.UTTERANCES, day) as utterances:
        for batch in utterances.batches(("turn_index", "char_start", "char_end")) if utterances else ():
            spans = pc.subtract(batch.column("char_end"), batch.column("char_start"))
            evidence.utterance_chars += pc.sum(spans).as_py() or 0
            evidence.calls_with_utterances += pc.sum(pc.equal(batch.column("turn_index"), 0)).as_py() or 0
