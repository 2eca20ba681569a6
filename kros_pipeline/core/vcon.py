"""A call as vCon: the container for conversations that the IETF's working group vcon drafts.

The form is that of draft-ietf-vcon-vcon-core-03, syntax 0.4.0: unsigned, with the recording in it.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

SYNTAX = "0.4.0"
_VENDOR = "KrosAI"


def make_vcon(
    record: Mapping[str, Any], audio: bytes | None, *, media_type: str, made_at: datetime, archive_url: str
) -> dict[str, Any]:
    """Make the vCon of a call from its record. `audio` is None where there is no recording, or one too large to inline.

    The first party is the caller. The transcript and its turns are analyses of the recording, by KrosAI.
    """
    tables = record["tables"]
    call = tables["calls"][0]
    transcript = next((row for row in tables["transcripts"] if row["text"]), None)
    parties = [_party(call["from_number"], "caller"), _party(call["to_number"], "called")]
    dialog = [_dialog(record, call, audio, media_type)]
    analysis: list[dict[str, Any]] = []
    if transcript is not None:
        shared = {"type": "transcript", "dialog": 0, "vendor": _VENDOR}
        analysis.append(
            shared
            | {"product": "transcript", "mediatype": "text/plain", "encoding": "none", "body": transcript["text"]}
        )
        turns = [
            {"speaker": turn["speaker"], "label": turn["speaker_label"], "text": turn["text"]}
            for turn in tables["utterances"]
        ]
        analysis.append(
            shared
            | {"product": "utterances of kros_pipeline", "mediatype": "application/json", "schema": "turns"}
            | {"encoding": "json", "body": turns}
        )
    return {
        "vcon": SYNTAX,
        "uuid": _uuid(f"{archive_url}{record['day']}/{record['call_id']}"),
        "created_at": made_at.isoformat(timespec="seconds"),
        "subject": f"call {record['call_id']}",
        "parties": parties,
        "dialog": dialog,
        "analysis": analysis,
        "attachments": [],
    }


def _uuid(name: str) -> str:
    """Return a UUID of version 8 (RFC 9562), made of a name: a call that is exported twice has the same."""
    digits = hashlib.sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _party(number: str | None, role: str) -> dict[str, Any]:
    """Return a party: without its number where that is not known. `role` is not of the draft, and names the side."""
    return {"tel": number, "role": role} if number else {"role": role}


def _dialog(record: Mapping[str, Any], call: Mapping[str, Any], audio: bytes | None, media_type: str) -> dict[str, Any]:
    started = call["answered_at"] or call["created_at"]
    recording = next((row for row in record["tables"]["recordings"] if row["status"] == "archived"), None)
    duration = (recording or {}).get("duration_seconds") or call["duration_seconds"]
    dialog: dict[str, Any] = {"type": "recording", "start": started, "parties": [0, 1], "originator": 0}
    if duration is not None:
        dialog["duration"] = duration
    if recording is None:
        return dialog
    dialog |= {"mediatype": media_type, "filename": "recording.mp3"}
    if audio is not None:
        digest = urlsafe_b64encode(hashlib.sha512(audio).digest()).decode().rstrip("=")
        body = urlsafe_b64encode(audio).decode().rstrip("=")
        dialog |= {"encoding": "base64url", "body": body, "content_hash": f"sha512-{digest}"}
    return dialog
