"""Sends one extension, with an intent before the request and an outcome after it.

A request whose outcome is unknown is not sent again, unless an operator orders it.
"""

from functools import partial
from typing import Any

from ..archive.compare_and_swap import LONG_PATIENCE, insist
from ..archive.parquet import Row
from ..archive.tombstones import Tombstones
from ..core.clock import Clock
from ..core.errors import (
    ApiError,
    ApiServerError,
    ApiUnauthorized,
    ApiUnreachable,
    ArchiveError,
    CallNotFound,
    TooManyRequests,
)
from ..core.statuses import NOT_SENT, ExtensionStatus
from ..source.call_source import CallSource
from .circuit_breaker import CircuitBreaker
from .extension_journal import Decision, ExtensionJournal
from .extension_offer import ExtensionOffer
from .report import Report


class ExtensionSender:
    """Sends the decisions of one day; threads share it. `run_id` is the run in which an operator asked to resend.

    `sent_ids` has the decisions for which a request was begun.
    """

    def __init__(
        self,
        journal: ExtensionJournal,
        *,
        source: CallSource,
        offer: ExtensionOffer,
        tombstones: Tombstones,
        clock: Clock,
        report: Report,
        run_id: str,
    ):
        self._journal, self._source, self._offer, self._tombstones = journal, source, offer, tombstones
        self._clock, self._report, self._run_id = clock, report, run_id
        self.breaker = CircuitBreaker()
        self.sent_ids: set[str] = set()
        self._unwritten: list[tuple[str, int, dict[str, Any]]] = []

    def send(self, decision: Decision, resent_row: Row | None) -> Row | None:
        """Send one decision and return its row; None where it surely was not carried out, so the next run sends it.

        Nothing is sent where the call had another day before, and the request may have been sent then: the row says
        what that day's journal says. `resent_row` is the row of a decision that an operator wants sent once more. An
        error of the archive trips the breaker: what other threads have sent is saved all the same.
        """
        try:
            return self._send(decision, resent_row)
        except ArchiveError as error:
            self.breaker.trip(error)
            return None
        finally:
            self._journal.forget(decision.decision_id)

    def is_allowed(self, decision: Decision) -> bool:
        """Return whether the plan lets a decision be sent."""
        return self._source.allowed_extension_days(decision.requested_days) is not None

    def make_not_allowed(self, decision: Decision) -> Row:
        """Make the row of a decision that the plan does not allow. Nothing is sent."""
        return self._journal.new_row(decision, None) | {
            "status": ExtensionStatus.NOT_ALLOWED,
            "reason": f"plan {self._source.plan_name} keeps recordings no longer than it does already",
        }

    def _send(self, decision: Decision, resent_row: Row | None) -> Row | None:
        days = self._source.allowed_extension_days(decision.requested_days)
        if days is None:
            return self.make_not_allowed(decision)
        if self.breaker.is_open or self._tombstones.is_erased(decision.call_id):
            return None
        row_of_other_day = self._journal.claim(decision)
        if row_of_other_day is not None and resent_row is None:
            return row_of_other_day
        attempt = self._journal.next_attempt(decision.decision_id)
        if resent_row is not None:
            attempt = max(attempt, resent_row["attempts"] + 1)
        intent = {
            "call_id": decision.call_id,
            "rule_id": decision.rule_id,
            "requested_days": decision.requested_days,
            "sent_days": days,
            "requested_at": self._clock.now().isoformat(),
            "resent_by": self._run_id if resent_row else None,
        }
        if not self._journal.begin(decision.decision_id, attempt, intent):
            return None  # another run is sending it now
        with self._offer.one_by_one():
            outcome = self._ask_unless_refused(decision, days, is_ordered=resent_row is not None)
        if isinstance(outcome, ApiError):
            return self._journal.row_from(decision.decision_id, attempt, intent, None, str(outcome))
        try:
            if self._tombstones.is_erased(decision.call_id, max_age_seconds=0.0):
                return None  # erased during the request: its intent is gone, and its outcome must not be written
            self._journal.finish(decision.decision_id, attempt, outcome)
        except ArchiveError as error:
            self._unwritten.append((decision.decision_id, attempt, outcome))
            self.breaker.trip(error)
        if outcome["status"] == NOT_SENT:
            return None
        return self._journal.row_from(decision.decision_id, attempt, intent, outcome, "")

    @property
    def has_unwritten_outcomes(self) -> bool:
        """Whether the journal lacks an outcome that is known."""
        return bool(self._unwritten)

    def write_outcomes(self) -> None:
        """Write the outcomes that the journal lacks. The table keeps all of them but those of requests not sent."""
        for decision_id, attempt, outcome in self._unwritten:
            attempts = LONG_PATIENCE if outcome["status"] == NOT_SENT else 1
            insist(partial(self._journal.finish, decision_id, attempt, outcome), self._clock, attempts=attempts)
        self._unwritten.clear()

    def _ask_unless_refused(self, decision: Decision, days: int, *, is_ordered: bool) -> dict[str, Any] | ApiError:
        """Send the request, unless extensions are known not to be offered. What an operator orders is sent anyway."""
        try:
            refusal = None if is_ordered else self._offer.refusal()
        except ArchiveError as error:
            self.breaker.trip(error)
            return {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
        if refusal is not None:
            return {"status": ExtensionStatus.REFUSED, "reason": refusal, "confirmed_at": None}
        return self._ask_upstream(decision, days)

    def _ask_upstream(self, decision: Decision, days: int) -> dict[str, Any] | ApiError:
        """Send the request once. Return its outcome, or the error after which nobody knows whether upstream acted."""
        self.sent_ids.add(decision.decision_id)
        try:
            self._source.extend(decision.call_id, days, idempotency_key=decision.decision_id)
        except (TooManyRequests, ApiUnauthorized) as error:
            self.breaker.trip(error)
            return {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
        except (ApiUnreachable, ApiServerError) as error:
            if not getattr(error, "surely_not_sent", False):
                return error
            self._report.add_problem(decision.call_id, str(error))
            return {"status": NOT_SENT, "reason": str(error), "confirmed_at": None}
        except CallNotFound as error:
            reason = self._learn_not_offered(error) if self._has_recording(decision.call_id) else str(error)
            return {"status": ExtensionStatus.REFUSED, "reason": reason, "confirmed_at": None}
        except ApiError as error:
            return {"status": ExtensionStatus.REFUSED, "reason": str(error), "confirmed_at": None}
        try:
            self._offer.on_accepted()
        except ArchiveError as error:  # what upstream accepted is known all the same
            self.breaker.trip(error)
        return {
            "status": ExtensionStatus.EXTENDED,
            "reason": None,
            "confirmed_at": self._clock.now().isoformat(),
        }

    def _learn_not_offered(self, error: CallNotFound) -> str:
        try:
            return self._offer.on_not_offered()
        except ArchiveError as archive_error:
            self.breaker.trip(archive_error)
            return str(error)

    def _has_recording(self, call_id: str) -> bool:
        """Ask upstream whether it has the recording of a call whose extension it answered with 404."""
        try:
            return self._source.recording(call_id).recording_url is not None
        except ApiError:
            return False
