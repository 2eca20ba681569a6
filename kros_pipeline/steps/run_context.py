"""What a step works with: the settings, the clients, the clock. Opened once a run."""

import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..archive.s3_governance import S3Governance
from ..archive.s3_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.errors import ObjectExists, WrongArchive
from ..core.flags import BadRules, Rules, parse_rules
from ..core.object_keys import ARCHIVE_IDENTITY
from ..core.settings import BadSettings, Settings, parse_settings
from ..source.downloads import RecordingStorage
from ..source.krosai import KrosAI

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
            "base_url": self.settings.base_url,
            "organization_id": self.settings.organization_id,
            "format": _ARCHIVE_FORMAT,
        }


def open_run_context(texts: Mapping[str, str | None]) -> RunContext:
    """Reads all settings and opens the clients; the archive is looked at, and nothing is written.

    Raises `BadSettings` for every bad setting at once, and `ArchiveError` where the archive cannot be used.
    """
    settings, rules = read_settings(texts)
    store = ObjectStore(settings)
    tombstones = Tombstones(store, settings.erasure_key)
    ctx = RunContext(
        settings,
        rules,
        KrosAI(settings),
        RecordingStorage(settings),
        store,
        S3Governance(store),
        tombstones,
        Tables(store, tombstones),
    )
    ctx.check_archive()
    tombstones.check_key()
    return ctx


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
