"""Erasure: a call is forgotten wherever this archive reaches, and that it is forgotten is proved.

First a tombstone, so that no run at work brings the call back; then every version of everything that is the call's or
names it; then upstream, if that is asked; last a search of the whole archive, which must find nothing. A plan, written
before anything is touched and deleted last, lets a further run finish what a killed one began.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date

from ..clients.errors import (
    ApiError,
    ApiUnreachable,
    ArchiveError,
    BadKey,
    CallGone,
    CallNotFound,
    ObjectExists,
    RequestRefused,
    TooManyRequests,
)
from ..clients.tombstones import MOST_SECONDS_OLD
from ..core.object_keys import call_key, upstream_deletion_key
from .audit import ERASED, AuditLog
from .erase_day import DayWithout
from .erasure_plan import Plan, Request, forget_plan, make_plan, save_plan
from .traces import Traces
from .workspace import Workspace

# What a run at work had begun to put before it could know of the tombstone, is there by then and is found.
_SETTLE_SECONDS = 5 * MOST_SECONDS_OLD
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
    work: Workspace, request: Request, *, dry_run: bool = False, sleep: Callable[[float], None] = time.sleep
) -> Erasure:
    """Erases what the request means, and what a killed run left; safe to launch again, at any time.

    Raises `ErasureRefused` before anything is touched, and `ErasureUnfinished` where something is left. In a dry run
    `versions_deleted` counts the objects that are the calls' own, and nothing is touched.
    """
    work.check_archive()
    work.tombstones.check_key()
    work.tombstones.pseudonym("")  # refuses at once where there is no key
    plan = make_plan(work, request)
    days = {day: DayWithout(work, day, ids, plan.unparsed_keys) for day, ids in sorted(plan.calls.items())}
    found = Erasure(calls=len(plan.call_ids), days=list(days))
    traces = Traces(plan.call_ids, request.phone_number)
    if dry_run:
        found.versions_deleted = sum(len(day.owned()) for day in days.values())
        found.traces = traces.find(work)
        return found
    work.tombstones.claim_key()
    save_plan(work, plan)
    for day, ids in plan.calls.items():
        for call_id in sorted(ids):
            work.tombstones.raise_one(day, call_id, work.now())
    began = time.monotonic()
    _account(work, plan)
    for _ in range(_PASSES):
        found.versions_deleted += sum(day.erase() for day in days.values())
        sleep(max(0.0, _SETTLE_SECONDS - (time.monotonic() - began)))
        found.traces = traces.find(work)
        if not found.traces:
            break
    else:
        raise ErasureUnfinished(f"{len(found.traces)} objects still hold something: {', '.join(found.traces[:3])}")
    if plan.delete_upstream:
        _delete_upstream(work, plan, found)
        if found.upstream.get(_NOT_SENT):
            raise ErasureUnfinished(f"The archive holds nothing more; {'; '.join(found.problems[:3])}")
    forget_plan(work, plan)
    return found


def _account(work: Workspace, plan: Plan) -> None:
    for day, ids in plan.calls.items():
        audit = AuditLog(work, day, "erase")
        for call_id in sorted(ids):
            audit.note(ERASED, call_id, reason=plan.reason)
        audit.write()


def _delete_upstream(work: Workspace, plan: Plan, found: Erasure) -> None:
    """One request a call, with an intent before it and an outcome after: it is never sent again in doubt."""
    for day, ids in plan.calls.items():
        for call_id in sorted(ids):
            outcome, words = _delete_one(work, day, call_id)
            found.upstream[outcome] = found.upstream.get(outcome, 0) + 1
            if outcome not in (_DELETED, _GONE):
                name = work.tombstones.pseudonym(call_key(call_id))[:12]
                found.problems.append(f"upstream, erased call {name}: {outcome} ({words})")


_DELETED, _GONE, _REFUSED, _UNCONFIRMED, _NOT_SENT = "deleted", "was gone", "refused", "unconfirmed", "not sent"


def _delete_one(work: Workspace, day: date, call_id: str) -> tuple[str, str]:
    """The outcome, and words about it."""
    pseudonym = work.tombstones.pseudonym(call_key(call_id))
    intent, done = (upstream_deletion_key(day, pseudonym, what) for what in ("intent", "outcome"))
    told = work.store.read_json(done)
    if told is not None:
        return told["outcome"], told["words"]
    try:
        work.store.put_json(intent, {"sent_at": work.now().isoformat()}, only_if="absent")
    except ObjectExists:
        return _UNCONFIRMED, "asked before, and nobody knows whether it was done: look in the KrosAI dashboard"
    outcome, words = _ask_upstream(work, call_id)
    words = words.replace(call_id, "(the call)")  # upstream's own words may name it
    if outcome == _NOT_SENT:  # so that it may be sent again
        work.custody.delete([version for version in work.custody.versions(intent) if version.key == intent])
    elif outcome != _UNCONFIRMED:
        with suppress(ObjectExists):
            content = {"outcome": outcome, "words": words, "at": work.now().isoformat()}
            work.store.put_json(done, content, only_if="absent")
    return outcome, words


def _ask_upstream(work: Workspace, call_id: str) -> tuple[str, str]:
    try:
        work.api.delete_recording(call_id)
    except (CallNotFound, CallGone):
        return _GONE, "upstream has no such recording"
    except (TooManyRequests, BadKey) as error:
        return _NOT_SENT, f"{error}; launch it again"
    except RequestRefused as error:
        return _REFUSED, str(error)
    except ApiUnreachable as error:
        return (_NOT_SENT, f"{error}; launch it again") if error.surely_not_sent else (_UNCONFIRMED, str(error))
    except ApiError as error:
        return _UNCONFIRMED, str(error)
    return _DELETED, "upstream confirmed it"
