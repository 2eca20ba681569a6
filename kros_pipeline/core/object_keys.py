"""The keys of all objects below the archive's prefix. A call's id is hostile input; a key made of it is safe.

No phone number, text or URL is ever part of a key. Every prefix ends with a slash.
"""

import hashlib
import re
from base64 import b32encode
from datetime import date, datetime

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch
_ENCODED = "sha256."  # no plain id holds a dot, so that no encoded id can collide with one

_WITH_DIGEST = re.compile(
    r"(?:quarantine/dt=[0-9-]{10}/(?P<kept>.+)-(?P<digits>[0-9a-f]{16})\.bin"
    r"|state/transcripts/dt=[0-9-]{10}/(?P<answered>.+)-[0-9a-f]{16}\.json)"
).fullmatch
_REVIEW = re.compile(r"reviews/dt=[0-9-]{10}/(sha256\.[a-z2-7]{52}|[A-Za-z0-9_-]+)/[^/]+\.json").fullmatch
_PARTITION = re.compile(r"/dt=(\d{4}-\d\d-\d\d)(?:/|\.json$)").search
_OF_ONE_CALL = re.compile(
    r"(?:audio|state/acknowledged|state/held|state/moved)/dt=[0-9-]{10}/(sha256\.[a-z2-7]{52}|[A-Za-z0-9_-]+)"
    r"(?:\.[0-9a-f]{16})?\.(?:mp3|json)"
).fullmatch

AUDIO = "audio/"
QUARANTINE = "quarantine/"
ARCHIVE_IDENTITY = "state/archive.json"
CAPABILITIES = "state/capabilities.json"
PROBES = "state/probe/"
DAILY_PROBE = f"{PROBES}daily.json"
ERASURE_IDENTITY = "state/erasure.json"
ERASURES_UNDER_WAY = "state/erasing/"
UNPARSED = "state/unparsed/"
MOVED = "state/moved/"
LISTINGS = "state/listings/"
TOMBSTONES = "state/erased/"
TOMBSTONES_MARKER = "state/erased.json"
NUMBER_TOMBSTONES = "state/erased_numbers/"
EXTENSIONS = "state/extensions/"
DECISIONS = "state/decisions/"
EXTEND_NOT_OFFERED = "state/not_offered/extend.json"
WEBHOOK_DELIVERIES = "state/webhook_deliveries.json"
QUOTA = "state/quota/"
VERIFIED_DAYS = "state/verified_days.json"
DAY_TOTALS = "state/day_totals/"
LATEST_LOOK = "state/totals.json"
NOTIFICATIONS = "state/notifications.json"
PLAN = "state/plan.json"
TABLES = "tables/"
REVIEWS = "reviews/"


