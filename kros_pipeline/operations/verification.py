"""Are the archived bytes still those that were archived? Objects are read back and hashed, and the tables are asked.

A twenty-eighth of the archive's days each day, so that every object is read once in four weeks; or any days, on demand.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from ..archive.audit_log import AuditEvent
from ..core import schemas
from ..core.errors import ArchiveError
from ..core.object_keys import audio_prefix, call_key_in
from ..steps.run_context import RunContext, audit_log

PARTS = 28


@dataclass
class Verification:
    """What was read, and the keys of what is not as it should be."""

    days: list[date] = field(default_factory=list)
    objects: int = 0
    bytes_read: int = 0
    drifted: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything was read, and is as it should be."""
        return not (self.drifted or self.missing or self.unknown or self.unread or self.erased)


def days_of_the_turn(days: Sequence[date], today: date) -> list[date]:
    """Those whose turn it is today: each of them once in four weeks."""
    return [day for day in days if day.toordinal() % PARTS == today.toordinal() % PARTS]


def verify_days(ctx: RunContext, days: Sequence[date]) -> Verification:
    """Reads back and hashes every recording of these days, and writes what it found into the audit of each day."""
    found = Verification(days=list(days))
    with ThreadPoolExecutor(ctx.settings.download_workers, thread_name_prefix="verify") as pool:
        for day in days:
            _verify_day(ctx, day, found, pool)
            ctx.log.info("%s: verified; %d objects so far", day, found.objects)
    return found


def _verify_day(ctx: RunContext, day: date, found: Verification, pool: ThreadPoolExecutor) -> None:
    prefix = ctx.store.full_key("")
    columns = ("call_id", "status", "object_key", "sha256")
    rows = {
        row["object_key"].removeprefix(prefix): row
        for row in ctx.tables.rows(schemas.RECORDINGS, day, columns)
        if row["status"] == "archived"
    }
    stored = {entry.key for entry in ctx.store.list(audio_prefix(day))}
    erased = ctx.tombstones.pseudonyms_of(day)
    found.missing += sorted(rows.keys() - stored)
    for key in sorted(stored - rows.keys()):
        is_erased = ctx.tombstones.matches(call_key_in(key) or "", erased)
        (found.erased if is_erased else found.unknown).append(key)
    audit = audit_log(ctx, day, "verify")
    keys = sorted(rows.keys() & stored)
    for key, digest in zip(keys, pool.map(lambda key: _digest(ctx, key), keys), strict=True):
        call_id, true = rows[key]["call_id"], rows[key]["sha256"]
        if digest is None:
            found.unread.append(key)
            continue
        sha256, size_bytes = digest
        found.objects += 1
        found.bytes_read += size_bytes
        if sha256 == true:
            audit.record(AuditEvent.VERIFIED, call_id, sha256=sha256)
        else:
            found.drifted.append(key)
            audit.record(AuditEvent.DRIFTED, call_id, sha256=sha256, archived_sha256=true)
    audit.write()


def _digest(ctx: RunContext, key: str) -> tuple[str, int] | None:
    """SHA-256 and size; None where the bucket does not give it (no answer, no permission, in cold storage, gone)."""
    try:
        return ctx.store.digest(key)
    except ArchiveError as error:
        ctx.log.warning("%s could not be read back: %s", key, error)
        return None
