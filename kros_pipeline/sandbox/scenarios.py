"""Faults that a person switches on and off while the sandbox runs, each with the check that it turns red.

A switch changes what KrosAI answers until it is switched off. An action happens once, to the newest day that it can
happen to: somebody else writes into the bucket, or the account changes.
"""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .faults import Fault, Faults

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from .sandbox import Sandbox

_SECONDS_OF_EQUAL_CALLS = 30
_UNRECORDED_CALLS = 120
_STRANGER = "written_by_somebody_else"


@dataclass(frozen=True)
class Done:
    """What an action did, and faults of the simulator that it needs from then on."""

    text: str
    faults: Mapping[str, Fault] = field(default_factory=dict)
    key: str = ""
    """The object that can be moved out of audio/ afterwards."""


@dataclass(frozen=True)
class Scenario:
    """One fault: a switch, with the simulator's `faults` that it turns on, or an action."""

    name: str
    happens: str
    turns_red: str
    """The check, or the failure, that shows it."""
    see_it: str
    """What to launch."""
    mend_it: str
    faults: Mapping[str, Fault] = field(default_factory=dict)
    act: Callable[[Sandbox], Done] | None = None


class ScenarioRefused(Exception):
    """A scenario cannot happen now."""


def merge_faults(parts: Iterable[Mapping[str, Fault]]) -> Faults:
    """Return the faults of all that is on. Of two with the same fault, the later one counts."""
    merged: dict[str, Any] = {}
    for faults in parts:
        merged |= faults
    return Faults(**merged)


def _newest_key(sandbox: Sandbox, folder: str, suffix: str) -> tuple[S3Client, str]:
    client = sandbox.s3.client()
    prefix = f"{sandbox.config.prefix}/{folder}"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=sandbox.config.bucket, Prefix=prefix)
    keys = [
        entry["Key"]
        for page in pages
        for entry in page.get("Contents", [])
        if entry["Key"].endswith(suffix) and _STRANGER not in entry["Key"]
    ]
    if not keys:
        raise ScenarioRefused(f"{prefix} holds nothing yet: archive a day first.")
    return client, max(keys)


def _read(client: S3Client, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def _change_audio(sandbox: Sandbox) -> Done:
    bucket = sandbox.config.bucket
    client, key = _newest_key(sandbox, "audio/", ".mp3")
    body = bytearray(_read(client, bucket, key))
    body[len(body) // 2] ^= 255
    client.put_object(Bucket=bucket, Key=key, Body=bytes(body))
    return Done(f"One byte of {key} is another one now.", key=key)


def _add_unknown_object(sandbox: Sandbox) -> Done:
    client, key = _newest_key(sandbox, "audio/", ".mp3")
    stranger = f"{key.rsplit('/', 1)[0]}/{_STRANGER}.mp3"
    client.put_object(Bucket=sandbox.config.bucket, Key=stranger, Body=b"somebody else's bytes")
    return Done(f"{stranger} was written.", key=stranger)


def move_away(sandbox: Sandbox, key: str) -> str:
    """Move an object out of audio/, as the owner of the bucket does, and return what was done."""
    client, bucket = sandbox.s3.client(), sandbox.config.bucket
    client.put_object(Bucket=bucket, Key=f"moved-away/{key}", Body=_read(client, bucket, key))
    client.delete_object(Bucket=bucket, Key=key)
    return f"{key} was moved out of audio/."


def _delete_table(sandbox: Sandbox) -> Done:
    client, key = _newest_key(sandbox, "tables/utterances/", ".parquet")
    client.delete_object(Bucket=sandbox.config.bucket, Key=key)
    return Done(f"{key} was deleted.")


def _empty_table(sandbox: Sandbox) -> Done:
    import pyarrow.parquet as pq

    bucket = sandbox.config.bucket
    client, key = _newest_key(sandbox, "tables/utterances/", ".parquet")
    file = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(_read(client, bucket, key))).slice(0, 0), file)
    client.put_object(Bucket=bucket, Key=key, Body=file.getvalue())
    return Done(f"{key} was replaced by a table without rows.")


def _newest_day(sandbox: Sandbox) -> str:
    return max(sandbox.config.calls_by_day)


