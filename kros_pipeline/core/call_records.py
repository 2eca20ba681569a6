"""Records of sealed calls, and the lines of a manifest.

A record is one line of canonical JSON: all that the tables have of a call, the key and the SHA-256 of its recording,
and 128 random bits, without which somebody who guesses the rest could test the guess against the seal.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from .json_values import canonical_json

SALT_BYTES = 16
ERASURE_MARK = "erasure"
NO_AUDIO = {"key": "", "sha256": ""}
_SAFE_INTEGER = 2**53  # what every reader of JSON holds exactly
# These change with each look at a call, and say nothing new of it.
_NOT_COMPARED = {"transcripts": ("asked_at",), "recordings": ("attempts",)}

Record = dict[str, Any]


def make_record(
    day: date, call_id: str, tables: Mapping[str, list[dict[str, Any]]], audio: Mapping[str, str] | None
) -> Record:
    """Make the record of a call, without its salt. `audio` has `key` and `sha256`, None where there is no recording."""
    return {
        "audio": dict(audio or NO_AUDIO),  # the first name of the line: VERIFY.txt reads it there
        "call_id": call_id,
        "day": day.isoformat(),
        "tables": {name: [_plain(row) for row in rows] for name, rows in tables.items()},
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    """Return a value as JSON has it: times in ISO 8601, numbers that every reader reads alike."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return int(value) if value.is_integer() and abs(value) < _SAFE_INTEGER else value
    if isinstance(value, int) and abs(value) >= _SAFE_INTEGER:
        return str(value)
    return value


def is_same_record(line: bytes, record: Record) -> bool:
    """Return whether a stored line says of a call what the record says, whatever its salt and the times of checks.

    A column or a table that was added since and has nothing is no difference: no day is sealed again for that.
    """
    stored = parse_record(line)
    return stored is not None and _compared(stored) == _compared(record)


def _compared(record: Record) -> object:
    tables = record.get("tables")
    if not isinstance(tables, dict):
        return None
    compared = {
        name: [
            {key: value for key, value in row.items() if value is not None and key not in _NOT_COMPARED.get(name, ())}
            for row in rows
        ]
        for name, rows in tables.items()
        if rows
    }
    return {**{name: value for name, value in record.items() if name != "salt"}, "tables": compared}


def parse_record(line: bytes) -> Record | None:
    """Return the record in a line; None where it has none: it is the mark of an erasure, or somebody else's."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("call_id"), str) else None


def write_record(record: Record, salt: bytes) -> bytes:
    """Return the line of a record, with its line end."""
    return (canonical_json({**record, "salt": salt.hex()}) + "\n").encode()


def write_manifest_line(sha256: str, path: str) -> bytes:
    """Return a line as `sha256sum -c` reads it. Paths have no character that would have to be escaped."""
    return f"{sha256}  {path}\n".encode()


def hash_line(line: bytes) -> str:
    """Return the SHA-256 of a line, its line end included."""
    return hashlib.sha256(line).hexdigest()


def parse_manifest_line(line: bytes) -> tuple[str, str] | None:
    """Return hash and path of a manifest line; None for a remark."""
    sha256, separator, path = line.decode("utf-8", "replace").removesuffix("\n").partition("  ")
    return (sha256, path) if separator and len(sha256) == 64 and "/" in path else None


def write_erasure_mark(token: str) -> bytes:
    """Return the line that makes a file of records another one than before an erasure."""
    return (canonical_json({ERASURE_MARK: token}) + "\n").encode()


def write_remark(name: str, value: str) -> bytes:
    """Return a remark of a manifest, which `sha256sum -c` does not read."""
    return f"# {name} {value}\n".encode()


def remarks_in(lines: Iterable[bytes], name: str) -> list[str]:
    """Return the values of the remarks of one name."""
    begin = f"# {name} "
    texts = (line.decode("utf-8", "replace").removesuffix("\n") for line in lines)
    return [text.removeprefix(begin) for text in texts if text.startswith(begin)]
