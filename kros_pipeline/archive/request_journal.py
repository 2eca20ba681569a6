"""The request journal: an intent before a request that must not be repeated, an outcome after it; both create-only.

An intent without an outcome means that nobody knows whether the request had an effect.
"""

import uuid
from typing import Any

from .json_objects import create_json, read_json
from .object_store import ObjectStore

Record = dict[str, Any]


class RequestJournal:
    """Writes and reads intents and outcomes. Threads share it."""

    def __init__(self, store: ObjectStore):
        self._store = store

    def begin(self, intent_key: str, intent: Record) -> Record | None:
        """Create an intent and return it as it is stored; None where another run's intent stands there.

        The intent gets a token of its own: so an intent of ours, whose PUT succeeded while its answer was lost, is told
        from another run's.
        """
        stored = intent | {"token": uuid.uuid4().hex}
        if create_json(self._store, intent_key, stored) or self.read(intent_key) == stored:
            return stored
        return None

    def finish(self, outcome_key: str, outcome: Record) -> None:
        """Create the outcome. Only the intent's writer calls this: one that stands there already is its own."""
        create_json(self._store, outcome_key, outcome)

    def read(self, key: str) -> Record | None:
        """Return an intent or an outcome; None where there is none."""
        return read_json(self._store, key)
