"""The preflight of the archive: whose it is, whether it can be written under conditions, region, encryption, locks."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime

from ..archive.daily_probe import probe_daily_work
from ..archive.governance import Governance
from ..archive.identity import FORMAT
from ..archive.object_store import ObjectStore
from ..archive.settings import ArchiveSettings
from ..archive.tombstones import Tombstones
from ..core.clock import Clock
from ..core.errors import ArchiveDenied, ArchiveError
from ..core.object_keys import DAILY_PROBE
from ..steps.run_context import open_identity
from ..steps.settings import Settings
from .clock_check import compare_clocks
from .preflight_result import Outcome, PreflightResult, Skipped, run_check

_IS_AWS = re.compile(r"https://(?:[\w.-]+\.)?s3(?:[.-](?P<region>[a-z]{2,}(?:-[a-z]+)+-\d))?\.amazonaws\.com(?:\.cn)?")


def check_archive(
    settings: Settings, clock: Clock, open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]]
) -> Iterator[PreflightResult]:
    """Yield the checks of the archive. Nothing is written where it cannot be read, or is another account's."""
    opened: list[tuple[ObjectStore, Governance]] = []

    def look() -> str:
        opened.append(open_archive(settings.archive))
        return _look_into_archive(opened[0][0], settings, clock)

    found = run_check("archive", look)
    yield found
    if not found.passed:
        for name in ("bucket", "region", "encryption", "Object Lock", "clock and S3"):
            yield PreflightResult(name, Outcome.SKIPPED, "the archive cannot be used: mend that first.")
        return
    store, governance = opened[0]
    written_at: list[datetime] = []

    def write() -> str:
        compares_sha256 = probe_daily_work(store)
        written_at.append(clock.now())
        return _describe_probe(store, compares_sha256=compares_sha256)

    written = run_check("bucket", write)
    yield written
    yield run_check("region", lambda: _describe_region(store))
    yield run_check("encryption", lambda: _describe_encryption(settings, store, has_written=written.passed))
    yield run_check("Object Lock", lambda: _look_at_locks(settings, governance))
    yield run_check("clock and S3", lambda: _compare_with_s3(store, written_at))


def _look_into_archive(store: ObjectStore, settings: Settings, clock: Clock) -> str:
    """Read what a run reads first: whose the archive is, its format, and whether the erasure key is its own."""
    identity = open_identity(store, settings)
    has_identity = identity.check()
    Tombstones(store, settings.archive.erasure_key, clock).check_key()
    where = f"s3://{settings.archive.bucket}/{settings.archive.prefix}".rstrip("/")
    if not has_identity:
        whose = "it is nobody's yet, and becomes this account's with the first run"
    elif identity.is_confirmed:
        whose = "it is this account's"
    else:
        whose = "it does not know this API key yet: the first run compares the key's calls with the archive's"
    sentence = f"{where} can be read; {whose}."
    if not identity.is_migrated:
        sentence += f" The first run migrates it to format {FORMAT}: end all runs of version 0.1.0 before."
    return sentence


def _describe_probe(store: ObjectStore, *, compares_sha256: bool) -> str:
    hashes = (
        "the SHA-256 of a body is compared"
        if compares_sha256
        else "the SHA-256 of a body is not compared, so that each new recording is read back once"
    )
    return (
        f"it can be written, and read back; create-only and conditional writes are honoured; {hashes}. "
        f"The probe {DAILY_PROBE} stays."
    )


def _describe_region(store: ObjectStore) -> str:
    endpoint = store.server.endpoint
    found = _IS_AWS.fullmatch(endpoint)
    if found is None:
        raise Skipped(f"the server is not AWS ({endpoint}), and takes the region that is set.")
    return f"{found['region'] or 'us-east-1'}, the bucket's own: every client uses it, whatever AWS_REGION says."


def _describe_encryption(settings: Settings, store: ObjectStore, *, has_written: bool) -> str:
    if settings.archive.sse is None:
        raise Skipped("KROS_SSE is not set: each object gets the bucket's default.")
    if not has_written:
        raise Skipped("nothing could be written: mend the bucket first.")
    return f"the probe is encrypted as KROS_SSE asks ({store.server.encryption}), and can be read again."


def _look_at_locks(settings: Settings, governance: Governance) -> str:
    retains_seals = settings.archive.seal_retain_days is not None
    try:
        has_lock, keeps_all = governance.has_object_lock(), governance.has_default_retention()
    except ArchiveDenied as error:
        if settings.legal_hold or retains_seals:
            raise
        raise Skipped(f"it cannot be seen, and nothing needs it: {str(error).rstrip('.')}.") from None
    if settings.legal_hold and not has_lock:
        raise ArchiveError(
            "KROS_LEGAL_HOLD is on, and the bucket has no Object Lock: enable it for the bucket, or set it to off."
        )
    if retains_seals and not has_lock:
        raise ArchiveError(
            "KROS_SEAL_RETAIN_DAYS is set, and the bucket has no Object Lock: enable it for the bucket, or unset it."
        )
    if not has_lock:
        raise Skipped("the bucket has none, and no setting needs it: KROS_LEGAL_HOLD is off.")
    if keeps_all:
        return (
            "the bucket has it, and a default retention: erase_calls can erase nothing before that ends. Remove the "
            "default retention if calls may have to be erased."
        )
    return "the bucket has it, without a default retention."


def _compare_with_s3(store: ObjectStore, written_at: list[datetime]) -> str:
    """Compare with the time that S3 gave the probe."""
    if not written_at:
        raise Skipped("nothing could be written: mend the bucket first.")
    head = store.head(DAILY_PROBE)
    return compare_clocks("S3", head.last_modified if head is not None else None, written_at[0])
