"""Reads an audio object of the archive back, and verifies it: its bytes are the evidence, not its metadata."""

import hashlib
import mmap
import tempfile
from datetime import UTC

from ..archive.object_store import Head, ObjectStore
from ..core.audio_check import describe_accepted, verify_audio
from ..core.errors import InvalidAudio
from ..source.spool import choose_folder
from .recording_rows import ACCEPTED, StoredAudio

_GONE = "the object was there, and is gone"


def read_stored_audio(store: ObjectStore, key: str) -> StoredAudio:
    """Read the whole object into a temporary file, and return what its bytes are.

    What upstream declared refuses nothing here: it was compared before the object was put. Neither does anything refuse
    the bytes that an operator accepted. Raises `InvalidAudio` for bytes that are no recording or were changed since
    they were put, and `ArchiveError` where they cannot be read.
    """
    head = store.head(key)
    if head is None:
        raise InvalidAudio("absent", _GONE)
    put_sha256 = head.metadata.get("sha256")
    if put_sha256 is None:
        raise InvalidAudio(
            "origin",
            "the object at the recording's key was not written by this pipeline: move it out of audio/, then "
            "materialize the day",
        )
    with tempfile.TemporaryFile(dir=choose_folder(), prefix="kros-") as file:
        if store.copy_into(key, file) is None:
            raise InvalidAudio("absent", _GONE)
        file.flush()
        size_bytes = file.tell()
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size_bytes else memoryview(b"")
        try:
            sha256 = hashlib.sha256(data).hexdigest()
            found = describe_accepted(data) if _is_kept_anyway(head, sha256) else verify_audio(data)
        except InvalidAudio as error:
            raise InvalidAudio(error.check, f"the object at the recording's key is no recording: {error}") from None
    if put_sha256 != sha256:
        raise InvalidAudio(
            "sha256", "the object at the recording's key was changed: its SHA-256 is not the one that it was put with"
        )
    defects = head.metadata.get("defects")
    if defects is not None and (ACCEPTED in head.metadata or not found.defects):
        found = found._replace(defects=(defects,))
    return StoredAudio(size_bytes, sha256, found, head.last_modified.astimezone(UTC))


def _is_kept_anyway(head: Head, sha256: str) -> bool:
    """Return whether unchanged bytes are kept whatever they are: an operator accepted them, or the call was empty."""
    is_unchanged = head.metadata.get("sha256") == sha256
    return is_unchanged and (ACCEPTED in head.metadata or not head.size_bytes)
