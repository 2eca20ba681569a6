"""Try what erasure relies on, by its own role and before its first effect: versions, their bytes, deletion, holds."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, UnfitStore
from ..core.object_keys import erasure_probe_key
from .compare_and_swap import put_unique
from .governance import NULL_VERSION, Governance, ObjectVersion, versions_at
from .object_store import CREATE, ObjectStore, Replace

ERASURE_PROBE = 2
"""The number of this probe. What an earlier one found is not enough: it tried less."""


@dataclass(frozen=True, slots=True)
class ErasureProbe:
    """What the server was found to do. `keeps_versions` says whether an object that is replaced has an old version.

    `holds` says whether a version under legal hold was kept from deletion; None where the bucket has no Object Lock,
    or the role may not place holds. `number` is that of the probe: the first one read no version.
    """

    keeps_versions: bool
    holds: bool | None
    probed_at: datetime
    number: int = 1

    def describe(self) -> str:
        """Return what an operator sees."""
        versions = "old versions are listed" if self.keeps_versions else "the bucket keeps no versions"
        holds = {None: "legal hold not probed", True: "legal hold kept", False: "legal hold ignored"}[self.holds]
        return f"deletes for good; {versions}; {holds}; probed on {self.probed_at.date()}"

    def is_enough(self) -> bool:
        """Return whether the probe tried all that erasures rely on now."""
        return self.number >= ERASURE_PROBE


def probe_erasure(store: ObjectStore, governance: Governance, now: datetime) -> ErasureProbe:
    """Write an object twice, read its versions, hold one if the bucket has Object Lock, and delete them.

    The object has a key of its own, so that two erasures at once do not disturb each other. Raises `UnfitStore` where
    the server cannot do that, or the role may not, and `ArchiveUnavailable` where it gives no answer.
    """
    name = uuid.uuid4().hex
    key = erasure_probe_key(name)
    first, second = (digit + name.encode() for digit in (b"1", b"2"))
    try:
        put_unique(store, key, first, CREATE)
        head = store.head(key)
        if head is None:
            raise UnfitStore("the server does not show an object that it has just taken")
        put_unique(store, key, second, Replace(head.version))
        versions = versions_at(governance, key)
        if not any(version.is_latest for version in versions):
            raise UnfitStore("the server does not list the version of an object that it has just taken")
        for version in versions:
            _check_bytes(governance, version, second if version.is_latest else first)
        _check_condition(lambda: store.read_range(key, 0, 1, version=head.version))
        for version in versions:
            if version.version_id == NULL_VERSION:
                _check_condition(partial(governance.read_version_range, replace(version, token=head.version), 0, 1))
        holds = _probe_hold(governance, key) if governance.has_object_lock() else None
        governance.delete(versions_at(governance, key))
        if store.head(key) is not None or versions_at(governance, key):
            raise UnfitStore("an object is still there after all its versions were deleted")
    except ArchiveUnavailable:
        raise  # it says nothing of what the server can do
    except ArchiveError as error:
        why = str(error).rstrip(".")
        raise UnfitStore(f"erase_calls cannot be carried out on this bucket: {why}. Nothing was touched.") from None
    return ErasureProbe(len(versions) > 1, holds, now, ERASURE_PROBE)


def _check_bytes(governance: Governance, version: ObjectVersion, body: bytes) -> None:
    """Raise `UnfitStore` unless a version has its own bytes, whole and in parts: else a proof would read others."""
    try:
        is_own = (governance.read_version(version), governance.read_version_range(version, 0, 2)) == (body, body[:2])
    except ObjectChanged:
        is_own = False
    if not is_own:
        age = "present" if version.is_latest else "old"
        raise UnfitStore(f"the server does not return the bytes of the {age} version of an object that it lists")


def _check_condition(read_part: Callable[[], object]) -> None:
    """Raise `UnfitStore` unless a part of an object is refused under the condition of its earlier version."""
    with suppress(ObjectChanged):
        read_part()
        raise UnfitStore("the server ignores If-Match of a GET: parts of two versions of a file would pass for one")


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
