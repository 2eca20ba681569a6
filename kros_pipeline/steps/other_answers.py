"""Keeps what upstream answered about a transcript and the table does not hold, below `state/transcripts/`."""

import hashlib
import json
from datetime import date
from functools import partial

from ..archive.object_store import ObjectStore
from ..archive.reserved_writes import keep_unless_erased
from ..archive.tombstones import Tombstones
from ..core.object_keys import other_answer_key


def keep_other_answer(
    store: ObjectStore, tombstones: Tombstones, day: date, call_id: str, kind: str, answer: str
) -> None:
    """Keep an answer, unless the call was erased: it may be speech. The same answer is kept once."""
    body = json.dumps({"call_id": call_id, "kind": kind, "answer": answer}, ensure_ascii=False, sort_keys=True).encode()
    key = other_answer_key(day, call_id, hashlib.sha256(body).hexdigest())
    keep_unless_erased(store, key, body, partial(tombstones.is_erased, call_id, max_age_seconds=0.0))
