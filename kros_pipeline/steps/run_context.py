"""The run context: the settings, clients and clock of one run, opened once.

A step is not given the context. Each asset's body passes the parts that its step uses, so that every effect can be
read there.
"""

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from threading import Event

from ..archive.audit_log import AuditLog
from ..archive.capabilities import require_daily_capabilities
from ..archive.governance import Governance
from ..archive.identity import ArchiveIdentity
from ..archive.migration import migrate_archive
from ..archive.object_store import ObjectStore
from ..archive.request_quota import RequestQuota
from ..archive.s3_governance import open_s3
from ..archive.settings import ArchiveSettings
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..archive.usage import Usage, add_usage
from ..core.clock import Clock, RunInterrupted
from ..core.errors import ArchiveError
from ..core.flags import Rules
from ..core.pseudonyms import api_key_fingerprint
from ..core.request_quota import QuotaRule
from ..source.call_source import CallSource
from ..source.krosai import KrosAI
from .account_check import confirm_account
from .process import configure_process
from .settings import Settings, parse_settings_and_rules


def system_clock() -> Clock:
    """Make the clock of one run: the machine's, whose waits end when the run is interrupted."""
    interrupted = Event()

    def sleep(seconds: float) -> None:
        if interrupted.wait(max(0.0, seconds)):
            raise RunInterrupted

    def check() -> None:
        if interrupted.is_set():
            raise RunInterrupted

    return Clock(
        now=lambda: datetime.now(UTC), monotonic=time.monotonic, sleep=sleep, interrupt=interrupted.set, check=check
    )


SYSTEM_CLOCK = system_clock()
"""A clock that nobody interrupts: for what is no run."""


@dataclass
class RunContext:
    """The parts of one run. `log` and `run_id` are Dagster's where Dagster runs it."""

    settings: Settings
    rules: Rules
    source: CallSource
    store: ObjectStore
    governance: Governance
    tombstones: Tombstones
    tables: Tables
    identity: ArchiveIdentity
    quota: RequestQuota
    clock: Clock
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_store_probed: bool = False
    counts_usage: bool = False  # set by a run that may write, and is no dry run
    moved_recordings: int = 0
    moved_bytes: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kros_pipeline"))

    def audit_log(self, day: date, step: str) -> AuditLog:
        """Open the audit log of one step of one day, for this run."""
        return AuditLog(self.store, self.tombstones, self.clock, run_id=self.run_id, day=day, step=step)

    def prepare_archive(self, *, asks_source: bool = True) -> None:
        """Confirm the archive's account, probe its store and migrate it: before a step writes. Mostly it reads once.

        The account comes first: a wrong key must write nothing. So the store of an archive that is nobody's yet is
        probed when the archive is claimed, once the API has accepted the key. Without `asks_source` the account is not
        confirmed: only for what is made of the archive's own tables.
        Raises `WrongArchive` for another account, `ApiError` where the source has to be asked and does not answer, and
        `UnfitStore` where the store lacks what the steps rely on.
        """
        if asks_source:
            confirm_account(source=self.source, store=self.store, tables=self.tables, identity=self.identity)
        if self.identity.is_claimed:
            self._require_capabilities()
        else:
            self.identity.before_claim = self._require_capabilities
        migrate_archive(self.store, self.identity)

    def _require_capabilities(self) -> None:
        if not self.is_store_probed:
            require_daily_capabilities(self.store, self.clock)
            self.is_store_probed = True

    def close(self) -> None:
        """Give back the requests that were not sent, add what the run used to the archive's count, and disconnect."""
        try:
            self.quota.give_back()
        except (ArchiveError, RunInterrupted) as error:
            self.log.warning("API requests that this run reserved and did not send stay reserved today (%s)", error)
        if self.counts_usage and self.identity.is_claimed:
            self._add_usage()
        self.clock.interrupt()  # a thread that is left of an interrupted run stops
        self.source.close()

    def _add_usage(self) -> None:
        """Add what the run used. A count that cannot be written fails no run."""
        usage = Usage(
            api_requests=self.source.requests_made,
            s3_writes=self.store.writes_made,
            s3_reads=self.store.requests_made - self.store.writes_made,
            moved_recordings=self.moved_recordings,
            moved_bytes=self.moved_bytes,
        )
        try:
            add_usage(self.store, usage, self.clock.now())
        except (ArchiveError, RunInterrupted) as error:
            self.log.warning("What the run used was not added to the archive's count (%s)", error)


def open_identity(store: ObjectStore, settings: Settings) -> ArchiveIdentity:
    """Make the identity that the settings give an archive. Nothing is read yet."""
    source = settings.source
    return ArchiveIdentity(store, source.base_url, source.organization_id, api_key_fingerprint(source.api_key))


def open_run_context(
    texts: Mapping[str, str | None],
    *,
    clock: Clock | None = None,
    open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]] = open_s3,
) -> RunContext:
    """Read all settings and open the clients. The archive is read, and nothing is written.

    `texts` are the settings by name, as the environment has them. Without a `clock` it is the system's. Raises
    `BadSettings`, which names every bad setting, and `ArchiveError` where the archive cannot be used.
    """
    configure_process()
    clock = clock or system_clock()
    settings, rules = parse_settings_and_rules(texts)
    store, governance = open_archive(settings.archive)
    tombstones = Tombstones(store, settings.archive.erasure_key, clock)
    identity = open_identity(store, settings)
    rule = QuotaRule(settings.source.plan.requests_per_day, settings.source.requests_per_run)
    quota = RequestQuota(store, rule, clock, may_write=lambda: identity.is_claimed and identity.is_confirmed)
    ctx = RunContext(
        settings=settings,
        rules=rules,
        source=KrosAI(settings.source, clock, quota=quota),
        store=store,
        governance=governance,
        tombstones=tombstones,
        tables=Tables(store, tombstones),
        identity=identity,
        quota=quota,
        clock=clock,
    )
    ctx.identity.check()
    tombstones.check_key()
    return ctx
