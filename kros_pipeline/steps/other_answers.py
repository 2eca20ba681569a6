"""Keeps what upstream answered about a transcript and the table does not hold, below `state/transcripts/`."""

import hashlib
import json
from datetime import date

from ..archive.object_store import CREATE, ObjectStore
from ..archive.tombstones import Tombstones
from ..core.errors import ObjectExists
from ..core.object_keys import other_answer_key


def keep_other_answer(
    store: ObjectStore, tombstones: Tombstones, day: date, call_id: str, kind: str, answer: str
) -> None:
    """Keep an answer, unless the call was erased. The same answer is kept once."""
    if tombstones.is_erased(call_id):
        return
    body = json.dumps({"call_id": call_id, "kind": kind, "answer": answer}, ensure_ascii=False, sort_keys=True).encode()
    digest = hashlib.sha256(body).hexdigest()
    try:
        key = other_answer_key(day, call_id, digest)
        store.put(key, body, sha256=digest, mode=CREATE, content_type="application/json")
    except ObjectExists:
        return  # an earlier run kept the same answer
