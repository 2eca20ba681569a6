"""A call, and what is known of it after it was listed again."""

import json
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any

from .json_values import canonical_json
from .transcript_cuts import remove_mark
from .transcripts import is_whole

_KEPT_FIELDS = ("call_date", "listed_at")


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as the list showed it. The fields are the columns of the table `calls`, in its order.

    `extra` is the JSON of every field that has no column, and of every column's value that was of an unexpected type;
    it never has the URL of a recording.
    """

    call_id: str
    call_date: date
    organization_id: str | None
    status: str | None
    direction: str | None
    from_number: str | None
    to_number: str | None
    duration_seconds: float | None
    cost_cents: float | None
    endpoint_id: str | None
    phone_number_id: str | None
    created_at: datetime
    answered_at: datetime | None
    completed_at: datetime | None
    has_recording: bool
    listed_transcript: str | None
    extra: str | None
    listed_at: datetime


def merge_calls(old: Call, new: Call) -> Call:
    """Merge what is known of a call with a new listing: newer values win, and nothing known is lost.

    A value that became null, a recording that is gone, or a text that became shorter upstream does not remove what the
    archive holds. `call_date` stays: a call keeps the first day that archived it, also where `created_at` moves.
    `listed_at` changes only when something else did, so that an unchanged day keeps its bytes.
    """
    changes: dict[str, Any] = {}
    for field in fields(Call):
        known, seen = getattr(old, field.name), getattr(new, field.name)
        if field.name not in _KEPT_FIELDS and seen is not None and seen != known:
            changes[field.name] = seen
    if old.has_recording:
        changes.pop("has_recording", None)
    if "listed_transcript" in changes and _is_worse_copy(changes["listed_transcript"], old.listed_transcript):
        del changes["listed_transcript"]
    if "extra" in changes and old.extra is not None:
        known = json.loads(old.extra)
        seen = json.loads(changes["extra"])
        changes["extra"] = canonical_json(seen | known | {key: seen[key] for key in seen if seen[key] is not None})
        if changes["extra"] == old.extra:
            del changes["extra"]
    return replace(old, **changes, listed_at=new.listed_at) if changes else old


def _is_worse_copy(seen: str, known: str | None) -> bool:
    """Return whether a text is a worse copy of the known one: its labels, or its end, are missing."""
    if known is None or is_whole(known) != is_whole(seen):
        return is_whole(known)
    return len(seen) < len(known) and known.startswith(remove_mark(seen))
