"""Erasure: removes calls from everything that this archive reaches, and proves that nothing is left.

The order of writes makes it safe to kill at any point:

1. Store the erasure plan, so that a further run can finish the erasure.
2. Write tombstones, so that no run under way writes the calls again.
3. Delete every version of everything that belongs to the calls or names them, until a residue search of the whole
   archive finds nothing.
4. Ask upstream to delete the recordings, if the request says so.
5. Delete the plan.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.capabilities import require_erasure_capabilities
from ..archive.governance import Governance
from ..archive.identity import ArchiveIdentity
from ..archive.migration import migrate_archive
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import MAX_AGE_SECONDS, Tombstones
from ..core.clock import Clock
from ..core.errors import ArchiveError
from ..core.object_keys import DECISIONS
from ..steps.independent_counters import read_counters
from ..steps.legal_holds import place_legal_holds
from ..steps.reconciliation import has_reconciliation, reconcile_day
from ..steps.run_context import RunContext
from .day_eraser import DayEraser, find_claims
from .erasure_plan import add_other_days, find_held_calls, make_plan
from .erasure_request import (
    ErasurePlan,
    ErasureRefused,
    ErasureRequest,
    delete_plan,
    read_unfinished_plans,
    save_plan,
)
from .residue_search import ResidueSearch
from .upstream_deletion import NOT_SENT, UpstreamDeletion

# Another run may have begun a PUT before it could see the tombstone: after this time the search finds the object.
_SETTLE_SECONDS = 5 * MAX_AGE_SECONDS
_MAX_PASSES = 5


class ErasureUnfinished(ArchiveError):
    """Something is left. Launched again, the erasure continues."""


@dataclass
class ErasureResult:
    """What was done, or in a dry run would be: counts, and what could not be settled."""

    calls: int = 0
    days: list[date] = field(default_factory=list)
    versions_deleted: int = 0
    upstream: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    residue: list[str] = field(default_factory=list)


class Eraser:
    """Carries out erasure requests on one archive. `reconcile` reconciles a day again, if it has a row."""

    def __init__(
        self,
        *,
        store: ObjectStore,
        governance: Governance,
        tables: Tables,
        tombstones: Tombstones,
        identity: ArchiveIdentity,
        upstream: UpstreamDeletion,
        audit_log: Callable[[date, str], AuditLog],
        reconcile: Callable[[date], None],
        clock: Clock,
        run_id: str,
        threads: int,
    ):
        self._store, self._governance, self._tables = store, governance, tables
        self._tombstones, self._identity, self._upstream = tombstones, identity, upstream
        self._audit_log, self._reconcile, self._clock = audit_log, reconcile, clock
        self._run_id, self._threads = run_id, threads

    def erase(self, request: ErasureRequest, *, dry_run: bool = False) -> ErasureResult:
        """Erase the calls that the request selects, and those that killed runs left; safe to launch again at any time.

        Raises `ErasureRefused` or `UnfitStore` before anything is touched, and `ErasureUnfinished` where something is
        left. In a dry run `versions_deleted` counts the objects that belong to the calls only, and nothing is touched.
        """
        self._identity.check()
        self._tombstones.check_key()
        self._tombstones.pseudonym("")  # raises at once where there is no key
        plan = make_plan(
            request,
            run_id=self._run_id,
            store=self._store,
            governance=self._governance,
            tables=self._tables,
            tombstones=self._tombstones,
            threads=self._threads,
        )
        unfinished = read_unfinished_plans(self._store)
        if not plan.days and not unfinished:
            raise ErasureRefused(
                "No call of this archive is from or to that number. Write it as the tables do, like +4915112345678; if "
                "its calls were erased before, there is nothing more to do."
            )
        result = ErasureResult(calls=len(plan.call_ids), days=plan.days)
        search = ResidueSearch(plan.call_ids, request.phone_number)
        if dry_run:
            result.versions_deleted = sum(len(eraser.find_owned()) for eraser in self._day_erasers(plan))
            result.residue = search.find(self._governance, threads=self._threads)
            return result
        require_erasure_capabilities(self._store, self._governance, self._clock)
        migrate_archive(self._store, self._identity)
        self._tombstones.claim_key()
        for earlier in unfinished:
            add_other_days(earlier, earlier.call_ids, self._store, self._threads)  # since it was made
            if find_held_calls(earlier, self._governance):
                result.problems.append("an earlier erasure waits for a legal hold to be lifted")
            else:
                result.calls = len(plan.call_ids | earlier.call_ids)
                result.days = sorted({*result.days, *earlier.days})
                save_plan(earlier, self._store)
                self._carry_out(earlier, ResidueSearch(earlier.call_ids, None), result)
        if plan.days:
            save_plan(plan, self._store)
            self._carry_out(plan, search, result)
        return result

    def _day_erasers(self, plan: ErasurePlan) -> list[DayEraser]:
        return [
            DayEraser(
                day,
                plan.calls.get(day, set()),
                plan.unparsed_keys,
                store=self._store,
                governance=self._governance,
                tables=self._tables,
                tombstones=self._tombstones,
                reconcile=self._reconcile,
                threads=self._threads,
            )
            for day in plan.days
        ]

    def _carry_out(self, plan: ErasurePlan, search: ResidueSearch, result: ErasureResult) -> None:
        for day, ids in plan.calls.items():
            for call_id in sorted(ids):
                self._tombstones.add_call(day, call_id)
        for key in plan.unparsed_keys:
            self._tombstones.add_unparsed_row(key)
        began_at = self._clock.monotonic()
        self._record(plan)
        erasers = self._day_erasers(plan)
        day_prefixes = [prefix for eraser in erasers for prefix in eraser.prefixes]
        for _ in range(_MAX_PASSES):
            result.versions_deleted += sum(eraser.erase() for eraser in erasers)
            self._clock.sleep(max(0.0, _SETTLE_SECONDS - (self._clock.monotonic() - began_at)))
            # The whole archive, which may be a thousand times as large, is searched once the calls' days hold nothing.
            result.residue = search.find(self._governance, day_prefixes, threads=self._threads) or search.find(
                self._governance, threads=self._threads
            )
            if not result.residue:
                break
            result.versions_deleted += self._delete_claims(result.residue, plan.call_ids)
        else:
            raise ErasureUnfinished(
                f"{len(result.residue)} objects still hold something: {', '.join(result.residue[:3])}. Delete by hand "
                "what no step of this pipeline wrote; otherwise report this as a bug. Then launch the job again."
            )
        if plan.delete_upstream:
            self._upstream.delete_all(plan, result.upstream, result.problems)
            if result.upstream.get(NOT_SENT):
                raise ErasureUnfinished(f"The archive holds nothing more, and {'; '.join(result.problems[:3])}")
            if plan.unwritten is not None:
                raise ErasureUnfinished(
                    f"The archive holds nothing more, and upstream has answered ({_count(result.upstream)}). The "
                    f"answers are kept, and the journal does not take them: {plan.unwritten}. Launch the job again"
                )
        delete_plan(plan, self._governance)

    def _delete_claims(self, residue: list[str], call_ids: set[str]) -> int:
        """Delete the claims of decisions about these calls that no journal has: a run was killed before the intent."""
        keys = {found.split(" ")[0] for found in residue if found.startswith(DECISIONS)}
        claims = [
            claim
            for claim in find_claims(keys, self._governance)
            if json.loads(self._governance.read_version(claim) or b"{}").get("call_id") in call_ids
        ]
        self._governance.delete(claims)
        return len(claims)

    def _record(self, plan: ErasurePlan) -> None:
        for day, ids in plan.calls.items():
            audit = self._audit_log(day, "erase")
            for call_id in sorted(ids):
                audit.record(AuditEvent.ERASED, call_id, reason=plan.reason)
            audit.write()


def _count(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def open_eraser(ctx: RunContext) -> Eraser:
    """Make the eraser of a run's archive. A day that it touches is reconciled again, legal holds included."""
    settings = ctx.settings

    def reconcile(day: date) -> None:
        if not has_reconciliation(ctx.tables, day):
            return
        hold_problems = place_legal_holds(
            day,
            is_wanted=settings.legal_hold,
            store=ctx.store,
            governance=ctx.governance,
            tables=ctx.tables,
            audit=ctx.audit_log(day, "hold"),
            clock=ctx.clock,
            threads=settings.download_workers,
        )
        reconcile_day(
            day,
            store=ctx.store,
            tables=ctx.tables,
            tombstones=ctx.tombstones,
            clock=ctx.clock,
            lookback_days=settings.lookback_days,
            retention_days=settings.source.retention_days,
            counters=read_counters(day, ctx.source, ctx.log),
            hold_problems=hold_problems,
            api_requests=None,  # they are the erasure's, not the day's
        )

    return Eraser(
        store=ctx.store,
        governance=ctx.governance,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        identity=ctx.identity,
        upstream=UpstreamDeletion(
            source=ctx.source,
            store=ctx.store,
            governance=ctx.governance,
            tombstones=ctx.tombstones,
            clock=ctx.clock,
        ),
        audit_log=ctx.audit_log,
        reconcile=reconcile,
        clock=ctx.clock,
        run_id=ctx.run_id,
        threads=settings.download_workers,
    )
