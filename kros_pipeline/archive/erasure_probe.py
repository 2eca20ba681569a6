"""Try what erasure relies on, by its own role and before its first effect: versions, deletion and legal holds."""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, UnfitStore
from ..core.object_keys import erasure_probe_key
from .compare_and_swap import put_unique
from .governance import Governance, versions_at
from .object_store import CREATE, ObjectStore, Replace


@dataclass(frozen=True, slots=True)
class ErasureProbe:
    """What the server was found to do. `keeps_versions` says whether an object that is replaced has an old version.

    `holds` says whether a version under legal hold was kept from deletion; None where the bucket has no Object Lock,
    or the role may not place holds.
    """

    keeps_versions: bool
    holds: bool | None
    probed_at: datetime

    def describe(self) -> str:
        """Return what an operator sees."""
        versions = "old versions are listed" if self.keeps_versions else "the bucket keeps no versions"
        holds = {None: "legal hold not probed", True: "legal hold kept", False: "legal hold ignored"}[self.holds]
        return f"deletes for good; {versions}; {holds}; probed on {self.probed_at.date()}"


def probe_erasure(store: ObjectStore, governance: Governance, now: datetime) -> ErasureProbe:
    """Write an object twice, find its versions, hold one if the bucket has Object Lock, and delete them.

    The object has a key of its own, so that two erasures at once do not disturb each other. Raises `UnfitStore` where
    the server cannot do that, or the role may not, and `ArchiveUnavailable` where it gives no answer.
    """
    name = uuid.uuid4().hex
    key, token = erasure_probe_key(name), name.encode()
    try:
        put_unique(store, key, b"1" + token, CREATE)
        head = store.head(key)
        if head is None:
            raise UnfitStore("the server does not show an object that it has just taken")
        put_unique(store, key, b"2" + token, Replace(head.version))
        versions = versions_at(governance, key)
        if not any(version.is_latest for version in versions):
            raise UnfitStore("the server does not list the version of an object that it has just taken")
        holds = _probe_hold(governance, key) if governance.has_object_lock() else None
        governance.delete(versions_at(governance, key))
        if store.head(key) is not None or versions_at(governance, key):
            raise UnfitStore("an object is still there after all its versions were deleted")
    except ArchiveUnavailable:
        raise  # it says nothing of what the server can do
    except ArchiveError as error:
        why = str(error).rstrip(".")
        raise UnfitStore(f"erase_calls cannot be carried out on this bucket: {why}. Nothing was touched.") from None
    return ErasureProbe(len(versions) > 1, holds, now)


def _probe_hold(governance: Governance, key: str) -> bool | None:
    """Return whether a version under legal hold is kept; None where the role may not place one."""
    try:
        governance.place_legal_hold(key)
    except ArchiveDenied:
        for version in versions_at(governance, key):
            governance.has_legal_hold(version)  # this it must be allowed: held calls are not erased
        return None
    if not any(map(governance.has_legal_hold, versions_at(governance, key))):
        raise UnfitStore("the server does not show a legal hold that it has just taken")
    with suppress(ArchiveError):
        governance.delete(versions_at(governance, key))
    is_kept = any(not version.is_marker for version in versions_at(governance, key))
    if is_kept:
        governance.lift_legal_hold(key)
    return is_kept
