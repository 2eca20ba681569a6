"""One S3 for all tests, one simulator a configuration, and for each test an archive of its own."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import pytest
from botocore.loaders import create_loader

from kros_pipeline.archive.governance import Governance
from kros_pipeline.archive.object_store import ObjectStore
from kros_pipeline.archive.s3_governance import open_s3
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ApiUnauthorized, ArchiveDenied
from kros_pipeline.sandbox import Fault, Faults, KrosaiSimulator, LocalS3, SandboxConfig
from kros_pipeline.steps.reconciliation import ReconciliationResult
from kros_pipeline.steps.report import Report
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.archive_check import Archive
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_bucket import create_versioned_bucket
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_archive
from kros_pipeline_tests.support.s3_servers import SeaweedFS
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    reconcile_day,
    split_utterances,
)

OpenArchive = Callable[[ArchiveSettings], tuple[ObjectStore, Governance]]

DAY = date(2025, 1, 10)
WITHIN_GRACE = datetime(2025, 1, 11, 4, 15, tzinfo=UTC)  # the morning after, as the schedule runs
AFTER_GRACE = datetime(2025, 1, 20, tzinfo=UTC)
LAST_CHANCE = datetime(2025, 4, 8, 12, tzinfo=UTC)  # `business` keeps DAY until 2025-04-10: one answer settles a call
UNTIL_SECOND_ANSWER = timedelta(hours=21)  # at least 20 hours

# The days on both sides are populated. Audio of at least 12 s: half of it is more than the tolerance of 5 s away.
VARIED = SandboxConfig(
    days=("2025-01-09", "2025-01-10", "2025-01-11"), calls_per_day=30, audio_seconds=(12, 20), idempotency=False
)
PLAIN = SandboxConfig(
    days={"2025-01-09": 3, "2025-01-10": 8, "2025-01-11": 3}, variety=False, audio_seconds=(12, 20), idempotency=False
)

_numbers = itertools.count(1)
_MODELS = create_loader()  # boto3 reads megabytes of them for each session: once is enough for all tests


@dataclass
class Account:
    """An account at KrosAI, and an archive of its own for it."""

    krosai: KrosaiSimulator
    archive: Archive
    environment: dict[str, str]
    now: datetime = AFTER_GRACE
    opened: ExitStack = field(default_factory=ExitStack)
    reports: dict[str, Report] = field(default_factory=dict)
    """What the steps of the last day reported, by step."""
    open_archive: OpenArchive = open_s3

    @cached_property
    def clock(self) -> Clock:
        """Shows `now`, and never waits."""
        return clock_without_waits(lambda: self.now)

    @cached_property
    def ctx(self) -> RunContext:
        """Handles for any number of runs, where it does not matter that they are the same."""
        return self.open()

    def open(self, **settings: str) -> RunContext:
        """The handles of one more run."""
        ctx = open_run_context(self.environment | settings, clock=self.clock, open_archive=self.open_archive)
        self.opened.callback(ctx.close)
        return ctx

    def run_day(self, day: date = DAY, /, **settings: str) -> ReconciliationResult:
        """All steps of a day, in the job's order, as one run."""
        ctx = self.open(**settings) if settings else self.ctx
        self.reports = {}
        self.reports["list_calls"], _ = list_calls(ctx, day)
        for step in (archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention):
            self.reports[step.__name__] = step(ctx, day)
        errors = [self.reports[name].error for name in ("archive_recordings", "fetch_transcripts")]
        blocked_by = [
            f"{error}".rstrip(".") + "." for error in errors if isinstance(error, ApiUnauthorized | ArchiveDenied)
        ]
        return reconcile_day(ctx, day, blocked_by=" ".join(blocked_by))  # as the failed asset does

    def requests(self) -> dict[str, int]:
        """API requests by route, as the server counted them."""
        routes: dict[str, int] = self.krosai.counters()["requests_by_route"]
        return routes


MakeAccount = Callable[..., Account]


def faults_by_name(faults: Mapping[str, Fault]) -> Faults:
    """Return the faults whose names a test computes."""
    named: dict[str, Any] = dict(faults)
    return Faults(**named)


