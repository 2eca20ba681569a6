"""Asks upstream to delete the recordings of erased calls: one request per call.

A request whose outcome is unknown is never sent again.
"""

from datetime import date

from ..archive.compare_and_swap import LONG_PATIENCE, insist
from ..archive.governance import Governance, versions_at
from ..archive.object_store import ObjectStore
from ..archive.request_journal import RequestJournal, Stage
from ..archive.tombstones import Tombstones
from ..core.clock import Clock
from ..core.errors import (
    ApiError,
    ApiUnauthorized,
    ApiUnreachable,
    ArchiveError,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
    UnaddressableCall,
)
from ..core.object_keys import call_key, upstream_deletions_prefix
from ..source.call_source import CallSource
from .erasure_request import ErasurePlan, save_plan

DELETED, GONE, REFUSED, UNCONFIRMED, NOT_SENT = "deleted", "was gone", "refused", "unconfirmed", "not sent"
_WHAT_TO_DO = {
    REFUSED: "upstream refuses to delete its recording: look in the KrosAI dashboard",
    UNCONFIRMED: "nobody knows whether upstream deleted its recording, and it is asked once: look in the dashboard",
    NOT_SENT: "upstream could not be asked to delete its recording: launch the job again",
}


class UpstreamDeletion:
    """Deletes recordings upstream, with an intent before each request and an outcome after it."""

    def __init__(
        self,
        *,
        source: CallSource,
        store: ObjectStore,
        governance: Governance,
        tombstones: Tombstones,
        clock: Clock,
    ):
        self._source, self._store, self._governance = source, store, governance
        self._tombstones, self._clock = tombstones, clock

    def delete_all(self, plan: ErasurePlan, outcomes: dict[str, int], problems: list[str]) -> None:
        """Delete the recording of every call of a plan: once, under its earliest day, if the plan has it under several.

        Counts each outcome in `outcomes`, and adds a sentence to `problems` for each call that a person must look at.
        An outcome that the journal does not take is kept in the plan, which is saved.
        """
        days: dict[str, list[date]] = {}
        for day in sorted(plan.calls):
            for call_id in sorted(plan.calls[day]):
                days.setdefault(call_id, []).append(day)
        for call_id, days_of_call in days.items():
            name = f"erased call {self._tombstones.pseudonym(call_key(call_id))[:12]}"
            outcome = self._delete(plan, days_of_call, call_id)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if outcome in _WHAT_TO_DO:
                problems.append(f"{name}: {_WHAT_TO_DO[outcome]}")

    def _delete(self, plan: ErasurePlan, days: list[date], call_id: str) -> str:
        """Return the outcome. Upstream's own text is not kept: it may name the call."""
        pseudonym = self._tombstones.pseudonym(call_key(call_id))
        prefixes = map(upstream_deletions_prefix, days)
        journals = [RequestJournal(self._store, prefix, self._clock) for prefix in prefixes]
        for earlier in journals:
            known = earlier.read(pseudonym, Stage.OUTCOME)
            if known is not None:
                return str(known["outcome"])
        journal, *others = journals
        if pseudonym in plan.outcomes:
            self._finish(journal, pseudonym, plan)
            return plan.outcomes[pseudonym]
        if any(other.read(pseudonym, Stage.INTENT) is not None for other in others):
            return UNCONFIRMED  # an earlier erasure asked when the call had another day
        if not journal.begin(pseudonym, {"sent_at": self._clock.now().isoformat()}):
            return UNCONFIRMED
        outcome = self._ask(call_id)
        if outcome == NOT_SENT:
            insist(lambda: self._delete_intent(journal, pseudonym), self._clock, attempts=LONG_PATIENCE)
        elif outcome != UNCONFIRMED:
            plan.outcomes[pseudonym] = outcome
            self._finish(journal, pseudonym, plan)
        return outcome

    def _delete_intent(self, journal: RequestJournal, pseudonym: str) -> None:
        """Delete the intent of a request that was surely not sent, so that a later run may send it."""
        self._governance.delete(versions_at(self._governance, journal.key(pseudonym, Stage.INTENT)))

    def _finish(self, journal: RequestJournal, pseudonym: str, plan: ErasurePlan) -> None:
        """Write the outcome that the plan has into the journal; or else save the plan, for the next run."""
        outcome = {"outcome": plan.outcomes[pseudonym], "at": self._clock.now().isoformat()}
        try:
            journal.finish(pseudonym, outcome)
        except ArchiveError as error:
            insist(lambda: save_plan(plan, self._store), self._clock, attempts=LONG_PATIENCE)
            plan.unwritten = error

    def _ask(self, call_id: str) -> str:
        try:
            self._source.delete_recording(call_id)
        except CallGone:
            return GONE
        except CallNotFound:
            return self._find_why_not_found(call_id)
        except (TooManyRequests, ApiUnauthorized):
            return NOT_SENT
        except (RequestRefused, UnaddressableCall):
            return REFUSED
        except ApiUnreachable as error:
            return NOT_SENT if error.surely_not_sent else UNCONFIRMED
        except ApiError:
            return UNCONFIRMED
        return DELETED

    def _find_why_not_found(self, call_id: str) -> str:
        """Return the outcome of a request that had no effect: a 404 can mean that deleting is not offered here."""
        try:
            has_recording = self._source.recording(call_id).recording_url is not None
        except (CallNotFound, CallGone):
            return GONE
        except ApiError:
            return NOT_SENT
        return REFUSED if has_recording else GONE
