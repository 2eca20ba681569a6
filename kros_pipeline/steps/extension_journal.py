"""The journal of retention extensions: an intent before each request, its outcome after it, by decision and attempt.

A decision is journalled under one day, the first that claims it: upstream may move its call to another day. The table
`retention_extensions` can be rebuilt from the journal. An intent without an outcome is `unconfirmed` until an operator
settles it.
"""

import hashlib
from dataclasses import dataclass
from datetime import date

from ..archive.decision_claims import claim_decision, read_claim
from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.request_journal import RequestJournal, Stage
from ..core import schemas
from ..core.clock import Clock
from ..core.days import parse_time
from ..core.object_keys import extensions_prefix
from ..core.statuses import ExtensionStatus
from .decision_attempts import DecisionAttempts, list_attempts

_KILLED = "the run ended in between"


@dataclass(frozen=True, slots=True)
class Decision:
    """Keep one call's recording longer upstream, as one rule wants it."""

    call_id: str
    rule_id: str
    requested_days: int

    @property
    def decision_id(self) -> str:
        """The same for the same call, rule and days, in any run."""
        text = "\n".join((self.call_id, self.rule_id, str(self.requested_days)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def rank(row: Row) -> tuple[int, bool, bool]:
    """Rank a row of a decision: of two rows, the one of higher rank knows more."""
    return row["attempts"], row["settled_at"] is not None, row["status"] != ExtensionStatus.UNCONFIRMED


class ExtensionJournal:
    """The journal as the calls of one day need it, as it was when the step began; a step writes each attempt once.

    Of a decision that another day has claimed, the attempts are read from, and written to, the journal of that day.
    """

    def __init__(self, store: ObjectStore, clock: Clock, day: date):
        self.day = day
        self._store, self._clock = store, clock
        self._of_the_day = list_attempts(RequestJournal(store, extensions_prefix(day), clock))
        self._found: dict[str, DecisionAttempts] = {}
        self._of_other_days: set[str] = set()

    def decision_ids(self) -> set[str]:
        """Return the ids of all decisions that have an attempt in the journal of the day."""
        return set(self._of_the_day)

    def claim(self, decision: Decision) -> Row | None:
        """Claim a decision for the day. Where another day was first, return the row that its journal gives, if any.

        The row is None, too, where no attempt can have reached upstream: then the request is sent, by whichever day
        writes the next intent first.
        """
        decision_id = decision.decision_id
        home = claim_decision(self._store, decision_id, call_id=decision.call_id, day=self.day)
        self._found[decision_id] = self._attempts_at(home, decision_id)
        return self.row(decision_id) if home != self.day else None

    def is_of_other_day(self, decision_id: str) -> bool:
        """Return whether another day's journal has a decision. It sends no request: False if nobody looked it up."""
        return decision_id in self._of_other_days

    def may_know_more(self, row: Row) -> bool:
        """Return whether the journal may know more than an open row of the table. It sends no request.

        It may where the day's journal does not have the decision, or has an attempt, a settlement or an outcome that
        the row does not.
        """
        attempts = self._of_the_day.get(row["decision_id"])
        if attempts is None or max(attempts) != row["attempts"]:
            return True
        if any(Stage.SETTLED in stages for stages in attempts.values()):
            return True
        return row["status"] == ExtensionStatus.UNCONFIRMED and Stage.OUTCOME in attempts[row["attempts"]]

    def forget(self, decision_id: str) -> None:
        """Forget what was read of a decision; it is read again when somebody asks. A day may have a million of them."""
        self._found.pop(decision_id, None)

    def next_attempt(self, decision_id: str) -> int:
        """Return the number of the next attempt; 1 for a decision without an intent."""
        return self._attempts(decision_id).last + 1

    def begin(self, decision_id: str, attempt: int, intent: Row) -> bool:
        """Write the intent of an attempt at a claimed decision. False where another run is sending it now."""
        return self._attempts(decision_id).begin(attempt, intent)

    def finish(self, decision_id: str, attempt: int, outcome: Row) -> None:
        """Write the outcome of an attempt that this run has begun."""
        self._attempts(decision_id).finish(attempt, outcome)

    def write_missing_outcome(self, row: Row) -> None:
        """Write the outcome that a row of the table has and the journal of the day has not."""
        stages = self._of_the_day.get(row["decision_id"], {}).get(row["attempts"])
        if stages == frozenset({Stage.INTENT}) and row["status"] in (ExtensionStatus.EXTENDED, ExtensionStatus.REFUSED):
            at = row["confirmed_at"]
            outcome = {"status": row["status"], "reason": row["reason"], "confirmed_at": at and at.isoformat()}
            self._attempts(row["decision_id"]).finish(row["attempts"], outcome)

    def settle(self, row: Row, run_id: str) -> Row:
        """Write that an operator settles a decision in run `run_id`, and return its new row."""
        is_unconfirmed = row["status"] == ExtensionStatus.UNCONFIRMED
        settled = {
            "call_id": row["call_id"],
            "status": ExtensionStatus.EXTENDED if is_unconfirmed else row["status"],
            "reason": f"settled by an operator; before that {row['status']}: {row['reason']}",
            "settled_at": self._clock.now().isoformat(),
            "run_id": run_id,
        }
        self._attempts(row["decision_id"]).settle(row["attempts"], settled)
        return _with_settlement(row, settled)

    def row(self, decision_id: str) -> Row | None:
        """Return the row that the last attempt left; None where no attempt can have reached upstream."""
        attempts = self._attempts(decision_id)
        found = attempts.effective()
        if found is None:
            return None
        attempt, intent, outcome = found
        doubt = f"it was begun for {attempts.home}, where the call was before" if attempts.home != self.day else _KILLED
        row = self.row_from(decision_id, attempt, intent, outcome, doubt) | {"attempts": attempts.last}
        settled = attempts.settlement(since=attempt)
        return _with_settlement(row, settled) if settled else row

    def was_resent_by(self, run_id: str, decision_id: str) -> bool:
        """Return whether an operator ordered the last attempt in that run, and it may have reached upstream."""
        return bool(run_id) and self._attempts(decision_id).was_resent_by(run_id)

    def row_from(self, decision_id: str, attempt: int, intent: Row, outcome: Row | None, doubt: str) -> Row:
        """Make a row of the table from what was written before and after the request.

        Without an outcome it is `unconfirmed`, for the reason `doubt`.
        """
        decision = Decision(intent["call_id"], intent["rule_id"], intent["requested_days"])
        row = self.new_row(decision, intent["sent_days"])
        row |= {"decision_id": decision_id, "attempts": attempt, "requested_at": parse_time(intent["requested_at"])}
        if outcome is None:
            return row | {
                "status": ExtensionStatus.UNCONFIRMED,
                "reason": f"it may or may not have been done: {doubt}",
            }
        return row | {
            "status": outcome["status"],
            "reason": outcome["reason"],
            "confirmed_at": parse_time(outcome["confirmed_at"]),
        }

    def new_row(self, decision: Decision, sent_days: int | None) -> Row:
        """Make a row that says what is wanted, and not yet what came of it."""
        return dict.fromkeys(schemas.RETENTION_EXTENSIONS.column_names) | {
            "call_id": decision.call_id,
            "call_date": self.day,
            "decision_id": decision.decision_id,
            "rule_id": decision.rule_id,
            "requested_days": decision.requested_days,
            "sent_days": sent_days,
            "attempts": 0,
        }

    def _attempts(self, decision_id: str) -> DecisionAttempts:
        """Return the attempts at a decision, from the journal of the day that has the claim, or else of this day."""
        if decision_id not in self._found:
            home = read_claim(self._store, decision_id) or self.day
            self._found[decision_id] = self._attempts_at(home, decision_id)
        return self._found[decision_id]

    def _attempts_at(self, home: date, decision_id: str) -> DecisionAttempts:
        if home != self.day:
            self._of_other_days.add(decision_id)
        journal = RequestJournal(self._store, extensions_prefix(home), self._clock)
        listed = self._of_the_day if home == self.day else list_attempts(journal, decision_id)
        return DecisionAttempts(journal, home, decision_id, listed.get(decision_id, {}))


def _with_settlement(row: Row, settled: Row) -> Row:
    """Add to a row what an operator settled. What upstream confirmed meanwhile needs no settlement."""
    if row["status"] == ExtensionStatus.EXTENDED:
        return row
    return row | {
        "status": settled["status"],
        "reason": settled["reason"],
        "settled_at": parse_time(settled["settled_at"]),
    }
