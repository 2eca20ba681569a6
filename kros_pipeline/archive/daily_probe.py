"""Try what the daily work relies on: create-only writes, conditional writes, encryption, and the SHA-256 of a body.

One object at a fixed key serves every probe, and stays. Probes of two runs at once do not disturb each other.
"""

import hashlib
import json
import uuid
from io import BytesIO

from ..core.errors import (
    ArchiveDenied,
    ArchiveError,
    ArchiveUnavailable,
    ObjectChanged,
    ObjectExists,
    UnfitStore,
)
from ..core.object_keys import DAILY_PROBE
from .compare_and_swap import ATTEMPTS, put_unique
from .object_store import CREATE, ObjectStore, PutMode, Replace, VersionToken

_NOBODYS_VERSION = VersionToken('"00000000000000000000000000000000"')
_OTHER_SHA256 = hashlib.sha256(b"other bytes").hexdigest()


def probe_daily_work(store: ObjectStore) -> bool:
    """Return whether the server refuses a body of another SHA-256 than the request names.

    Raises `UnfitStore` where it lacks what cannot be done without, and `ArchiveError` where the probe cannot be made.
    """
    _create_probe_object(store)
    if _accepts(store, CREATE):
        raise unfit(
            store,
            "ignores If-None-Match: a create-only write replaced an object, so that two runs at once would overwrite "
            "each other's objects and repeat each other's requests",
        )
    if _accepts(store, Replace(_NOBODYS_VERSION)):
        raise unfit(
            store,
            "ignores If-Match: a write under the condition of another version replaced an object, so that two runs at "
            "once would lose each other's rows",
        )
    _replace_probe_object(store)
    if store.server.encryption is not None and not store.server.encrypts(DAILY_PROBE):
        raise unfit(store, f"takes KROS_SSE ({store.server.encryption}) and does not apply it", "unset KROS_SSE")
    return not _accepts_other_sha256(store)


def unfit(store: ObjectStore, lack: str, otherwise: str = "use another server or another bucket") -> UnfitStore:
    """Make the error that names the server, and what it lacks."""
    name = f" ({store.server.name})" if store.server.name else ""
    return UnfitStore(
        f"The S3 server at {store.server.endpoint}{name} {lack}. Nothing was archived: {otherwise}; "
        "docs/s3-compatibility.md lists servers that were tried."
    )


def _create_probe_object(store: ObjectStore) -> None:
    try:
        _put(store, CREATE)
    except ObjectExists:
        return
    except ArchiveError as error:
        is_denied = isinstance(error, ArchiveDenied) and not isinstance(error, UnfitStore)
        if is_denied or store.server.encryption is None or not store.server.takes_unencrypted(DAILY_PROBE):
            raise
        lack = f"refuses writes that ask for KROS_SSE ({store.server.encryption}), and takes others: {error}"
        raise unfit(store, lack.rstrip("."), "unset KROS_SSE") from None


def _replace_probe_object(store: ObjectStore) -> None:
    versions = []
    for _ in range(ATTEMPTS):
        versions.append(_read_version(store))
        try:
            _put(store, Replace(versions[-1]))
            return
        except ObjectChanged:
            continue  # another run's probe may have been faster
    if len({*versions, _read_version(store)}) == 1:
        raise unfit(store, "refuses If-Match with the ETag that it has just named, so that nothing can be replaced")
    raise ArchiveUnavailable(f"{DAILY_PROBE} was replaced by others {ATTEMPTS} times in a row")


def _accepts_other_sha256(store: ObjectStore) -> bool:
    for _ in range(ATTEMPTS):
        try:
            store.put(DAILY_PROBE, _new_body(), sha256=_OTHER_SHA256, mode=Replace(_read_version(store)))
            return True
        except ObjectChanged:
            continue  # another run's probe was faster
        except (ArchiveUnavailable, ArchiveDenied):
            raise
        except ArchiveError:
            return False
    raise ArchiveUnavailable(f"{DAILY_PROBE} was replaced by others {ATTEMPTS} times in a row")


def _accepts(store: ObjectStore, mode: PutMode) -> bool:
    """Return whether the server writes under a condition that does not hold."""
    try:
        _put(store, mode)
    except (ObjectExists, ObjectChanged):
        return False
    return True


def _put(store: ObjectStore, mode: PutMode) -> None:
    put_unique(store, DAILY_PROBE, _new_body(), mode)


def _new_body() -> bytes:
    return json.dumps({"probe": uuid.uuid4().hex}).encode()


def _read_version(store: ObjectStore) -> VersionToken:
    version = store.copy_into(DAILY_PROBE, BytesIO())
    if version is None:
        raise unfit(store, "does not show an object that it has just taken")
    return version
