"""The identity of the archive: which account it belongs to, in which format."""

from ..core.errors import WrongArchive
from ..core.object_keys import ARCHIVE_IDENTITY
from .json_objects import create_json, read_json
from .object_store import ObjectStore

ARCHIVE_FORMAT = 1


class ArchiveIdentity:
    """The account that a run works for, compared with `state/archive.json`."""

    def __init__(self, store: ObjectStore, base_url: str, organization_id: str | None):
        self._store = store
        self._expected: dict[str, object] = {
            "base_url": base_url,
            "organization_id": organization_id,
            "format": ARCHIVE_FORMAT,
        }

    def check(self) -> bool:
        """Return whether the archive is this account's; False where it is nobody's yet. Raises `WrongArchive`."""
        stored = read_json(self._store, ARCHIVE_IDENTITY)
        if stored is None:
            return False
        expected = self._expected
        different = [name for name in expected if stored.get(name) != expected[name]]
        if different:
            raise WrongArchive(
                f"{self._store.url(ARCHIVE_IDENTITY)} says that this archive belongs to another account: "
                + "; ".join(f"{name} is {stored.get(name)!r} there and {expected[name]!r} here" for name in different)
                + ". Mend KROSAI_BASE_URL or KROSAI_ORGANIZATION_ID, or give each account a prefix of its own in "
                "KROS_ARCHIVE_URL."
            )
        return True

    def claim(self) -> None:
        """Make the archive this account's, if it is nobody's yet. Call it once the source has accepted the key."""
        if not self.check():
            create_json(self._store, ARCHIVE_IDENTITY, self._expected)
            self.check()
