"""The days of a generated archive: every table, listing and record of a day is made from one template.

A template names the day by placeholders of the length of what replaces them, in columns that are not compressed. So
each body of each day has the same size, a listing needs no body, and a body costs a replacement of bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kros_pipeline.core import schemas
from kros_pipeline.core.call_records import make_record, write_manifest_line, write_record
from kros_pipeline.core.days import start_of
from kros_pipeline.core.id_digests import digest_id
from kros_pipeline.core.object_keys import AUDIO
from kros_pipeline.steps.extension_journal import Decision

AUDIO_BYTES = 240_000
AUDIO_SHA256 = "a5" * 32
RULE, EXTEND_DAYS = "all_calls", 90
GRACE = timedelta(days=10)
_ID, _ISO, _IN_NUMBER = b"@the-day", b"0000-00-00", b"@@day"
_NO_DATE = date(1, 1, 1)
_DATE, _CREATED, _CHECKED = 0x4B6A5D7E, 0x1B6A3D7F4C6A5E71, 0x1C6B5E7F4D6B5E72
_PLAIN = {"call_id", "call_date", "from_number", "object_key", "created_at", "checked_at", "decision_id"}
_TURNS = ("[Agent]: Good day, how may I help?", "[Caller]: I would like to change my order, please.")


class GeneratedDays:
    """What a day of `calls` calls has. `full_prefix` is that of the archive in its bucket.

    The ids of a day lie anywhere between those of the others, as random ids do: no range of ids excludes a day.
    `flagged_every`: one of so many calls is flagged, and its recording is kept longer upstream.
    """

    def __init__(self, calls: int, full_prefix: str, *, flagged_every: int = 100):
        self.calls, self._full_prefix = calls, full_prefix
        heads = sorted({hashlib.sha256(b"%d" % number).hexdigest()[:10] for number in range(calls)})
        assert len(heads) == calls
        self._ids = [f"call_{head}{_ID.decode()}" for head in heads]
        self._flagged = self._ids[::flagged_every]

    def ids(self, day: date) -> list[str]:
        """The ids of a day's calls, sorted."""
        return self._names(self._ids, day)

    def flagged(self, day: date) -> list[str]:
        """The ids of the calls that a rule flags."""
        return self._names(self._flagged, day)

    def decisions(self, day: date) -> list[str]:
        """The ids of the day's decisions, in the order of their calls."""
        return [Decision(call_id, RULE, EXTEND_DAYS).decision_id for call_id in self.flagged(day)]

    def caller(self, day: date, place: int) -> str:
        """The number that made the call with a place in the day; it calls once."""
        return f"+234{_in_number(day)}{place:05}"

    def _names(self, templates: Sequence[str], day: date) -> list[str]:
        return "\n".join(templates).replace(_ID.decode(), _day_id(day)).split("\n") if templates else []

    # Bodies.

    def table(self, name: str, day: date, _: str = "") -> bytes:
        """The Parquet file of a table."""
        body = self._fill(self._tables[name], day)
        if name == schemas.RETENTION_EXTENSIONS.name:
            for number, decision_id in enumerate(self.decisions(day)):
                body = body.replace(_no_decision(number).encode(), decision_id.encode(), 1)
        return body

    def size_of_table(self, name: str, _: str = "") -> int:
        return len(self._tables[name])

    def listing(self, day: date) -> bytes:
        """The listing, which names every call."""
        packed = b64encode(b"".join(sorted(map(digest_id, self.ids(day)))))
        return self._listing.replace(b'"digests"', b'"%s"' % packed)

    def size_of_listing(self, _: str = "") -> int:
        return len(self._listing) + -(-8 * self.calls // 3) * 4 - len("digests")

    def checked_tables(self, day: date, version: str) -> bytes:
        """The record of the tables that the day's reconciliation has compared."""
        counted = {"calls": self.calls, "counters": {}, "is_settled": True}
        return json.dumps({"versions": dict.fromkeys(schemas.TABLES, version), "counted": counted}).encode()

    def journal(self, day: date) -> dict[str, bytes]:
        """Intent and outcome of each decision, by their names below the day."""
        found = {}
        for decision, call_id in zip(self.decisions(day), self.flagged(day), strict=True):
            found[f"{decision}/001-intent.json"] = json.dumps({"call_id": call_id, "sent_days": EXTEND_DAYS}).encode()
            found[f"{decision}/001-outcome.json"] = b'{"status": "extended"}'
        return found

    def audit(self, day: date) -> bytes:
        """What the step `recordings` has recorded, a line a call."""
        return self._fill(self._audit, day)

    def records(self, day: date) -> bytes:
        """The records of the sealed day."""
        return self._fill(self._records, day)

    def manifest(self, day: date) -> bytes:
        """The manifest of the sealed day."""
        return self._fill(self._manifest, day)

    def size_of(self, name: str) -> int:
        """Return the size of an object by the end of its name, which is the same each day."""
        for end, body in (("records.jsonl", self._records), ("recordings.jsonl", self._audit)):
            if name.endswith(end):
                return len(body)
        if name.endswith("json"):
            return next(len(body) for key, body in self._any_journal.items() if key[-12:] == name[-12:])
        return len(self._manifest)

    @cached_property
    def _any_journal(self) -> dict[str, bytes]:
        return self.journal(date(2025, 1, 1))

    def _fill(self, template: bytes, day: date) -> bytes:
        noon = start_of(day) + timedelta(hours=12)
        for place, value in (
            (_ID, _day_id(day).encode()),
            (_ISO, day.isoformat().encode()),
            (_IN_NUMBER, _in_number(day).encode()),
            (struct.pack("<i", _DATE), struct.pack("<i", (day - date(1970, 1, 1)).days)),
            (struct.pack("<q", _CREATED), struct.pack("<q", _microseconds(noon))),
            (struct.pack("<q", _CHECKED), struct.pack("<q", _microseconds(noon + GRACE))),
        ):
            template = template.replace(place, value)
        return template

    # Templates.

    @cached_property
    def _tables(self) -> dict[str, bytes]:
        return {name: self._write(table, self._rows[name]) for name, table in schemas.TABLES.items()}

    @cached_property
    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        text = "\n".join(_TURNS)
        callers = [f"+234{_IN_NUMBER.decode()}{place:05}" for place in range(self.calls)]
        turns = [
            {
                "turn_index": index, "speaker": ("agent", "caller")[index], "text": turn.split(": ")[1],
                "word_count": 6, "char_start": text.index(turn), "char_end": text.index(turn) + len(turn),
            }
            for index, turn in enumerate(_TURNS)
        ]  # fmt: skip
        each: Callable[[Any], list[dict[str, Any]]] = lambda row: [{"call_id": one} | row for one in self._ids]  # noqa: E731
        recordings = {"status": "archived", "size_bytes": AUDIO_BYTES, "sha256": AUDIO_SHA256, "duration_seconds": 20.0}
        return {
            "calls": [
                row | {"from_number": caller, "to_number": "+15550000001"}
                for row, caller in zip(each({"has_recording": True, "extra": "{}"}), callers, strict=True)
            ],
            "recordings": [
                row | {"object_key": self._full_prefix + _key_of(row["call_id"])} for row in each(recordings)
            ],
            "transcripts": each({"status": "kept", "source": "list", "text": text, "word_count": 12}),
            "utterances": [{"call_id": one} | turn for one in self._ids for turn in turns],
            "flagged_calls": [
                {"call_id": one, "rule_id": RULE, "reason": "all", "extend_days": EXTEND_DAYS, "rules_version": "1"}
                for one in self._flagged
            ],
            "retention_extensions": [
                {
                    "call_id": one, "decision_id": _no_decision(number), "rule_id": RULE, "attempts": 1,
                    "requested_days": EXTEND_DAYS, "sent_days": EXTEND_DAYS, "status": "extended",
                }
                for number, one in enumerate(self._flagged)
            ],
            "reconciliation": [
                {
                    "verdict": "complete", "problems": ["the list was read by windows of 6 hours"],
                    "listed_total": self.calls, "calls": self.calls, "recordings_expected": self.calls,
                    "recordings_archived": self.calls, "objects_in_bucket": self.calls,
                    "bytes_in_bucket": self.calls * AUDIO_BYTES, "transcripts_expected": self.calls,
                    "transcripts_kept": self.calls, "utterances": 2 * self.calls, "audio_seconds": 20.0 * self.calls,
                }
            ],
        }  # fmt: skip

    def _write(self, table: schemas.Table, rows: list[dict[str, Any]]) -> bytes:
        columns = [
            pa.array([_value(column, row) for row in rows], pa.int64()).cast(field.type)
            if column.type == schemas.TIMESTAMP
            else pa.array([_value(column, row) for row in rows], pa.int32()).cast(field.type)
            if column.type == schemas.DATE
            else pa.array([_value(column, row) for row in rows], field.type)
            for column, field in zip(table.columns, table.schema, strict=True)
        ]
        packed = [column.name for column in table.columns if column.name not in _PLAIN]
        paths = ["problems.list.element" if name == "problems" else name for name in packed]
        file = io.BytesIO()
        pq.write_table(
            pa.Table.from_arrays(columns, schema=table.schema),
            file,
            row_group_size=100_000,
            use_dictionary=paths,
            compression=dict.fromkeys(paths, "zstd") | dict.fromkeys(_PLAIN & set(table.column_names), "none"),
            write_statistics=[name for name in table.column_names if name not in ("decision_id", "problems")],
        )
        return file.getvalue()

    @cached_property
    def _listing(self) -> bytes:
        listed_at = "2025-01-01T00:00:00+00:00"
        value = {"proved": True, "listed_total": self.calls, "listed_at": listed_at, "call_digests": "digests"}
        return json.dumps(value, sort_keys=True, indent=1).encode()

    @cached_property
    def _audit(self) -> bytes:
        line = '{{"at": "2025-01-01T00:00:00+00:00", "call": "{}", "event": "archived", "run": "r"}}\n'
        return "".join(map(line.format, self._ids)).encode()

    @cached_property
    def _records(self) -> bytes:
        salt = bytes(16)
        lines = []
        for row in self._rows["calls"]:
            audio = {"key": _key_of(row["call_id"]), "sha256": AUDIO_SHA256}
            lines.append(write_record(make_record(_NO_DATE, row["call_id"], {"calls": [row]}, audio), salt))
        return b"".join(lines).replace(_NO_DATE.isoformat().encode(), _ISO)

    @cached_property
    def _manifest(self) -> bytes:
        return b"".join(write_manifest_line(AUDIO_SHA256, _key_of(call_id)) for call_id in self._ids)


def _key_of(call_id: str) -> str:
    return f"{AUDIO}dt={_ISO.decode()}/{call_id}.mp3"


def _day_id(day: date) -> str:
    return f"{day.toordinal():08}"


def _in_number(day: date) -> str:
    return f"{day.toordinal() % 100_000:05}"


def _no_decision(number: int) -> str:
    return f"@@decision@@{number:020}"


def _microseconds(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000


def _value(column: schemas.Column, row: dict[str, Any]) -> Any:
    if column.name in row:
        return row[column.name]
    if column.name == "call_date":
        return _DATE
    if column.name == "created_at":
        return _CREATED
    if column.name == "checked_at":
        return _CHECKED
    if column.nullable:
        return None
    return {schemas.INT64: 0, schemas.BOOL: True, schemas.TIMESTAMP: 1_735_700_000_000_000}.get(column.type, "")
