"""Split transcripts into turns as a first notebook does: loop over a frame, make a dict for each turn."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

import pandas as pd

_TURN = re.compile(r"^\[(\w+)\]: ?(.*)$")


def split(path: str, to: str) -> Generator[None, None, dict[str, Any]]:
    """Split the transcripts of one Parquet file."""
    yield
    frame = pd.read_parquet(path)
    rows = []
    for _, call in frame.iterrows():
        for number, line in enumerate(call["text"].splitlines()):
            match = _TURN.match(line)
            if match:
                rows.append(
                    {
                        "call_id": call["call_id"],
                        "call_date": call["call_date"],
                        "turn_index": number,
                        "speaker": match[1].lower(),
                        "text": match[2],
                        "word_count": len(match[2].split()),
                    }
                )
    pd.DataFrame(rows).to_parquet(to, compression="zstd")
    return {"units": len(rows)}
