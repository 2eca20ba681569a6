"""What a step works with: the settings, the clients, the clock. Opened once a run."""

import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..archive.s3_governance import S3Governance
from ..archive.s3_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.errors import ObjectExists, WrongArchive
from ..core.flags import Rules
from ..core.object_keys import ARCHIVE_IDENTITY
from ..source.downloads import RecordingStorage
from ..source.krosai import KrosAI
from .process import configure_process
from .settings import Settings, parse_settings_and_rules

_ARCHIVE_FORMAT = 1


@dataclass
class RunContext:
    """The handles of one run."""

    settings: Settings
    rules: Rules
    api: KrosAI
    storage: RecordingStorage
    store: ObjectStore
    governance: S3Governance
    tombstones: Tombstones
    tables: Tables
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))  # Dagster's, where Dagster runs it
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kros_pipeline"))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def close(self) -> None:
        """Closes the connections."""
        self.api.close()
        self.storage.close()

    def check_archive(self) -> bool:
        """Whether the archive is this account's already; False where nobody's. Raises `WrongArchive`."""
        stored = self.store.read_json(ARCHIVE_IDENTITY)
        if stored is None:
            return False
        mine = self._identity()
        different = [name for name in mine if stored.get(name) != mine[name]]
        if different:
            raise WrongArchive(
                f"{self.store.url(ARCHIVE_IDENTITY)} says that this archive belongs to another account: "
                + "; ".join(f"{name} is {stored.get(name)!r} there and {mine[name]!r} here" for name in different)
                + ". Mend KROSAI_BASE_URL or KROSAI_ORGANIZATION_ID, or give each account a prefix of its own in "
                "KROS_ARCHIVE_URL."
            )
        return True

    def claim_archive(self) -> None:
        """Makes the archive this account's, if it is nobody's yet. Called once the API has accepted the key."""
        if not self.check_archive():
            with suppress(ObjectExists):
                self.store.put_json(ARCHIVE_IDENTITY, self._identity(), only_if="absent")
            self.check_archive()

    def _identity(self) -> dict[str, object]:
        return {
            "base_url": self.settings.source.base_url,
            "organization_id": self.settings.source.organization_id,
            "format": _ARCHIVE_FORMAT,
        }


def open_run_context(texts: Mapping[str, str | None]) -> RunContext:
    """Reads all settings and opens the clients; the archive is looked at, and nothing is written.

    Raises `BadSettings` for every bad setting at once, and `ArchiveError` where the archive cannot be used.
    """
    configure_process()
    settings, rules = parse_settings_and_rules(texts)
    store = ObjectStore(settings.archive)
    tombstones = Tombstones(store, settings.archive.erasure_key)
    ctx = RunContext(
        settings,
        rules,
        KrosAI(settings.source),
        RecordingStorage(settings.source),
        store,
        S3Governance(store),
        tombstones,
        Tables(store, tombstones),
    )
    ctx.check_archive()
    tombstones.check_key()
    return ctx
