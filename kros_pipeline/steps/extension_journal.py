"""What was about to be sent, and what came of it: create-only objects, one before each request and one after.

The table `retention_extensions` could be made anew from them. An intent without outcome means that nobody knows,
until an operator settles it, which is a third object.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

from ..core import schemas
from ..core.errors import ObjectExists
from ..core.object_keys import extension_key, extensions_prefix
from ..source.call_parsing import parse_time
from .run_context import RunContext

EXTENDED, UNCONFIRMED, REFUSED, NOT_ALLOWED = "extended", "unconfirmed", "refused", "not_allowed"
NOT_SENT = "not_sent"  # an outcome, and never a row: the next run sends it
INTENT, OUTCOME, SETTLED = "intent", "outcome", "settled"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is wanted for one call."""

    call_id: str
    rule_id: str
    requested_days: int

    @property
    def decision_id(self) -> str:
        """The same for the same call, rule and days, in any run."""
        text = "\n".join((self.call_id, self.rule_id, str(self.requested_days)))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def rank(row: Row) -> tuple[int, bool, bool]:
    """Of two rows of one decision, the one of higher rank knows more."""
    return row["attempts"], row["settled_at"] is not None, row["status"] != UNCONFIRMED


class Journal:
    """The intents and outcomes of a day: create-only objects, from which the table could be made anew."""

    def __init__(self, ctx: RunContext, day: date):
        self._ctx, self.day = ctx, day
        self._attempts: dict[str, dict[int, set[str]]] = {}
        prefix = extensions_prefix(day)
        for entry in ctx.store.list(prefix):
            decision_id, _, name = entry.key.removeprefix(prefix).partition("/")
            number, _, what = name.removesuffix(".json").partition("-")
            if number.isdecimal():
                self._attempts.setdefault(decision_id, {}).setdefault(int(number), set()).add(what)

    def decision_ids(self) -> set[str]:
        """Of all that was ever about to be sent for calls of the day."""
        return set(self._attempts)

    def next_attempt(self, decision_id: str) -> int:
        """1 for a decision that was never about to be sent."""
        return max(self._attempts.get(decision_id, {}), default=0) + 1

    def row(self, decision_id: str) -> Row | None:
        """The row that the last attempt left; None where none has surely reached upstream, or may have."""
        attempts = self._attempts[decision_id]
        settled: Row | None = None
        for attempt in sorted(attempts, reverse=True):
            if settled is None and SETTLED in attempts[attempt]:
                settled = self.read(decision_id, attempt, SETTLED)
            intent = self.read(decision_id, attempt, INTENT)
            outcome = self.read(decision_id, attempt, OUTCOME) if OUTCOME in attempts[attempt] else None
            if intent is None or (outcome and outcome["status"] == NOT_SENT):
                continue
            row = self.row_from(decision_id, attempt, intent, outcome) | {"attempts": max(attempts)}
            return _settled(row, settled) if settled else row
        return None

    def was_resent_by(self, run_id: str, decision_id: str) -> bool:
        """Whether the last attempt was ordered in that run, and may have reached upstream."""
        attempts = self._attempts.get(decision_id)
        if not attempts or not run_id:
            return False
        intent = self.read(decision_id, max(attempts), INTENT)
        outcome = self.read(decision_id, max(attempts), OUTCOME) if OUTCOME in attempts[max(attempts)] else None
        was_not_sent = outcome is not None and outcome["status"] == NOT_SENT
        return intent is not None and intent.get("resent_by") == run_id and not was_not_sent

    def settle(self, row: Row, run_id: str) -> Row:
        """Writes down that an operator has settled a decision, in that run; its new row."""
        said = {
            "call_id": row["call_id"],
            "status": EXTENDED if row["status"] == UNCONFIRMED else row["status"],
            "reason": f"settled by an operator; before that {row['status']}: {row['reason']}",
            "settled_at": self._ctx.now().isoformat(),
            "run_id": run_id,
        }
        with suppress(ObjectExists):  # settled is settled
            self.write(row["decision_id"], row["attempts"], SETTLED, said)
        return _settled(row, said)

    def row_from(
        self, decision_id: str, attempt: int, intent: Row, outcome: Row | None, doubt: str = "the run ended in between"
    ) -> Row:
        """A row of the table from what was written down before and after the request."""
        decision = Decision(intent["call_id"], intent["rule_id"], intent["requested_days"])
        row = self.new_row(decision, intent["sent_days"])
        row |= {"decision_id": decision_id, "attempts": attempt, "requested_at": parse_time(intent["requested_at"])}
        if outcome is None:
            return row | {"status": UNCONFIRMED, "reason": f"it may or may not have been done: {doubt}"}
        return row | {
            "status": outcome["status"],
            "reason": outcome["reason"],
            "confirmed_at": parse_time(outcome["confirmed_at"]),
        }

    def new_row(self, decision: Decision, sent_days: int | None) -> Row:
        """A row that says what is wanted, and not yet what came of it."""
        return dict.fromkeys(schemas.RETENTION_EXTENSIONS.column_names) | {
            "call_id": decision.call_id,
            "call_date": self.day,
            "decision_id": decision.decision_id,
            "rule_id": decision.rule_id,
            "requested_days": decision.requested_days,
            "sent_days": sent_days,
            "attempts": 0,
        }

    def write(self, decision_id: str, attempt: int, what: str, content: Row) -> None:
        """Creates an intent or an outcome. Raises `ObjectExists`."""
        self._ctx.store.put_json(extension_key(self.day, decision_id, attempt, what), content, only_if="absent")

    def read(self, decision_id: str, attempt: int, what: str) -> Row | None:
        """An intent or an outcome; None where there is none."""
        return self._ctx.store.read_json(extension_key(self.day, decision_id, attempt, what))


def _settled(row: Row, said: Row) -> Row:
    """A row after an operator's word. What upstream confirmed meanwhile needs none."""
    if row["status"] == EXTENDED:
        return row
    return row | {
        "status": said["status"],
        "reason": said["reason"],
        "settled_at": parse_time(said["settled_at"]),
    }
