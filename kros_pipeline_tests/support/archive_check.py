"""An archive compared with the simulator's truth, by other means than the pipeline's: boto3, pyarrow, hashlib.

`assert_nothing_is_false` holds of every archive at every moment, however much is missing. `assert_archive_is_true`
holds of a day that is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow.parquet as pq

from kros_pipeline.sandbox import KrosaiSimulator

TABLES = {
    "calls": ("call_id",),
    "recordings": ("call_id",),
    "transcripts": ("call_id",),
    "utterances": ("call_id", "turn_index"),
    "flagged_calls": ("call_id", "rule_id"),
    "retention_extensions": ("call_id", "decision_id"),
    "reconciliation": ("call_date",),
}
SECRETS = re.compile(rb"X-Amz|recording_url|Signature=|kros_(?:test|live)_", re.IGNORECASE)
PHONE_NUMBER = re.compile(r"\+\d{9,}")


@dataclass(frozen=True)
class Archive:
    """What lies below one prefix, read from S3 anew each time."""

    client: Any
    bucket: str
    prefix: str

    def objects(self, below: str = "") -> dict[str, tuple[str, int]]:
        """Key below the prefix → ETag and size."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/{below}"
        ):
            for item in page.get("Contents", []):
                found[item["Key"].removeprefix(f"{self.prefix}/")] = (item["ETag"], item["Size"])
        return found

    def versions(self) -> dict[tuple[str, str], bytes]:
        """All that the bucket holds below the prefix: (key, version) → body; a delete marker has none."""
        found: dict[tuple[str, str], bytes] = {}
        whole = f"{self.prefix}/"
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=whole):
            for item in page.get("Versions", []):
                place = {"Bucket": self.bucket, "Key": item["Key"], "VersionId": item["VersionId"]}
                body = self.client.get_object(**place)["Body"].read()
                found[item["Key"].removeprefix(whole), item["VersionId"]] = body
            for item in page.get("DeleteMarkers", []):
                found[item["Key"].removeprefix(whole), item["VersionId"]] = b""
        return found

    def delete_version(self, key: str, version_id: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", VersionId=version_id)

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        return body

    def write(self, key: str, body: bytes) -> None:
        """As no pipeline would: to break the archive on purpose."""
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")

    def json(self, key: str) -> Any:
        return json.loads(self.read(key))

    def table(self, name: str, day: date) -> list[dict[str, Any]]:
        """The rows, or none where the partition is not there."""
        try:
            rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(self.read(table_key(name, day)))).to_pylist()
        except self.client.exceptions.NoSuchKey:
            return []
        return rows

    def by_call(self, name: str, day: date) -> dict[str, dict[str, Any]]:
        return {row["call_id"]: row for row in self.table(name, day)}

    def rewrite(self, name: str, day: date, change: Any) -> None:
        """Puts the table again with its rows changed by `change`, a function over a list of dicts."""
        table = pq.read_table(io.BytesIO(self.read(table_key(name, day))))
        file = io.BytesIO()
        pq.write_table(type(table).from_pylist(change(table.to_pylist()), table.schema), file)
        self.write(table_key(name, day), file.getvalue())


def table_key(name: str, day: date) -> str:
    return f"tables/{name}/dt={day}/part-0.parquet"


def completed_of(krosai: KrosaiSimulator, day: date) -> dict[str, dict[str, Any]]:
    """The completed calls of the UTC day of `created_at`, by id."""
    return {call["id"]: call for call in krosai.expected_calls(str(day)) if call["status"] == "completed"}


