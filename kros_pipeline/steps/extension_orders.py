"""What an operator orders for extensions that did not end well: to resend one, or to settle it.

`resend` makes one new attempt, with an intent of its own and the same Idempotency-Key. `settle` sends nothing: what was
`unconfirmed` becomes `extended`, because the operator says so; what was `refused` stays refused, and its check is
green again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ..archive.parquet import Row
from ..core.errors import ArchiveError
from ..core.redaction import redact
from ..core.statuses import OPEN_EXTENSIONS, ExtensionStatus
from ..source.call_source import CallSource
from .extension_journal import ExtensionJournal


class BadOrder(ArchiveError):
    """The config of `retention_extensions` asks for something that cannot be done."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The known rows of the decisions that an operator wants resent or settled."""

    resend: list[Row] = field(default_factory=list)
    settle: list[Row] = field(default_factory=list)


def is_open(row: Row) -> bool:
    """Return whether the decision waits for an operator."""
    return row["status"] in OPEN_EXTENSIONS and row["settled_at"] is None


def read_orders(
    source: CallSource,
    journal: ExtensionJournal,
    known: Iterable[Row],
    *,
    resend: Sequence[str],
    settle: Sequence[str],
    run_id: str,
) -> Orders:
    """Find the ordered decisions by their ids, or by their calls' ids. Raises `BadOrder`, which names every bad id.

    Dagster starts a failed step, or a failed run, again with the same config: what the run `run_id`, or the run that
    it repeats, has resent or settled already is left out.
    """
    orders, all_named = Orders(), {*resend, *settle}
    by_name: dict[str, list[Row]] = {}
    for row in known if all_named else ():
        for name in all_named.intersection((row["decision_id"], row["call_id"])):
            by_name.setdefault(name, []).append(row)
    problems: list[str] = []
    for order, ids, chosen in (("resend", resend, orders.resend), ("settle", settle, orders.settle)):
        chosen_ids: set[str] = set()
        for named in dict.fromkeys(ids):
            found = by_name.get(named, [])
            done_ids = {
                row["decision_id"]
                for row in found
                if (row["settled_at"] if order == "settle" else journal.was_resent_by(run_id, row["decision_id"]))
            }
            to_do = [
                row
                for row in found
                if (is_open(row) or (order == "resend" and row["status"] == ExtensionStatus.NOT_ALLOWED))
                and row["decision_id"] not in done_ids
            ]
            chosen += [row for row in to_do if row["decision_id"] not in chosen_ids]
            chosen_ids.update(row["decision_id"] for row in to_do)
            if not found:
                problems.append(f"{order}: {redact(named)} is no decision of the day, nor a call with one")
            elif not to_do and not done_ids:
                statuses = " and ".join(sorted({row["status"] for row in found}))
                problems.append(f"{order}: {redact(named)} is {statuses}; there is nothing to {order}")
    settled = {row["decision_id"] for row in orders.settle}
    for row in orders.resend:
        if row["decision_id"] in settled:
            problems.append(f"{redact(row['call_id'])} cannot be both resent and settled")
        elif source.allowed_extension_days(row["requested_days"]) is None:
            problems.append(f"resend: plan {source.plan_name} keeps recordings no longer than it does already")
    if problems:
        raise BadOrder(f"Nothing was sent or settled. {'. '.join(dict.fromkeys(problems))}.")
    return orders


def describe_open_decisions(reasons: Mapping[str, Counter[str]], day: date) -> list[str]:
    """Return sentences that tell the operator which decisions wait, and what to do about them.

    `reasons` counts the decisions that wait, by their status and by why they do.
    """
    unconfirmed, refused = reasons[ExtensionStatus.UNCONFIRMED], reasons[ExtensionStatus.REFUSED]
    sentences = []
    if unconfirmed:
        sentences.append(
            f"{unconfirmed.total()} extensions are unconfirmed: upstream may or may not have acted, and they are not "
            "sent again automatically. Open their calls in the KrosAI dashboard and check until when the recordings "
            "are kept. Settle those that are kept long enough, and resend the others."
        )
    if refused:
        sentences.append(
            f"{refused.total()} extensions were refused: {'; '.join(sorted(refused)[:3])}. Mend the cause and "
            "resend them, or extend them in the KrosAI dashboard, or accept it; then settle them."
        )
    if sentences:
        sentences.append(
            f"How: launch retention_extensions and reconciliation for {day}, with the run config "
            '{ops: {retention_extensions: {config: {settle: ["call id"], resend: ["call id"]}}}}.'
        )
    return sentences
