"""What an operator says of extensions that did not end well: to send one once more, or that it is settled.

`resend`: one new attempt, with an intent of its own and the same Idempotency-Key. `settle`: no request; what was
`unconfirmed` is `extended` from then on, by the operator's word, and what was `refused` stays so and is red no more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..core.errors import ArchiveError
from ..core.redaction import redact
from ..core.statuses import ExtensionStatus
from ..source.plans import days_to_send
from .extension_journal import ExtensionJournal, Row
from .run_context import RunContext


class BadOrder(ArchiveError):
    """What the config of `retention_extensions` asks for cannot be done."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The rows, as they are known, of the decisions that an operator wants sent again or settled."""

    resend: list[Row] = field(default_factory=list)
    settle: list[Row] = field(default_factory=list)


def is_open(row: Row) -> bool:
    """Whether the decision waits for an operator."""
    return row["status"] in (ExtensionStatus.UNCONFIRMED, ExtensionStatus.REFUSED) and row["settled_at"] is None


def read_orders(
    ctx: RunContext,
    journal: ExtensionJournal,
    rows: Collection[Row],
    resend: Sequence[str],
    settle: Sequence[str],
    run_id: str,
) -> Orders:
    """Finds the decisions by their ids, or by their calls'. Raises `BadOrder` for an id that names none to be settled.

    Dagster starts a failed step, or a failed run, again with the same config: what that run, or the run that it
    repeats (`run_id`), has resent or settled already is left alone.
    """
    orders = Orders()
    problems: list[str] = []
    for name, ids, chosen in (("resend", resend, orders.resend), ("settle", settle, orders.settle)):
        for wanted in dict.fromkeys(ids):
            found = [row for row in rows if wanted in (row["decision_id"], row["call_id"])]
            done = [
                row
                for row in found
                if (row["settled_at"] if name == "settle" else journal.was_resent_by(run_id, row["decision_id"]))
            ]
            todo = [row for row in found if is_open(row) and row not in done]
            chosen += [row for row in todo if row not in chosen]
            if not found:
                problems.append(f"{name}: {redact(wanted)} is no decision of the day, nor a call with one")
            elif not todo and not done:
                statuses = " and ".join(sorted({row["status"] for row in found}))
                problems.append(f"{name}: {redact(wanted)} is {statuses}; there is nothing to {name}")
    settled = {row["decision_id"] for row in orders.settle}
    for row in orders.resend:
        if row["decision_id"] in settled:
            problems.append(f"{redact(row['call_id'])} cannot be both resent and settled")
        elif days_to_send(row["requested_days"], ctx.settings.plan, ctx.settings.retention_days) is None:
            problems.append(f"resend: plan {ctx.settings.plan.name} keeps recordings no longer than it does already")
    if problems:
        raise BadOrder(f"Nothing was sent or settled. {'. '.join(dict.fromkeys(problems))}.")
    return orders


def what_to_do(rows: Collection[Row], day: object) -> list[str]:
    """Sentences for the operator about the decisions that wait for one."""
    waiting = [row for row in rows if is_open(row)]
    unconfirmed = sum(row["status"] == ExtensionStatus.UNCONFIRMED for row in waiting)
    sentences = []
    if unconfirmed:
        sentences.append(
            f"{unconfirmed} extensions are unconfirmed: upstream may or may not have acted, and none is sent again by "
            "itself. Open their calls in the KrosAI dashboard and see until when the recordings are kept. Those that "
            "are kept long enough, settle; those that are not, resend."
        )
    if len(waiting) > unconfirmed:
        words = sorted({str(row["reason"]) for row in waiting if row["status"] == ExtensionStatus.REFUSED})
        sentences.append(
            f"{len(waiting) - unconfirmed} extensions were refused: {'; '.join(words[:3])}. Mend the cause and resend "
            "them, or extend them in the KrosAI dashboard, or accept it; then settle them."
        )
    if sentences:
        sentences.append(
            f"How: launch retention_extensions alone for {day}, with the run config "
            '{ops: {retention_extensions: {config: {settle: ["call id"], resend: ["call id"]}}}}.'
        )
    return sentences
