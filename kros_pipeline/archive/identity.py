"""The archive's identity: whose account it archives. Two accounts never mix in one archive."""

from ..core.errors import WrongArchive
from ..core.object_keys import ARCHIVE_IDENTITY
from .json_objects import create_json, read_json
from .object_store import ObjectStore

_ARCHIVE_FORMAT = 1


class ArchiveIdentity:
    """The account that the settings name, compared with the one that the archive belongs to."""

    def __init__(self, store: ObjectStore, base_url: str, organization_id: str | None):
        self._store = store
        self._expected = {"base_url": base_url, "organization_id": organization_id, "format": _ARCHIVE_FORMAT}

    def check(self) -> bool:
        """Return whether the archive is this account's; False where it is nobody's yet. Raises `WrongArchive`."""
        stored = read_json(self._store, ARCHIVE_IDENTITY)
        if stored is None:
            return False
        different = [name for name, value in self._expected.items() if stored.get(name) != value]
        if different:
            raise WrongArchive(
                f"{self._store.url(ARCHIVE_IDENTITY)} says that this archive belongs to another account: "
                + "; ".join(
                    f"{name} is {stored.get(name)!r} there and {self._expected[name]!r} here" for name in different
                )
                + ". Correct KROSAI_BASE_URL or KROSAI_ORGANIZATION_ID, or give each account a prefix of its own in "
                "KROS_ARCHIVE_URL."
            )
        return True

    def claim(self) -> None:
        """Make the archive this account's, if it is nobody's yet. Called once the API has accepted the key."""
        if not self.check():
            create_json(self._store, ARCHIVE_IDENTITY, self._expected)
            self.check()  # another account may have been first
