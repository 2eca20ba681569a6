"""Erasure: a call is forgotten wherever this archive reaches, and that it is forgotten is proved.

First a tombstone, so that no run at work brings the call back; then every version of everything that is the call's or
names it; then upstream, if that is asked; last a search of the whole archive, which must find nothing. A plan, written
before anything is touched and deleted last, lets a further run finish what a killed one began.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from ..archive.audit_log import AuditEvent
from ..archive.request_journal import RequestJournal, Stage
from ..archive.tombstones import MAX_AGE_SECONDS
from ..core.errors import (
    ApiError,
    ApiUnauthorized,
    ApiUnreachable,
    ArchiveError,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
)
from ..core.object_keys import call_key, upstream_deletions_prefix
from ..steps.run_context import RunContext, audit_log
from .day_eraser import DayEraser
from .erasure_plan import (
    ErasurePlan,
    ErasureRefused,
    ErasureRequest,
    forget_plan,
    held_calls,
    make_plan,
    plans_left,
    save_plan,
)
from .residue_search import ResidueSearch

# What a run at work had begun to put before it could know of the tombstone, is there by then and is found.
_SETTLE_SECONDS = 5 * MAX_AGE_SECONDS
_PASSES = 5


class ErasureUnfinished(ArchiveError):
    """Something is left. Launched again, the erasure goes on."""


@dataclass
class Erasure:
    """What was done, or in a dry run would be: counts, and what could not be settled."""

    calls: int = 0
    days: list[date] = field(default_factory=list)
    versions_deleted: int = 0
    upstream: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)


def erase_calls(
    ctx: RunContext, request: ErasureRequest, *, dry_run: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Erasure:
    """Erases what the request means, and what killed runs left; safe to launch again, at any time.

    Raises `ErasureRefused` before anything is touched, and `ErasureUnfinished` where something is left. In a dry run
    `versions_deleted` counts the objects that are the calls' own, and nothing is touched.
    """
    ctx.identity.check()
    ctx.tombstones.check_key()
    ctx.tombstones.pseudonym("")  # refuses at once where there is no key
    plan, left = make_plan(ctx, request), plans_left(ctx)
    if not plan.days and not left:
        raise ErasureRefused(
            "No call of this archive is from or to that number. Write it as the tables do, like +4915112345678; if its "
            "calls were erased before, there is nothing more to do."
        )
    found = Erasure(calls=len(plan.call_ids), days=plan.days)
    if dry_run:
        found.versions_deleted = sum(len(day.owned()) for day in _days(ctx, plan))
        found.traces = ResidueSearch(plan.call_ids, request.phone_number).find(ctx)
        return found
    ctx.tombstones.claim_key()
    for one in left:
        if held_calls(ctx, one):
            found.problems.append("an earlier erasure waits for a legal hold to be lifted")
        else:
            found.calls, found.days = len(plan.call_ids | one.call_ids), sorted({*found.days, *one.days})
            _carry_out(ctx, one, ResidueSearch(one.call_ids, None), found, sleep)
    if plan.days:
        save_plan(ctx, plan)
        _carry_out(ctx, plan, ResidueSearch(plan.call_ids, request.phone_number), found, sleep)
    return found


def _days(ctx: RunContext, plan: ErasurePlan) -> list[DayEraser]:
    return [DayEraser(ctx, day, plan.calls.get(day, set()), plan.unparsed_keys) for day in plan.days]


def _carry_out(
    ctx: RunContext, plan: ErasurePlan, traces: ResidueSearch, found: Erasure, sleep: Callable[[float], None]
) -> None:
    for day, ids in plan.calls.items():
        for call_id in sorted(ids):
            ctx.tombstones.add_call(day, call_id)
    for key in plan.unparsed_keys:
        ctx.tombstones.add_unparsed_row(key)
    began = time.monotonic()
    _account(ctx, plan)
    days = _days(ctx, plan)
    for _ in range(_PASSES):
        found.versions_deleted += sum(day.erase() for day in days)
        sleep(max(0.0, _SETTLE_SECONDS - (time.monotonic() - began)))
        # The whole archive is searched once the calls' own days hold nothing: it may be a thousand times as large.
        found.traces = traces.find(ctx, [prefix for day in days for prefix in day.prefixes]) or traces.find(ctx)
        if not found.traces:
            break
    else:
        raise ErasureUnfinished(
            f"{len(found.traces)} objects still hold something: {', '.join(found.traces[:3])}. What no step of this "
            "pipeline wrote has to be deleted by hand."
        )
    if plan.delete_upstream:
        _delete_upstream(ctx, plan, found)
        if found.upstream.get(_NOT_SENT):
            raise ErasureUnfinished(f"The archive holds nothing more, and {'; '.join(found.problems[:3])}")
    forget_plan(ctx, plan)


def _account(ctx: RunContext, plan: ErasurePlan) -> None:
    for day, ids in plan.calls.items():
        audit = audit_log(ctx, day, "erase")
        for call_id in sorted(ids):
            audit.record(AuditEvent.ERASED, call_id, reason=plan.reason)
        audit.write()


_DELETED, _GONE, _REFUSED, _UNCONFIRMED, _NOT_SENT = "deleted", "was gone", "refused", "unconfirmed", "not sent"
_WHAT_TO_DO = {
    _REFUSED: "upstream refuses to delete its recording: look in the KrosAI dashboard",
    _UNCONFIRMED: "nobody knows whether upstream deleted its recording, and it is asked once: look in the dashboard",
    _NOT_SENT: "upstream could not be asked to delete its recording: launch the job again",
}


def _delete_upstream(ctx: RunContext, plan: ErasurePlan, found: Erasure) -> None:
    """One request a call, with an intent before it and an outcome after: it is never sent again in doubt."""
    for day, ids in plan.calls.items():
        for call_id in sorted(ids):
            outcome = _delete_one(ctx, day, call_id)
            found.upstream[outcome] = found.upstream.get(outcome, 0) + 1
            if outcome in _WHAT_TO_DO:
                name = ctx.tombstones.pseudonym(call_key(call_id))[:12]
                found.problems.append(f"erased call {name}: {_WHAT_TO_DO[outcome]}")


def _delete_one(ctx: RunContext, day: date, call_id: str) -> str:
    """The outcome. Upstream's words are not kept: they may name the call."""
    pseudonym = ctx.tombstones.pseudonym(call_key(call_id))
    journal = RequestJournal(ctx.store, upstream_deletions_prefix(day))
    known = journal.read(pseudonym, Stage.OUTCOME)
    if known is not None:
        return str(known["outcome"])
    if not journal.begin(pseudonym, {"sent_at": ctx.now().isoformat()}):
        return _UNCONFIRMED
    outcome = _ask_upstream(ctx, call_id)
    if outcome == _NOT_SENT:  # so that it may be sent again
        intent = journal.key(pseudonym, Stage.INTENT)
        ctx.governance.delete([version for version in ctx.governance.versions(intent) if version.key == intent])
    elif outcome != _UNCONFIRMED:
        journal.finish(pseudonym, {"outcome": outcome, "at": ctx.now().isoformat()})
    return outcome


def _ask_upstream(ctx: RunContext, call_id: str) -> str:
    try:
        ctx.api.delete_recording(call_id)
    except (CallNotFound, CallGone):
        return _GONE
    except (TooManyRequests, ApiUnauthorized):
        return _NOT_SENT
    except RequestRefused:
        return _REFUSED
    except ApiUnreachable as error:
        return _NOT_SENT if error.surely_not_sent else _UNCONFIRMED
    except ApiError:
        return _UNCONFIRMED
    return _DELETED
