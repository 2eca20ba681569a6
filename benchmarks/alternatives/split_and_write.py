"""Transcripts to turns with as little as there can be: `str.split`, lists for columns, one Parquet file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def split(path: str, to: str) -> Generator[None, None, dict[str, Any]]:
    """Of a file of transcripts; no label but at a line's start is expected, and nothing is checked."""
    text, whole = pa.string(), pa.int64()
    schema = pa.schema(
        [("call_id", text), ("turn_index", whole), ("speaker", text), ("text", text), ("word_count", whole)]
    )
    turns = 0
    pa.array([None])  # where pandas is installed, Arrow imports it now
    yield
    with pq.ParquetWriter(to, schema, compression="zstd", compression_level=3) as writer:
        for batch in pq.ParquetFile(path).iter_batches(5_000, columns=["call_id", "text"]):
            ids: list[str] = []
            numbers: list[int] = []
            speakers: list[str] = []
            speech: list[str] = []
            words: list[int] = []
            for call_id, transcript in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                for number, turn in enumerate(transcript.split("\n")):
                    speaker, _, said = turn.partition("]: ")
                    ids.append(call_id)
                    numbers.append(number)
                    speakers.append(speaker[1:].lower())
                    speech.append(said)
                    words.append(len(said.split()))
            turns += len(ids)
            writer.write_table(pa.table([ids, numbers, speakers, speech, words], schema=schema))
    return {"units": turns}