def assert_nothing_is_false(krosai: KrosaiSimulator, archive: Archive, day: date) -> None:
    """Lost, duplicated, corrupt and leaked are none; what is missing yet is not asked."""
    truth = completed_of(krosai, day)
    objects = archive.objects()
    tables = {name: archive.table(name, day) for name in TABLES}

    # Keys: one object a partition, nothing else below tables/, no number in any key.
    for key in objects:
        assert not PHONE_NUMBER.search(key)
        if key.startswith("tables/"):
            assert re.fullmatch(r"tables/\w+/dt=\d{4}-\d\d-\d\d/part-0\.parquet", key), key
            assert key.split("/")[1] in {*TABLES, "call_events"}, key  # an erasure creates the second one
        else:
            assert key.split("/")[0] in ("audio", "state", "quarantine", "audit", "seals", "reviews"), key

    # Rows: unique, of this day, sorted as promised.
    for name, unique in TABLES.items():
        keys = [tuple(row[column] for column in unique) for row in tables[name]]
        assert not [key for key, count in Counter(keys).items() if count > 1], name
        assert keys == sorted(keys), name
        assert {row["call_date"] for row in tables[name]} <= {day}, name

    # Calls: every one of them is true.
    calls = {row["call_id"]: row for row in tables["calls"]}
    assert calls.keys() <= truth.keys()
    for call_id, row in calls.items():
        call = truth[call_id]
        assert row["status"] == "completed"
        assert row["created_at"] == moment(call["created_at"]), call_id
        assert row["completed_at"] == moment(call["completed_at"]), call_id
        assert (row["direction"], row["duration_seconds"]) == (call["direction"], call["duration_seconds"]), call_id
        assert json.loads(row["extra"] or "{}") == call["extra"], call_id

    # Audio: what a row calls archived is in the bucket, byte for byte, and nothing else is.
    recordings = {row["call_id"]: row for row in tables["recordings"]}
    assert recordings.keys() <= calls.keys()
    archived = {
        row["object_key"].removeprefix(f"{archive.prefix}/"): row
        for row in recordings.values()
        if row["status"] == "archived"
    }
    of_the_day = {key for key in objects if key.startswith(f"audio/dt={day}/")}
    assert archived.keys() <= of_the_day
    for key, row in archived.items():
        body = archive.read(key)
        digest = hashlib.sha256(body).hexdigest()
        assert digest == row["sha256"] == truth[row["call_id"]]["sha256"], key
        assert len(body) == row["size_bytes"] == objects[key][1], key
        assert (row["sample_rate_hz"], row["channels"], row["bitrate_bps"]) == (48_000, 1, 96_000)
        assert row["duration_seconds"] == truth[row["call_id"]]["audio_frames"] * 1152 / 48_000
        assert row["reason"] is None and row["archived_at"] is not None
    if "recordings" in {key.split("/")[1] for key in objects if key.startswith("tables/")}:
        assert of_the_day == archived.keys(), "an object that no row names"
    for call_id, row in recordings.items():
        if row["status"] == "not_recorded":
            assert not truth[call_id]["recorded"] or truth[call_id]["deleted"], call_id
        if row["status"] != "archived":
            assert row["reason"] and row["object_key"] is None and row["sha256"] is None

    # Texts: each character of them, and the turns' spans rebuild them.
    transcripts = {row["call_id"]: row for row in tables["transcripts"]}
    assert transcripts.keys() <= calls.keys()
    for call_id, row in transcripts.items():
        reported = truth[call_id]["transcript"]
        assert (row["text"] is not None) == (row["status"] == "kept"), call_id
        if row["status"] == "kept":
            assert row["text"] == as_stored(reported), call_id
        if row["status"] == "none":
            assert reported is None, call_id
    turns: dict[str, list[dict[str, Any]]] = {}
    for row in tables["utterances"]:
        turns.setdefault(row["call_id"], []).append(row)
    for call_id, rows in turns.items():
        text = transcripts[call_id]["text"]
        assert [row["turn_index"] for row in rows] == list(range(len(rows)))
        assert "".join(text[row["char_start"] : row["char_end"]] for row in rows) == text, call_id
        for row in rows:
            assert row["text"] in text[row["char_start"] : row["char_end"]]
            assert row["created_at"] == calls[call_id]["created_at"]
            assert row["direction"] == calls[call_id]["direction"]

    # Flags and extensions are of calls of the day.
    assert {row["call_id"] for row in tables["flagged_calls"]} <= calls.keys()
    assert {row["call_id"] for row in tables["retention_extensions"]} <= calls.keys()

    # No URL, signature or key: in no value of a table, and in no byte of what is ours.
    for name, rows in tables.items():
        assert not SECRETS.search(repr(rows).encode()), name
    for key in objects:
        if not key.startswith(("audio/", "quarantine/")):
            assert not SECRETS.search(archive.read(key)), key


def assert_archive_is_true(krosai: KrosaiSimulator, archive: Archive, day: date) -> None:
    """Everything that upstream has is there, all of it is true, and the day is `complete`."""
    assert_nothing_is_false(krosai, archive, day)
    truth = completed_of(krosai, day)
    calls, recordings, transcripts = (archive.by_call(name, day) for name in ("calls", "recordings", "transcripts"))
    assert calls.keys() == recordings.keys() == transcripts.keys() == truth.keys()
    spoken = {row["call_id"] for row in archive.table("utterances", day)}
    for call_id, call in truth.items():
        assert recordings[call_id]["status"] == ("archived" if call["recorded"] else "not_recorded"), call_id
        assert transcripts[call_id]["status"] == ("none" if call["transcript"] is None else "kept"), call_id
        assert (call_id in spoken) == bool(call["transcript"]), call_id
    [row] = archive.table("reconciliation", day)
    recorded = sum(call["recorded"] for call in truth.values())
    assert row["verdict"] == "complete", row["problems"]
    assert row["listed_total"] == row["calls"] == len(truth)
    assert row["recordings_archived"] == row["recordings_expected"] == row["objects_in_bucket"] == recorded
    assert row["bytes_in_bucket"] == sum(call["size_bytes"] for call in truth.values() if call["recorded"])
    assert (
        row["transcripts_kept"]
        == row["transcripts_expected"]
        == sum(c["transcript"] is not None for c in truth.values())
    )
    assert row["utterances"] == len(archive.table("utterances", day))
    assert row["recordings_pending"] == row["recordings_lost"] == row["recordings_failed"] == row["erased"] == 0


def as_stored(text: str) -> str:
    """A text as Parquet can hold it: lone surrogates are replaced, nothing else is."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if text else text


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
