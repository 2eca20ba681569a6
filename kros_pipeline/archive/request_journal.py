"""A journal of requests that must not be repeated: an intent before each request, its outcome after it.

All objects are create-only. An intent without an outcome means that nobody knows whether upstream acted, until a person
finds out and settles it. A table of what became of the requests can be rebuilt from the journal.
"""

import uuid
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Any

from ..core.clock import Clock
from ..core.object_keys import request_key
from .compare_and_swap import SHORT_PATIENCE, insist
from .json_objects import create_json, read_json
from .object_store import ObjectStore

Content = dict[str, Any]


class Stage(StrEnum):
    """What an object of the journal says about its request."""

    INTENT = "intent"
    OUTCOME = "outcome"
    SETTLED = "settled"


_STAGES = frozenset(Stage)


class RequestJournal:
    """The requests below one prefix. A request's name may have a slash in it: `<decision>/<attempt>`."""

    def __init__(self, store: ObjectStore, prefix: str, clock: Clock):
        self._store, self._prefix, self._clock = store, prefix, clock

    def begin(self, name: str, intent: Content) -> bool:
        """Write the intent of a request. Only where it returns True, the caller may send the request.

        A token distinguishes this run's own intent from another run's: S3's answer to our write may be lost, and the
        write repeated.
        """
        content = intent | {"token": uuid.uuid4().hex}
        return self._create(name, Stage.INTENT, content) or self.read(name, Stage.INTENT) == content

    def finish(self, name: str, outcome: Content) -> None:
        """Write the outcome of a request. One that is there is ours: only the intent's writer writes it.

        Raises `ArchiveError` where the store does not take it in half a minute: then the caller has to keep it.
        """
        insist(lambda: self._create(name, Stage.OUTCOME, outcome), self._clock, attempts=SHORT_PATIENCE)

    def settle(self, name: str, content: Content) -> None:
        """Write what a person found out about a request; what was settled before stays."""
        self._create(name, Stage.SETTLED, content)

    def read(self, name: str, stage: Stage) -> Content | None:
        """Return one object of a request; None where there is none."""
        return read_json(self._store, self.key(name, stage))

    def stages(self, below: str = "") -> Iterator[tuple[str, frozenset[Stage]]]:
        """Yield the requests of the journal whose names begin with `below`, with the stages that each has reached.

        Where the store lists keys in another order, a request may come several times, each time with other stages.
        """
        names = (entry.key.removeprefix(self._prefix) for entry in self._store.list(self._prefix + below))
        parts = (name.removesuffix(".json").rpartition("-") for name in names)
        for name, found in groupby(parts, key=itemgetter(0)):
            stages = frozenset(Stage(stage) for _, _, stage in found if stage in _STAGES)
            if stages:
                yield name, stages

    def key(self, name: str, stage: Stage) -> str:
        """Return the key of one object of a request."""
        return request_key(self._prefix, name, stage)

    def _create(self, name: str, stage: Stage, content: Content) -> bool:
        return create_json(self._store, self.key(name, stage), content)