def environment_of(krosai: KrosaiSimulator, archive: Archive) -> dict[str, str]:
    """The settings that lead to an account and its archive, at no pace but the machine's."""
    return {
        **krosai.environment,
        "KROS_ARCHIVE_URL": f"s3://{archive.bucket}/{archive.prefix}",
        "KROSAI_PLAN": "business",
        "KROSAI_REQUESTS_PER_SECOND": "100000",
        "KROS_DOWNLOAD_WORKERS": "8",
        "KROS_START_DATE": "2025-01-01",
    }


@pytest.fixture(scope="session")
def s3() -> Iterator[LocalS3]:
    with LocalS3() as started:
        yield started


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """A real S3 server, started once by the process that asks for it."""
    with SeaweedFS() as started:
        yield started


@pytest.fixture(scope="session")
def s3_client(s3: LocalS3) -> Iterator[Any]:
    client = s3.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def simulators() -> Iterator[Callable[[SandboxConfig], KrosaiSimulator]]:
    """The simulator of a configuration: started once, and handed out without faults and with counters at zero."""
    started: dict[str, KrosaiSimulator] = {}
    with ExitStack() as stack:

        def simulator(config: SandboxConfig) -> KrosaiSimulator:
            name = json.dumps(config.to_json(), sort_keys=True)
            if name not in started:
                started[name] = stack.enter_context(KrosaiSimulator(config))
            started[name].set_faults(Faults())
            started[name].reset_counters()
            return started[name]

        yield simulator


@pytest.fixture
def aws(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> LocalS3:
    """The environment leads to the tests' S3, and to no other, whatever this machine has configured."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**s3.environment, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: _MODELS)
    return s3


@pytest.fixture
def s3_account(
    simulators: Callable[[SandboxConfig], KrosaiSimulator], aws: LocalS3, s3_client: Any
) -> Iterator[MakeAccount]:
    """Makes accounts: `s3_account(config, now=..., KROS_...=...)`, `fresh=True` where a test changes the world itself.

    `bucket`: "plain" or "locked" (versions, Object Lock), of its own: the local S3 copies the bodies of a whole bucket
    for each listing of versions, and keeps the copies.
    """
    with ExitStack() as stack:

        def make(
            config: SandboxConfig = PLAIN,
            *,
            now: datetime = AFTER_GRACE,
            fresh: bool = False,
            bucket: str = "",
            **settings: str,
        ) -> Account:
            krosai = stack.enter_context(KrosaiSimulator(config)) if fresh else simulators(config)
            prefix = f"test-{next(_numbers)}"
            if bucket:
                s3_client.create_bucket(Bucket=f"own-{prefix}", ObjectLockEnabledForBucket=bucket == "locked")
            archive = Archive(s3_client, f"own-{prefix}" if bucket else aws.bucket, prefix)
            made = Account(krosai, archive, environment_of(krosai, archive) | settings, now)
            stack.callback(made.opened.close)
            return made

        yield make


@pytest.fixture
def account(s3_account: MakeAccount) -> MakeAccount:
    """Makes accounts with an archive in S3. A folder of tests may override it with `memory_account`."""
    return s3_account


@pytest.fixture
def memory_account(
    simulators: Callable[[SandboxConfig], KrosaiSimulator],
) -> Iterator[MakeAccount]:
    """As `s3_account`, with an archive in memory: a whole day takes a third of the time.

    `bucket`: "locked" gives it a bucket of its own, with versions and Object Lock.
    """
    with ExitStack() as stack:

        def make(
            config: SandboxConfig = PLAIN,
            *,
            now: datetime = AFTER_GRACE,
            fresh: bool = False,
            bucket: str = "",
            **settings: str,
        ) -> Account:
            krosai = stack.enter_context(KrosaiSimulator(config)) if fresh else simulators(config)
            prefix = f"test-{next(_numbers)}"
            name = f"own-{prefix}" if bucket == "locked" else "memory"
            if bucket == "locked":
                create_versioned_bucket(name)
            archive = MemoryArchive(name, prefix)
            environment = environment_of(krosai, archive) | settings
            made = Account(krosai, archive, environment, now, open_archive=open_memory_archive)
            stack.callback(archive.forget)
            stack.callback(made.opened.close)
            return made

        yield make


@pytest.fixture
def run_context(account: MakeAccount) -> RunContext:
    """The handles of a run over an account of a few plain calls, with an archive that is empty."""
    return account().open()