def _give_two_calls_the_same_bytes(sandbox: Sandbox) -> Done:
    day, krosai = _newest_day(sandbox), sandbox.krosai
    first, second = (
        krosai.add_call(f"{day}T12:00:0{second}", duration_seconds=_SECONDS_OF_EQUAL_CALLS) for second in (0, 1)
    )
    request = urllib.request.Request(  # noqa: S310 - the simulator on this machine
        f"{krosai.base_url}/calls/{first}/recording", headers={"Authorization": f"Bearer {krosai.config.api_key}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        url = json.load(answer)["recording_url"]
    text = f"{day} has two new calls with one recording, {first} and {second}. Its URL is valid for an hour."
    return Done(text, {"storage_redirect": Fault(calls=(second,), value=url)})


def _stop_recording(sandbox: Sandbox) -> Done:
    day = _newest_day(sandbox)
    for number in range(_UNRECORDED_CALLS):
        sandbox.krosai.add_call(f"{day}T10:{number // 60:02d}:{number % 60:02d}", recorded=False)
    return Done(f"{day} has {_UNRECORDED_CALLS} more calls, of which none was recorded.")


_DAY = "materialize a day"
_AGAIN = "switch it off, and materialize the day again"
SCENARIOS = (
    Scenario(
        "list_total_wrong",
        "the list says that it has three more calls than it shows",
        "the_list_was_read_whole",
        _DAY,
        _AGAIN,
        {"list_total_wrong": Fault(value=3)},
    ),
    Scenario(
        "rows_malformed",
        "a tenth of the list's rows are no calls",
        "every_call_is_accounted_for",
        _DAY,
        _AGAIN,
        {"list_malformed": Fault(share=0.1)},
    ),
    Scenario(
        "audio_damaged",
        "the second half of a quarter of the recordings is noise",
        "every_recording_is_safe",
        _DAY,
        "accept the bodies with `accept_quarantined` (`day`); or switch it off, materialize `recordings` with the "
        "calls' ids in `call_ids`, and then the whole day",
        {"storage_rubbish": Fault(share=0.25)},
    ),
    Scenario(
        "audio_is_a_page",
        "instead of a quarter of the recordings, the storage answers 200 with an HTML page",
        "every_recording_is_safe",
        _DAY,
        "switch it off, materialize `recordings` with the calls' ids in `call_ids`, and then the whole day",
        {"storage_html": Fault(share=0.25)},
    ),
    Scenario(
        "urls_throttled",
        "the storage refuses URLs, and the API answers requests for new ones with 429 for minutes",
        "every_recording_was_tried",
        _DAY,
        _AGAIN,
        {
            "storage_denied": Fault(share=0.3),
            "api_rate_limited": Fault(routes=("recording",), value="300"),
        },
    ),
    Scenario(
        "transcripts_unanswered",
        "the API answers 503 to requests for a transcript",
        "every_transcript_was_asked_for",
        _DAY,
        _AGAIN,
        {"api_error": Fault(routes=("transcript",), value=503)},
    ),
    Scenario(
        "extensions_refused",
        "the API answers 403 to extensions",
        "every_extension_is_confirmed",
        _DAY,
        "switch it off, and materialize `retention_extensions`, with the calls' ids in `resend`, and `reconciliation`",
        {"extend_refused": Fault()},
    ),
    Scenario(
        "extensions_unanswered",
        "the API extends, and answers 502",
        "every_extension_is_confirmed",
        _DAY,
        "switch it off, and materialize `retention_extensions`, with the calls' ids in `settle`, and `reconciliation`",
        {"extend_lost": Fault()},
    ),
    Scenario(
        "counter_higher",
        "upstream's statistics count five calls more than the list shows",
        "no_counter_shows_more_calls",
        "materialize the oldest day, which has no calls",
        _AGAIN,
        {"counters_wrong": Fault(value=5)},
    ),
    Scenario(
        "another_format",
        "a quarter of the recordings are WAV",
        "every_recording_is_an_mp3",
        _DAY,
        "it stays: the bytes are archived as they came",
        {"storage_wav": Fault(share=0.25, value="whole")},
    ),
    Scenario(
        "key_refused",
        "the API does not accept the key",
        "no_recent_day_is_missing",
        "materialize a day, which fails with `ApiUnauthorized`, and then `archive`",
        "switch it off, materialize the day, and then `archive`",
        {"api_key_refused": Fault()},
    ),
    Scenario(
        "table_deleted",
        "somebody deletes the newest table `utterances`",
        "no_recent_day_is_missing",
        "materialize `archive`",
        "materialize the day, and then `archive`",
        act=_delete_table,
    ),
    Scenario(
        "table_emptied",
        "somebody replaces the newest table `utterances` by one without rows",
        "every_transcript_is_parsed",
        "materialize only `reconciliation` of that day",
        "materialize the whole day",
        act=_empty_table,
    ),
    Scenario(
        "object_unknown",
        "somebody writes an object beside the newest recording",
        "no_object_is_unknown",
        "materialize `reconciliation` of that day",
        "move the object out of audio/ (the button does it), and materialize the day",
        act=_add_unknown_object,
    ),
    Scenario(
        "object_changed",
        "somebody changes one byte of the newest recording",
        "every_object_is_as_it_was_archived",
        "launch `verify_archive` with that day in `days`",
        "move the object out of audio/ (the button does it), materialize the day, and launch `verify_archive` again",
        act=_change_audio,
    ),
    Scenario(
        "bytes_shared",
        "the newest day gets two calls with one recording",
        "no_two_calls_have_the_same_bytes",
        "materialize the newest day",
        "it stays: upstream declares nothing else",
        act=_give_two_calls_the_same_bytes,
    ),
    Scenario(
        "recording_off",
        f"the newest day gets {_UNRECORDED_CALLS} calls that were not recorded",
        "recorded_calls_are_not_dropping",
        "materialize two days before the newest one, the newest day, and then `archive`",
        "it ends a week later; `turn_on_recording` turns recording on",
        act=_stop_recording,
    ),
)
