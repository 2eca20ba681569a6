"""The attempts to have one decision carried out upstream, in the journal of the day that has claimed the decision."""

from collections.abc import Mapping
from datetime import date
from typing import TypeAlias

from ..archive.parquet import Row
from ..archive.request_journal import RequestJournal, Stage
from ..core.object_keys import extension_request
from ..core.statuses import NOT_SENT

Attempts: TypeAlias = Mapping[int, frozenset[Stage]]
"""The stages that each attempt has reached, by its number."""


class DecisionAttempts:
    """The attempts of one decision, counted from 1, as they were when they were read. `home` is the journal's day."""

    def __init__(self, journal: RequestJournal, home: date, decision_id: str, stages: Attempts):
        self.home = home
        self._journal, self._decision_id, self._stages = journal, decision_id, stages

    @property
    def last(self) -> int:
        """The number of the last attempt; 0 where there is none."""
        return max(self._stages, default=0)

    def was_resent_by(self, run_id: str) -> bool:
        """Return whether an operator ordered the last attempt in that run, and it may have reached upstream."""
        intent = self._read(self.last, Stage.INTENT)
        if intent is None or intent.get("resent_by") != run_id:
            return False
        outcome = self._read(self.last, Stage.OUTCOME)
        return outcome is None or outcome["status"] != NOT_SENT

    def begin(self, attempt: int, intent: Row) -> bool:
        """Write the intent of an attempt. False where another run is sending it now."""
        return self._journal.begin(self._name(attempt), intent)

    def finish(self, attempt: int, outcome: Row) -> None:
        """Write the outcome of an attempt that this run has begun."""
        self._journal.finish(self._name(attempt), outcome)

    def settle(self, attempt: int, settled: Row) -> None:
        """Write what an operator found out about an attempt."""
        self._journal.settle(self._name(attempt), settled)

    def _read(self, attempt: int, stage: Stage) -> Row | None:
        """Return one object of an attempt, if it was there when the attempts were read."""
        if stage not in self._stages.get(attempt, ()):
            return None
        return self._journal.read(self._name(attempt), stage)

    def effective(self) -> tuple[int, Row, Row | None] | None:
        """Return number, intent and outcome of the last attempt that can have reached upstream."""
        for attempt in sorted(self._stages, reverse=True):
            intent = self._read(attempt, Stage.INTENT)
            if intent is None:
                continue
            outcome = self._read(attempt, Stage.OUTCOME)
            if outcome is None or outcome["status"] != NOT_SENT:
                return attempt, intent, outcome
        return None

    def settlement(self, *, since: int) -> Row | None:
        """Return what an operator settled last, of the attempts from `since` on."""
        for attempt in sorted(self._stages, reverse=True):
            if attempt >= since and (settled := self._read(attempt, Stage.SETTLED)) is not None:
                return settled
        return None

    def _name(self, attempt: int) -> str:
        return extension_request(self._decision_id, attempt)


def list_attempts(journal: RequestJournal, decision_id: str = "") -> dict[str, Attempts]:
    """List the attempts in the journal of a day, with their stages, by decision; of one decision, if it is named.

    Most decisions have one attempt, in the same stages: they share one object.
    """
    found: dict[str, Attempts] = {}
    shared: dict[tuple[int, frozenset[Stage]], Attempts] = {}
    for name, stages in journal.stages(f"{decision_id}/" if decision_id else ""):
        decision, _, digits = name.partition("/")
        if digits.isdecimal():
            attempt, others = int(digits), found.get(decision, {})
            stages |= others.get(attempt, frozenset())  # a store that lists in no order shows an attempt in parts
            once = shared.setdefault((attempt, stages), {attempt: stages})
            found[decision] = {**others, **once} if others.keys() - once else once
    return found
