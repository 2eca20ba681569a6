"""The keys of the sealed days: all objects below `seals/`, and the index of the chain below `state/`."""

import re
from datetime import date

SEALS = "seals/"
SEAL_CHAIN = "seals/seal-"
PUBLIC_KEYS = "seals/keys/"
SEALS_INDEX = "state/seals.json"

_RECORDS_OR_MANIFEST = re.compile(r"seals/dt=[0-9-]{10}/(?:records\.jsonl|manifest-sha256\.txt)").fullmatch
_SEAL = re.compile(r"seals/seal-(\d{6,})\.txt").fullmatch


def sealed_day_prefix(day: date) -> str:
    """Return the prefix of a day's records, manifest and page of commands."""
    return f"{SEALS}dt={day.isoformat()}/"


def records_key(day: date) -> str:
    """Return the key of a day's records, one line a call."""
    return f"{sealed_day_prefix(day)}records.jsonl"


def manifest_key(day: date) -> str:
    """Return the key of a day's manifest, one line an audio object and one a record."""
    return f"{sealed_day_prefix(day)}manifest-sha256.txt"


def is_records_or_manifest(key: str) -> bool:
    """Return whether a key is that of a day's records or of its manifest."""
    return _RECORDS_OR_MANIFEST(key) is not None


def verify_key(day: date) -> str:
    """Return the key of the commands that check a day."""
    return f"{sealed_day_prefix(day)}VERIFY.txt"


def record_path(day: date, key: str) -> str:
    """Return how a manifest names the record of a call key: no object, but a line of the records."""
    return f"{sealed_day_prefix(day)}records/{key}.json"


def call_key_in_path(path: str) -> str:
    """Return the call key in a manifest's path, of a recording or of a record."""
    return path.rsplit("/", 1)[1].removesuffix(".mp3").removesuffix(".json")


def seal_key(number: int, suffix: str = "txt") -> str:
    """Return the key of a seal, or of what belongs to it: `sig`, `tsq`, `tsr`, `tsa.pem`."""
    return f"{SEAL_CHAIN}{number:06d}.{suffix}"


def seal_number(key: str) -> int | None:
    """Return the number of the seal at a key; None for every other key."""
    match = _SEAL(key)
    return int(match[1]) if match else None


def public_key_key(fingerprint: str) -> str:
    """Return the key of a public key, by the SHA-256 of its DER."""
    return f"{PUBLIC_KEYS}{fingerprint}.pem"
