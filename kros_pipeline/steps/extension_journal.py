"""The request journal of extensions, by day: decisions, attempts, and what each came to.

The table `retention_extensions` could be rebuilt from it. An intent without an outcome means that nobody knows whether
upstream acted, until an operator settles it: that is a third object.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..archive.object_store import ObjectStore
from ..archive.request_journal import RequestJournal
from ..core import schemas
from ..core.clock import Clock
from ..core.days import parse_time
from ..core.object_keys import extension_key, extensions_prefix
from ..core.statuses import ExtensionStatus

NOT_SENT = "not_sent"  # an outcome, and never a row: the next run sends it
INTENT, OUTCOME, SETTLED = "intent", "outcome", "settled"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule wants for one call."""

    call_id: str
    rule_id: str
    requested_days: int

    @property
    def decision_id(self) -> str:
        """The decision's id: the same for the same call, rule and days, in every run."""
        text = "\n".join((self.call_id, self.rule_id, str(self.requested_days)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def rank(row: Row) -> tuple[int, bool, bool]:
    """Rank two rows of one decision: the one of higher rank knows more."""
    return row["attempts"], row["settled_at"] is not None, row["status"] != ExtensionStatus.UNCONFIRMED


class ExtensionJournal:
    """The journal of one day's decisions, as it was when it was opened. Threads share it."""

    def __init__(self, store: ObjectStore, clock: Clock, day: date):
        self._journal, self._clock, self.day = RequestJournal(store), clock, day
        self._attempts: dict[str, dict[int, set[str]]] = {}
        prefix = extensions_prefix(day)
        for entry in store.list(prefix):
            decision_id, _, name = entry.key.removeprefix(prefix).partition("/")
            number, _, what = name.removesuffix(".json").partition("-")
            if number.isdecimal():
                self._attempts.setdefault(decision_id, {}).setdefault(int(number), set()).add(what)

    def decision_ids(self) -> set[str]:
        """Return the ids of all decisions of which an intent or an outcome was written."""
        return set(self._attempts)

    def next_attempt(self, decision_id: str) -> int:
        """Return the number of the next attempt; 1 for a decision that has none."""
        return max(self._attempts.get(decision_id, {}), default=0) + 1

    def row(self, decision_id: str) -> Row | None:
        """Return the row that the last attempt left; None where no attempt reached upstream, or may have."""
        attempts = self._attempts[decision_id]
        settled: Row | None = None
        for attempt in sorted(attempts, reverse=True):
            if settled is None and SETTLED in attempts[attempt]:
                settled = self._read(decision_id, attempt, SETTLED)
            intent = self._read(decision_id, attempt, INTENT)
            outcome = self._read(decision_id, attempt, OUTCOME) if OUTCOME in attempts[attempt] else None
            if intent is None or (outcome and outcome["status"] == NOT_SENT):
                continue
            row = self.row_from(decision_id, attempt, intent, outcome) | {"attempts": max(attempts)}
            return _settle_row(row, settled) if settled else row
        return None

    def was_resent_by(self, run_id: str, decision_id: str) -> bool:
        """Return whether the last attempt was ordered in that run, and reached upstream, or may have."""
        attempts = self._attempts.get(decision_id)
        if not attempts or not run_id:
            return False
        last = max(attempts)
        intent = self._read(decision_id, last, INTENT)
        outcome = self._read(decision_id, last, OUTCOME) if OUTCOME in attempts[last] else None
        is_unsent = outcome is not None and outcome["status"] == NOT_SENT
        return intent is not None and intent.get("resent_by") == run_id and not is_unsent

    def begin(self, decision_id: str, attempt: int, intent: Row) -> Row | None:
        """Write the intent of an attempt, and return it; None where another run is sending the decision now."""
        return self._journal.begin(extension_key(self.day, decision_id, attempt, INTENT), intent)

    def finish(self, decision_id: str, attempt: int, outcome: Row) -> None:
        """Write the outcome of an attempt."""
        self._journal.finish(extension_key(self.day, decision_id, attempt, OUTCOME), outcome)

    def settle(self, row: Row, run_id: str) -> Row:
        """Record that an operator settled a decision in that run, and return its new row. The first record stays."""
        is_unconfirmed = row["status"] == ExtensionStatus.UNCONFIRMED
        settled = {
            "call_id": row["call_id"],
            "status": ExtensionStatus.EXTENDED if is_unconfirmed else row["status"],
            "reason": f"settled by an operator; before that {row['status']}: {row['reason']}",
            "settled_at": self._clock.now().isoformat(),
            "run_id": run_id,
        }
        self._journal.finish(extension_key(self.day, row["decision_id"], row["attempts"], SETTLED), settled)
        return _settle_row(row, settled)

    def row_from(
        self, decision_id: str, attempt: int, intent: Row, outcome: Row | None, doubt: str = "the run ended in between"
    ) -> Row:
        """Make a row of the table from an intent and its outcome. `doubt` says why there is no outcome."""
        decision = Decision(intent["call_id"], intent["rule_id"], intent["requested_days"])
        row = self.new_row(decision, intent["sent_days"])
        row |= {"decision_id": decision_id, "attempts": attempt, "requested_at": parse_time(intent["requested_at"])}
        if outcome is None:
            reason = f"it may or may not have been done: {doubt}"
            return row | {"status": ExtensionStatus.UNCONFIRMED, "reason": reason}
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

    def _read(self, decision_id: str, attempt: int, what: str) -> Row | None:
        return self._journal.read(extension_key(self.day, decision_id, attempt, what))


def _settle_row(row: Row, settled: Row) -> Row:
    """Return a row as an operator settled it. What upstream confirmed meanwhile stays as it is."""
    if row["status"] == ExtensionStatus.EXTENDED:
        return row
    return row | {
        "status": settled["status"],
        "reason": settled["reason"],
        "settled_at": parse_time(settled["settled_at"]),
    }
