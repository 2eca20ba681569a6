"""Keep the state of notifications: in the archive, or in a text where the archive cannot be reached.

In the archive it outlives Dagster's database, and deployments that share the archive share it. Every write is
conditional.
"""

import json
from collections.abc import Callable
from typing import Protocol

from ..core.notification_state import NotificationState, dump_state, parse_state
from ..core.object_keys import NOTIFICATIONS
from .json_objects import update_parsed
from .object_store import ObjectStore


class NotificationNotes(Protocol):
    """Where the state is kept."""

    def update(self, change: Callable[[NotificationState], NotificationState]) -> NotificationState:
        """Write what `change` makes of the state, and return it."""


class ArchiveNotes:
    """The state in `state/notifications.json`. An object that is no state counts as none: all is red anew."""

    def __init__(self, store: ObjectStore):
        self._store = store

    def update(self, change: Callable[[NotificationState], NotificationState]) -> NotificationState:
        """Write what `change` makes of the state, and return it. Nothing is put where it is equal."""
        return update_parsed(
            self._store,
            NOTIFICATIONS,
            lambda present: change(present or NotificationState()),
            parse=_parse,
            dump=dump_state,
        )


class TextNotes:
    """The state in a text, for whoever keeps the text."""

    def __init__(self, text: str = ""):
        self._state = _parse(text.encode()) or NotificationState()

    @property
    def state(self) -> NotificationState:
        """The state as it is now."""
        return self._state

    def update(self, change: Callable[[NotificationState], NotificationState]) -> NotificationState:
        """Keep what `change` makes of the state, and return it."""
        self._state = change(self._state)
        return self._state

    def to_text(self) -> str:
        """Return the text that another `TextNotes` reads."""
        return json.dumps(dump_state(self._state))


def _parse(body: bytes) -> NotificationState | None:
    try:
        return parse_state(json.loads(body))
    except (ValueError, RecursionError):
        return None
