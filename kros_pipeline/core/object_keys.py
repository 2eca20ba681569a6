"""Where everything lies below the archive's prefix. A call's id is hostile input; a key made of it is not.

No phone number, text or URL is ever part of a key.
"""

import hashlib
import re
from base64 import b32encode
from datetime import date

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch
_ENCODED = "sha256."  # no plain id holds a dot, so that no encoded id can collide with one

_QUARANTINED = re.compile(r"quarantine/dt=[0-9-]{10}/(.+)-[0-9a-f]{16}\.bin").fullmatch
_PARTITION = re.compile(r"/dt=(\d{4}-\d\d-\d\d)/").search
_OF_ONE_CALL = re.compile(
    r"(?:audio|state/acknowledged|state/held)/dt=[0-9-]{10}/(sha256\.[a-z2-7]+|[A-Za-z0-9_-]+)\.(?:mp3|json)"
).fullmatch

AUDIO = "audio/"
ARCHIVE_IDENTITY = "state/archive.json"
ERASURE_IDENTITY = "state/erasure.json"
ERASURES_UNDER_WAY = "state/erasing/"
UNPARSED = "state/unparsed/"
TOMBSTONES = "state/erased/"


def call_key(call_id: str) -> str:
    """The id itself where it is plain (`[A-Za-z0-9_-]{1,128}`), else `sha256.` and that hash of it, in base 32.

    A hash rather than an escape: it cannot grow past S3's 1,024 bytes, nor differ by case alone, nor hold a path.
    """
    if _SAFE_ID(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()
    return _ENCODED + b32encode(digest).decode().rstrip("=").lower()


def audio_prefix(day: date) -> str:
    """The folder of one day's recordings, with its slash."""
    return f"{AUDIO}dt={day.isoformat()}/"


def audio_key(day: date, call_id: str) -> str:
    """The one key that a call's recording can have."""
    return f"{audio_prefix(day)}{call_key(call_id)}.mp3"


def table_prefix(table: str) -> str:
    """The folder of a table, with its slash; nothing but partitions lies in it."""
    return f"tables/{table}/"


def table_key(table: str, day: date) -> str:
    """The one object of a table's partition."""
    return f"{table_prefix(table)}dt={day.isoformat()}/part-0.parquet"


def quarantine_prefix(day: date) -> str:
    """The folder of a day's bodies that could not be verified, with its slash."""
    return f"quarantine/dt={day.isoformat()}/"


def quarantine_key(day: date, call_id: str, sha256: str) -> str:
    """A body that arrived whole and could not be verified; the same body twice has the same key."""
    return f"{quarantine_prefix(day)}{call_key(call_id)}-{sha256[:16]}.bin"


def unparsed_key(day: date, sha256: str) -> str:
    """A row of the list that could not be read as a call, by the hash of its JSON."""
    return f"{unparsed_prefix(day)}{sha256[:32]}.json"


def unparsed_prefix(day: date) -> str:
    """The folder of the rows that a day's list held and nobody could read, with its slash."""
    return f"{UNPARSED}dt={day.isoformat()}/"


def listing_key(day: date) -> str:
    """What the last enumeration of the day saw, and whether it was proved."""
    return f"state/listings/dt={day.isoformat()}.json"


def acknowledged_prefix(day: date) -> str:
    """The folder of the calls whose loss an operator has acknowledged, with its slash."""
    return f"state/acknowledged/dt={day.isoformat()}/"


def acknowledged_key(day: date, call_id: str) -> str:
    """That one call's loss is acknowledged."""
    return f"{acknowledged_prefix(day)}{call_key(call_id)}.json"


def extensions_prefix(day: date) -> str:
    """The folder of a day's intents and outcomes, with its slash."""
    return f"state/extensions/dt={day.isoformat()}/"


def extension_key(day: date, decision_id: str, attempt: int, what: str) -> str:
    """An `intent`, an `outcome` or what was `settled` of one attempt of one decision."""
    return f"{extensions_prefix(day)}{decision_id}/{attempt:03d}-{what}.json"


def call_key_in(key: str) -> str | None:
    """The call key that a key of one call's object is made of; None for every other key."""
    match = _OF_ONE_CALL(key) or _QUARANTINED(key)
    return match[1] if match else None


def day_in(key: str) -> date | None:
    """The day of a key's partition; None where the key has none."""
    match = _PARTITION(key)
    return date.fromisoformat(match[1]) if match else None


def held_prefix(day: date) -> str:
    """The folder that says which of a day's recordings are under legal hold, with its slash."""
    return f"state/held/dt={day.isoformat()}/"


def held_key(day: date, call_id: str) -> str:
    """That one recording was put under legal hold."""
    return f"{held_prefix(day)}{call_key(call_id)}.json"


def audit_prefix(day: date) -> str:
    """The folder of the accounts of every step over a day, with its slash."""
    return f"audit/dt={day.isoformat()}/"


def audit_key(day: date, run_id: str, step: str, part: int) -> str:
    """One run's account of one step; a further part for what came after the first was written."""
    return f"{audit_prefix(day)}{run_id}-{step}{f'-{part}' if part > 1 else ''}.jsonl"


def tombstone_prefix(day: date) -> str:
    """The folder of a day's erased calls, by pseudonym, with its slash."""
    return f"{TOMBSTONES}dt={day.isoformat()}/"


def tombstone_key(day: date, pseudonym: str) -> str:
    """That a call was erased, whose id nobody learns from this."""
    return f"{tombstone_prefix(day)}{pseudonym}.json"


def erased_row_key(pseudonym: str) -> str:
    """That a row was erased which nobody could read."""
    return f"state/erased_rows/{pseudonym}.json"


def upstream_deletion_key(day: date, pseudonym: str, what: str) -> str:
    """An `intent` or an `outcome` of having upstream delete an erased call's recording."""
    return f"state/erased_upstream/dt={day.isoformat()}/{pseudonym}-{what}.json"


def erasure_plan_key(run_id: str) -> str:
    """What a run is about to erase, by name, for as long as it has not ended."""
    return f"{ERASURES_UNDER_WAY}{run_id}.json"