def call_key(call_id: str) -> str:
    """Return the id itself where it is plain (`[A-Za-z0-9_-]{1,128}`), else `sha256.` and its hash in base 32.

    A hash rather than an escape: it cannot exceed S3's 1,024 bytes, differ by case only, or hold a path.
    """
    if _SAFE_ID(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()
    return _ENCODED + b32encode(digest).decode().rstrip("=").lower()


def call_key_in(key: str) -> str | None:
    """Return the call key in the key of one call's object; None for every other key."""
    if match := _OF_ONE_CALL(key) or _REVIEW(key):
        return match[1]
    match = _WITH_DIGEST(key)
    return match["kept"] or match["answered"] if match else None


def day_in(key: str) -> date | None:
    """Return the day of a partition's or a listing's key; None where it has none, or no real one (`dt=2025-99-99`)."""
    match = _PARTITION(key)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


# Audio, tables, quarantine.


def audio_prefix(day: date) -> str:
    """Return the prefix of a day's recordings."""
    return f"{AUDIO}dt={day.isoformat()}/"


def audio_key(day: date, call_id: str) -> str:
    """Return the only key that a call's recording can have."""
    return f"{audio_prefix(day)}{call_key(call_id)}.mp3"


def table_prefix(table: str) -> str:
    """Return the prefix of a table. Nothing but partitions is below it."""
    return f"{TABLES}{table}/"


def table_key(table: str, day: date) -> str:
    """Return the key of a partition's only object."""
    return f"{table_prefix(table)}dt={day.isoformat()}/part-0.parquet"


def quarantine_prefix(day: date) -> str:
    """Return the prefix of a day's bodies that could not be verified."""
    return f"{QUARANTINE}dt={day.isoformat()}/"


def quarantine_key(day: date, call_id: str, sha256: str) -> str:
    """Return the key of a whole body that was rejected; the same body twice has the same key."""
    return f"{quarantine_prefix(day)}{call_key(call_id)}-{sha256[:16]}.bin"


def quarantined_bodies_prefix(day: date, call_id: str) -> str:
    """Return the prefix of the rejected bodies of one call, which may be that of another call's, too."""
    return f"{quarantine_prefix(day)}{call_key(call_id)}-"


def quarantined_digits(key: str) -> str:
    """Return the digits in a rejected body's key, with which its SHA-256 begins; empty where the key is another."""
    match = _WITH_DIGEST(key)
    return match["digits"] or "" if match else ""


# State.


def day_totals_key(year: int) -> str:
    """Return the key of the numbers of a year's days."""
    return f"{DAY_TOTALS}{year:04}.json"


def usage_key(day: date) -> str:
    """Return the key of what runs used in the month of `day`."""
    return f"state/usage/{day:%Y-%m}.json"


def other_answers_prefix(day: date) -> str:
    """Return the prefix of a day's other answers about transcripts: those that are not in the table."""
    return f"state/transcripts/dt={day.isoformat()}/"


def other_answer_key(day: date, call_id: str, sha256: str) -> str:
    """Return the key of one such answer; the same answer twice has the same key."""
    return f"{other_answers_prefix(day)}{call_key(call_id)}-{sha256[:16]}.json"


def listing_key(day: date) -> str:
    """Return the key of a day's listing: what the last enumeration saw, and whether it was proved."""
    return f"{LISTINGS}dt={day.isoformat()}.json"


def table_versions_key(day: date) -> str:
    """Return the key of the versions of a day's tables, as its last reconciliation found them."""
    return f"state/tables/dt={day.isoformat()}.json"


def unparsed_prefix(day: date) -> str:
    """Return the prefix of the listed rows of a day that could not be read as calls."""
    return f"{UNPARSED}dt={day.isoformat()}/"


def unparsed_key(day: date, sha256: str) -> str:
    """Return the key of an unparsed row, by the hash of its JSON."""
    return f"{unparsed_prefix(day)}{sha256[:32]}.json"


def acknowledged_prefix(day: date) -> str:
    """Return the prefix of the calls of a day whose loss an operator has acknowledged."""
    return f"state/acknowledged/dt={day.isoformat()}/"


def acknowledged_key(day: date, call_id: str) -> str:
    """Return the key that says that a call's loss is acknowledged."""
    return f"{acknowledged_prefix(day)}{call_key(call_id)}.json"


def held_prefix(day: date) -> str:
    """Return the prefix of the markers of a day's recordings that were placed under legal hold."""
    return f"state/held/dt={day.isoformat()}/"


def held_key(day: date, call_id: str, version_id: str) -> str:
    """Return the key that says that one version of a call's recording was placed under legal hold."""
    return held_key_of(day, call_key(call_id), version_id)


def held_key_of(day: date, key: str, version_id: str) -> str:
    """Return the same for a call key."""
    return f"{held_prefix(day)}{key}.{hashlib.sha256(version_id.encode()).hexdigest()[:16]}.json"


def moved_prefix(day: date) -> str:
    """Return the prefix of the markers of calls that two days had, and that an earlier day keeps."""
    return f"{MOVED}dt={day.isoformat()}/"


def moved_key(day: date, call_id: str) -> str:
    """Return the key that says that an earlier day keeps a call that this day had, too."""
    return f"{moved_prefix(day)}{call_key(call_id)}.json"


def quota_key(day: date) -> str:
    """Return the key of the API requests of a UTC day: the day on which they are sent, not that of the calls."""
    return f"{QUOTA}{day.isoformat()}.json"


# Reviews.


def reviews_prefix(day: date) -> str:
    """Return the prefix of what reviewers noted about a day's calls."""
    return f"{REVIEWS}dt={day.isoformat()}/"


def call_reviews_prefix(day: date, key: str) -> str:
    """Return the prefix of the reviews of one call, by its call key."""
    return f"{reviews_prefix(day)}{key}/"


def review_key(day: date, key: str, reviewed_at: datetime, reviewer: str) -> str:
    """Return the key of one review. The reviewer's name is made safe as a call's id is."""
    at = reviewed_at.strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{call_reviews_prefix(day, key)}{at}-{call_key(reviewer)}.json"


# Audit log.


def audit_prefix(day: date) -> str:
    """Return the prefix of the audit log of a day."""
    return f"audit/dt={day.isoformat()}/"


def audit_key(day: date, run_id: str, step: str, part: int) -> str:
    """Return the key of one part, counted from 1, of what one step of one run wrote."""
    return f"{audit_prefix(day)}{run_id}-{step}{f'-{part}' if part > 1 else ''}.jsonl"


# Request journals.


def request_key(prefix: str, name: str, stage: str) -> str:
    """Return the key of one object of a request in the journal below a prefix."""
    return f"{prefix}{name}-{stage}.json"


def extensions_prefix(day: date) -> str:
    """Return the prefix of the journal of a day's retention extensions."""
    return f"{EXTENSIONS}dt={day.isoformat()}/"


def extension_request(decision_id: str, attempt: int) -> str:
    """Return the name, in its journal, of one attempt (counted from 1) to have a decision done upstream."""
    return f"{decision_id}/{attempt:03d}"


def decision_key(decision_id: str) -> str:
    """Return the key of a decision's claim, which names the one day whose journal has the decision."""
    return f"{DECISIONS}{decision_id[:2]}/{decision_id}.json"


def upstream_deletions_prefix(day: date) -> str:
    """Return the prefix of the journal of deletions upstream; its requests are named by pseudonyms."""
    return f"state/erased_upstream/dt={day.isoformat()}/"


# Erasure.


def tombstone_prefix(day: date) -> str:
    """Return the prefix of the tombstones of a day's erased calls."""
    return f"{TOMBSTONES}dt={day.isoformat()}/"


def tombstone_key(day: date, pseudonym: str) -> str:
    """Return the key of an erased call's tombstone; nobody learns the id from it."""
    return f"{tombstone_prefix(day)}{pseudonym}.json"


def erased_row_key(pseudonym: str) -> str:
    """Return the key of the tombstone of an unparsed row."""
    return f"state/erased_rows/{pseudonym}.json"


def number_tombstone_key(pseudonym: str) -> str:
    """Return the key of the tombstone of a phone number: its calls are not archived any more."""
    return f"{NUMBER_TOMBSTONES}{pseudonym}.json"


def erasure_probe_key(name: str) -> str:
    """Return the key of the object with which an erasure tries what the server can do; it is deleted at once."""
    return f"{PROBES}erasure-{name}.json"


def erasure_plan_key(run_id: str) -> str:
    """Return the key of the plan of an erasure that is under way: it names what the run erases."""
    return f"{ERASURES_UNDER_WAY}{run_id}.json"
