"""Write lists as CSV."""

import csv
import io
import re
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence

from starlette.responses import StreamingResponse

_IS_NUMBER = re.compile(r"[+-]?[\d.,: ()-]+").fullmatch
_PART_CHARACTERS = 64_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet runs as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _IS_NUMBER(text) else text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a CSV file, many at once: each part costs a change of threads."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
        if buffer.tell() >= _PART_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def csv_response(name: str, lines: Iterable[str] | AsyncIterable[str]) -> StreamingResponse:
    """Answer with a CSV file to be saved."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=disposition)
