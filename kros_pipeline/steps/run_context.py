"""What a step works with: the settings, the clients, the clock. Opened once a run."""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from ..archive.audit_log import AuditLog
from ..archive.governance import Governance
from ..archive.identity import ArchiveIdentity
from ..archive.object_store import ObjectStore
from ..archive.s3_governance import S3Governance
from ..archive.s3_store import S3ObjectStore
from ..archive.settings import ArchiveSettings
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.clock import Clock
from ..core.flags import BadRules, Rules, parse_rules
from ..core.settings import BadSettings, Settings, parse_settings
from ..source.downloads import RecordingStorage
from ..source.krosai import KrosAI


@dataclass
class RunContext:
    """The handles of one run."""

    settings: Settings
    rules: Rules
    api: KrosAI
    storage: RecordingStorage
    store: ObjectStore
    governance: Governance
    tombstones: Tombstones
    tables: Tables
    identity: ArchiveIdentity
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))  # Dagster's, where Dagster runs it
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kros_pipeline"))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def close(self) -> None:
        """Closes the connections."""
        self.api.close()
        self.storage.close()

    @property
    def clock(self) -> Clock:
        """The clock of the run: what `now` says, also where it is set later."""
        return Clock(lambda: self.now(), time.monotonic, time.sleep)


def audit_log(ctx: RunContext, day: date, step: str) -> AuditLog:
    """Open the audit log of one step of this run."""
    return AuditLog(ctx.store, ctx.tombstones, ctx.clock, run_id=ctx.run_id, day=day, step=step)


def open_s3_archive(settings: ArchiveSettings) -> tuple[ObjectStore, Governance]:
    """Open the archive's bucket on S3."""
    store = S3ObjectStore(settings)
    return store, S3Governance(store)


def open_run_context(
    texts: Mapping[str, str | None],
    *,
    open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]] = open_s3_archive,
) -> RunContext:
    """Reads all settings and opens the clients; the archive is looked at, and nothing is written.

    Raises `BadSettings` for every bad setting at once, and `ArchiveError` where the archive cannot be used.
    """
    settings, rules = read_settings(texts)
    store, governance = open_archive(archive_settings(settings))
    clock = Clock(lambda: ctx.now(), time.monotonic, time.sleep)
    tombstones = Tombstones(store, settings.erasure_key, clock)
    ctx = RunContext(
        settings,
        rules,
        KrosAI(settings),
        RecordingStorage(settings),
        store,
        governance,
        tombstones,
        Tables(store, tombstones),
        ArchiveIdentity(store, settings.base_url, settings.organization_id),
    )
    ctx.identity.check()
    tombstones.check_key()
    return ctx


def archive_settings(settings: Settings) -> ArchiveSettings:
    """The archive's part of the settings."""
    return ArchiveSettings(
        bucket=settings.bucket,
        prefix=settings.prefix,
        sse=settings.sse,
        kms_key_id=settings.kms_key_id,
        erasure_key=settings.erasure_key,
        connections=settings.download_workers * 3 // 2 + 4,  # as many as there are threads
    )


def read_settings(texts: Mapping[str, str | None]) -> tuple[Settings, Rules]:
    """The settings and the rules file that they name. Raises `BadSettings`, the rules' mistakes among its problems."""
    problems: list[str] = []
    rules = Rules()
    try:
        settings = parse_settings(texts)
    except BadSettings as error:
        problems, settings = error.problems, None
    path = (texts.get("KROS_FLAG_RULES") or "").strip()
    if path:
        always = (texts.get("KROS_TRANSCRIPT_DETAILS") or "").strip().lower() == "always"
        try:
            rules = parse_rules(Path(path).read_text("utf-8"), confidence_is_known=always)
        except BadRules as error:
            problems.append(f"KROS_FLAG_RULES ({path}): {error}.")
        except (OSError, UnicodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not UTF-8"
            problems.append(f"KROS_FLAG_RULES ({path}) cannot be read: {what}.")
    if settings is None or problems:
        raise BadSettings(problems)
    return settings, rules
