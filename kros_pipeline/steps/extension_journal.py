"""The journal of retention extensions: an intent before each request, its outcome after it, by decision and attempt.

The table `retention_extensions` can be rebuilt from it. An intent without an outcome is `unconfirmed` until an operator
settles it.
"""

import hashlib
from dataclasses import dataclass
from datetime import date

from ..archive.object_store import ObjectStore
from ..archive.parquet import Row
from ..archive.request_journal import RequestJournal, Stage
from ..core import schemas
from ..core.clock import Clock
from ..core.days import parse_time
from ..core.object_keys import extension_request, extensions_prefix
from ..core.statuses import ExtensionStatus

NOT_SENT = "not_sent"  # the status of an outcome, and never of a row: the next run sends the request


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
    """The journal of the calls of one day, as it was when the step began; a step writes each attempt once."""

    def __init__(self, store: ObjectStore, clock: Clock, day: date):
        self.day = day
        self._clock = clock
        self._requests = RequestJournal(store, extensions_prefix(day))
        self._attempts: dict[str, dict[int, set[Stage]]] = {}
        for name, stages in self._requests.stages().items():
            decision_id, _, attempt = name.partition("/")
            if attempt.isdecimal():
                self._attempts.setdefault(decision_id, {})[int(attempt)] = stages

    def decision_ids(self) -> set[str]:
        """Return the ids of all decisions that have an intent."""
        return set(self._attempts)

    def next_attempt(self, decision_id: str) -> int:
        """Return the number of the next attempt; 1 for a decision without an intent."""
        return max(self._attempts.get(decision_id, {}), default=0) + 1

    def begin(self, decision_id: str, attempt: int, intent: Row) -> bool:
        """Write the intent of an attempt. False where another run is sending it now."""
        return self._requests.begin(extension_request(decision_id, attempt), intent)

    def finish(self, decision_id: str, attempt: int, outcome: Row) -> None:
        """Write the outcome of an attempt that this run has begun."""
        self._requests.finish(extension_request(decision_id, attempt), outcome)

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
        self._requests.settle(extension_request(row["decision_id"], row["attempts"]), settled)
        return _with_settlement(row, settled)

    def row(self, decision_id: str) -> Row | None:
        """Return the row that the last attempt left; None where no attempt can have reached upstream."""
        attempts = self._attempts[decision_id]
        settled: Row | None = None
        for attempt in sorted(attempts, reverse=True):
            if settled is None:
                settled = self._read(decision_id, attempt, Stage.SETTLED)
            intent = self._read(decision_id, attempt, Stage.INTENT)
            outcome = self._read(decision_id, attempt, Stage.OUTCOME)
            if intent is None or (outcome and outcome["status"] == NOT_SENT):
                continue
            row = self.row_from(decision_id, attempt, intent, outcome) | {"attempts": max(attempts)}
            return _with_settlement(row, settled) if settled else row
        return None

    def was_resent_by(self, run_id: str, decision_id: str) -> bool:
        """Return whether an operator ordered the last attempt in that run, and it may have reached upstream."""
        attempts = self._attempts.get(decision_id)
        if not attempts or not run_id:
            return False
        intent = self._read(decision_id, max(attempts), Stage.INTENT)
        outcome = self._read(decision_id, max(attempts), Stage.OUTCOME)
        was_not_sent = outcome is not None and outcome["status"] == NOT_SENT
        return intent is not None and intent.get("resent_by") == run_id and not was_not_sent

    def row_from(
        self, decision_id: str, attempt: int, intent: Row, outcome: Row | None, doubt: str = "the run ended in between"
    ) -> Row:
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

    def _read(self, decision_id: str, attempt: int, stage: Stage) -> Row | None:
        """Read one object of an attempt, if it was there when the step began."""
        if stage not in self._attempts[decision_id][attempt]:
            return None
        return self._requests.read(extension_request(decision_id, attempt), stage)


def _with_settlement(row: Row, settled: Row) -> Row:
    """Add to a row what an operator settled. What upstream confirmed meanwhile needs no settlement."""
    if row["status"] == ExtensionStatus.EXTENDED:
        return row
    return row | {
        "status": settled["status"],
        "reason": settled["reason"],
        "settled_at": parse_time(settled["settled_at"]),
    }
