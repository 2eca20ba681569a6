"""The archive's identity: whose account it archives, and in which format. Two accounts never mix in one archive.

The API key itself is never stored, only fingerprints of the keys that were confirmed to be this account's.
"""

from collections.abc import Callable

from ..core.errors import WrongArchive
from ..core.object_keys import ARCHIVE_IDENTITY, TABLES
from .json_objects import Content, create_json, read_json, update_json
from .object_store import ObjectStore

FORMAT = 2
FORMAT_OF_VERSION_0_1_0 = 1
MIGRATION_UNDER_WAY, MIGRATION_DONE = "under way", "done"
_OTHER_PREFIX = "or give each account a prefix of its own in KROS_ARCHIVE_URL."


class ArchiveIdentity:
    """The account that the settings name, compared with the one that the archive belongs to."""

    def __init__(self, store: ObjectStore, base_url: str, organization_id: str | None, key_fingerprint: str):
        self._store = store
        self._base_url, self._organization_id, self._key_fingerprint = base_url, organization_id, key_fingerprint
        self._stored: Content | None = None
        self.before_claim: Callable[[], object] = lambda: None
        """Called before the archive is claimed, also where another run was first; what it raises ends the claim."""

    def check(self) -> bool:
        """Read the identity. Return whether the archive has one; False where it is nobody's yet.

        Raises `WrongArchive` where it is another account's or has a format that this version does not know, and where
        the archive has tables without an identity.
        """
        self._stored = read_json(self._store, ARCHIVE_IDENTITY)
        if self._stored is None and self._has_tables():
            self._stored = read_json(self._store, ARCHIVE_IDENTITY)  # another run may just have begun the archive
            if self._stored is None:
                raise WrongArchive(
                    f"{self._store.url(ARCHIVE_IDENTITY)} is missing, and the archive has tables: nobody can tell "
                    "whose calls they are. Restore the object, or use another prefix in KROS_ARCHIVE_URL."
                )
        if self._stored is not None:
            self._refuse_other(self._stored)
        return self._stored is not None

    @property
    def is_migrated(self) -> bool:
        """Whether the archive has this version's format throughout, as it was when the identity was read."""
        stored = self._stored
        return stored is None or (stored["format"] == FORMAT and stored.get("migration") == MIGRATION_DONE)

    @property
    def is_claimed(self) -> bool:
        """Whether the archive is an account's, as it was when the identity was read."""
        return self._stored is not None

    @property
    def is_confirmed(self) -> bool:
        """Whether the archive knows this key and organization, or is nobody's yet."""
        return self._stored is None or (
            self._stored.get("organization_id") == self._organization_id
            and self._key_fingerprint in self._stored.get("key_fingerprints", [])
        )

    def claim(self) -> None:
        """Make the archive this account's, if it is nobody's yet. Called once the API has accepted the key.

        Raises `WrongArchive` where it is another account's, or may be.
        """
        is_claimed = self.check()
        self.before_claim()
        if not is_claimed:
            create_json(
                self._store,
                ARCHIVE_IDENTITY,
                {
                    "base_url": self._base_url,
                    "organization_id": self._organization_id,
                    "format": FORMAT,
                    "migration": MIGRATION_DONE,
                    "key_fingerprints": [self._key_fingerprint],
                },
            )
            self.check()  # another account may have been first
        if not self.is_confirmed:
            raise WrongArchive(
                f"{self._store.url(ARCHIVE_IDENTITY)}: another run has begun this archive with another API key or "
                "organization. Launch this run again to have the account compared, " + _OTHER_PREFIX
            )

    def confirm(self, *, has_calls: bool) -> None:
        """Store that this key and organization are the archive's.

        Without calls nothing in the archive is of an account: the keys that began it are forgotten.
        """

        def change(stored: Content) -> Content:
            self._refuse_other(stored)
            known = stored.get("key_fingerprints", []) if has_calls else []
            fingerprints = sorted({*known, self._key_fingerprint})
            return stored | {"organization_id": self._organization_id, "key_fingerprints": fingerprints}

        self._stored = update_identity(self._store, change)

    def _has_tables(self) -> bool:
        return any(entry.key.endswith(".parquet") for entry in self._store.list(TABLES))

    def _refuse_other(self, stored: Content) -> None:
        """Raise `WrongArchive` for another account. An organization that is only named now may be the archive's."""
        url = self._store.url(ARCHIVE_IDENTITY)
        if stored.get("format") not in (FORMAT_OF_VERSION_0_1_0, FORMAT):
            raise WrongArchive(
                f"{url} says that this archive has format {stored.get('format')!r}, and this version of kros_pipeline "
                f"knows formats up to {FORMAT}. Install the version that wrote it, or a newer one."
            )
        different = [("base_url", self._base_url)] if stored.get("base_url") != self._base_url else []
        if stored.get("organization_id") not in (None, self._organization_id):
            different.append(("organization_id", self._organization_id or "none"))
        if different:
            raise WrongArchive(
                f"{url} says that this archive belongs to another account: "
                + "; ".join(f"{name} is {stored.get(name)!r} there and {ours!r} here" for name, ours in different)
                + f". Correct KROSAI_BASE_URL or KROSAI_ORGANIZATION_ID, {_OTHER_PREFIX}"
            )


def update_identity(store: ObjectStore, change: Callable[[Content], Content]) -> Content:
    """Replace `state/archive.json` by what `change` makes of it, under a condition, and return that."""

    def write(stored: Content | None) -> Content:
        if stored is None:
            raise WrongArchive(f"{store.url(ARCHIVE_IDENTITY)} was removed meanwhile. Restore the object.")
        return change(stored)

    return update_json(store, ARCHIVE_IDENTITY, write)
