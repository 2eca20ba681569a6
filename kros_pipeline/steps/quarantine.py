"""The quarantine: keeps every whole body that is rejected, once, so that nothing that came is thrown away."""

import tempfile
from contextlib import suppress
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.object_store import CREATE, ObjectStore
from ..archive.tombstones import Tombstones
from ..core.errors import ArchiveError, InvalidAudio, ObjectExists
from ..core.object_keys import quarantine_key
from ..source.call_source import Body
from ..source.spool import choose_folder


class BodyRejected(Exception):
    """A whole body came and was rejected. `key` is where it is kept, inside the bucket; None where nothing is kept."""

    def __init__(self, error: InvalidAudio, sha256: str, key: str | None):
        super().__init__(str(error))
        self.error, self.sha256, self.key = error, sha256, key


class Quarantine:
    """Keeps the rejected bodies of one day. Threads share it."""

    def __init__(self, day: date, store: ObjectStore, tombstones: Tombstones, audit: AuditLog):
        self._day, self._store, self._tombstones, self._audit = day, store, tombstones, audit

    def keep(self, call_id: str, body: Body, error: InvalidAudio) -> BodyRejected:
        """Put a body into quarantine if it is not there, and return its rejection."""
        if not body.size_bytes or self._tombstones.is_erased(call_id):
            return BodyRejected(error, body.sha256, None)
        key = quarantine_key(self._day, call_id, body.sha256)
        content = body.file if body.file is not None else bytes(body.data)
        with suppress(ObjectExists):  # the same bytes came before
            self._store.put(
                key, content, sha256=body.sha256, mode=CREATE, metadata={"sha256": body.sha256, "check": error.check}
            )
        self._audit.record(
            AuditEvent.QUARANTINED, call_id, sha256=body.sha256, bytes=body.size_bytes, check=error.check
        )
        return BodyRejected(error, body.sha256, self._store.full_key(key))

    def keep_stored(self, call_id: str, audio_key: str, sha256: str) -> str:
        """Put a copy of an archived object into quarantine before it is replaced, and return the copy's key.

        Raises `ArchiveError` where the object is gone, or its call was erased.
        """
        key = quarantine_key(self._day, call_id, sha256)
        with tempfile.TemporaryFile(dir=choose_folder(), prefix="kros-") as file:
            if self._store.copy_into(audio_key, file) is None or self._tombstones.is_erased(call_id):
                raise ArchiveError("the archived object was deleted while upstream was asked for it again")
            size = file.tell()
            file.flush()
            with suppress(ObjectExists):
                metadata = {"sha256": sha256, "check": "shared"}
                self._store.put(key, file, sha256=sha256, mode=CREATE, metadata=metadata)
        self._audit.record(AuditEvent.QUARANTINED, call_id, sha256=sha256, bytes=size, check="shared")
        return self._store.full_key(key)
