"""Split transcripts into turns with minimal code: `str.split`, a list for each column, one Parquet file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def split(path: str, to: str) -> Generator[None, None, dict[str, Any]]:
    """Split the transcripts of one Parquet file. Labels are expected at line starts only, and nothing is checked."""
    string, int64 = pa.string(), pa.int64()
    schema = pa.schema(
        [("call_id", string), ("turn_index", int64), ("speaker", string), ("text", string), ("word_count", int64)]
    )
    turns = 0
    pa.array([None])  # lets Arrow import pandas now, if it is installed
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
