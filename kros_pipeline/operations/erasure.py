"""Erasure: removes calls from everything that this archive reaches, and proves that nothing is left.

The order of writes makes it safe to kill at any point:

1. Store the erasure plan, so that a further run can finish the erasure.
2. Write tombstones, so that no run that looks from now on writes the calls again.
3. Give every table and the listing of the calls' days another version, and create those that are missing: a write that
   began before the tombstones, however long it takes, loses its condition. Delete the reservations of unparsed rows.
4. Delete every version of everything that belongs to the calls or names them, until the proof (`erasure_proof.py`)
   finds nothing.
5. Ask upstream to delete the recordings, if the request says so.
6. Delete the plan.
"""

from collections.abc import Callable
from datetime import date
from functools import partial

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.capabilities import require_erasure_capabilities
from ..archive.governance import Governance, versions_at
from ..archive.identity import ArchiveIdentity
from ..archive.migration import migrate_archive
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..archive.unparsed_rows import UnparsedRows
from ..core.clock import Clock
from ..core.errors import ArchiveError
from ..core.object_keys import NOTIFICATIONS
from ..core.wanted_number import WantedNumber
from ..steps.run_context import RunContext
from .day_eraser import DayEraser, delete_claims
from .erasure_plan import (
    add_other_days,
    add_unparsed,
    describe_nothing_found,
    find_days_without_calls,
    find_held_calls,
    make_plan,
)
from .erasure_proof import NUMBER_UNKNOWN, ErasureProof
from .erasure_reach import describe_unreached
from .erasure_request import (
    ErasurePlan,
    ErasureRefused,
    ErasureRequest,
    ErasureResult,
    delete_plan,
    read_unfinished_plans,
    save_plan,
)
from .every_day import EveryDay
from .touched_days import reconcile_again
from .upstream_deletion import NOT_SENT, UpstreamDeletion

_SETTLE_SECONDS = 10.0
"""The time that an upload of a recording or a review gets to arrive before the search.

No condition can refuse it, because an object that it would meet would have the call's id in its key. The tables do not
rely on this: their writes lose.
"""
_MAX_PASSES = 5


class ErasureUnfinished(ArchiveError):
    """Something is left. Launched again, the erasure continues."""


class Eraser:
    """Carries out erasure requests on one archive. `reconcile` reconciles a day again, if it has a row.

    `default_country` is that of national phone numbers, `retention_days` how long upstream keeps recordings.
    """

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
        default_country: str | None = None,
        retention_days: int | None = None,
    ):
        self._store, self._governance, self._tables = store, governance, tables
        self._country, self._retention_days = default_country, retention_days
        self._every_day = EveryDay(store, tables, threads)
        self._unparsed_rows = UnparsedRows(store, tombstones, default_country)
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
        request.check()
        wanted = WantedNumber(request.phone_number, self._country) if request.phone_number else None
        plan = make_plan(
            request,
            run_id=self._run_id,
            store=self._store,
            governance=self._governance,
            every_day=self._every_day,
            tombstones=self._tombstones,
            unparsed_rows=self._unparsed_rows,
            wanted=wanted,
        )
        unfinished = read_unfinished_plans(self._store)
        result = ErasureResult(calls=len(plan.call_ids), days=plan.days, candidates=plan.candidates)
        result.not_reached = describe_unreached(
            self._store, self._clock.now(), self._retention_days, is_stopped=bool(plan.stopped_number)
        )
        if not (plan.days or plan.stopped_number or unfinished or (dry_run and plan.candidates)):
            unlisted = find_days_without_calls(self._governance, self._every_day)
            raise ErasureRefused(describe_nothing_found(plan, unlisted))
        if dry_run:
            owned = [version for eraser in self._day_erasers(plan) for version in eraser.find_owned()]
            result.versions_deleted, result.owned_keys = len(owned), sorted({version.key for version in owned})
            proof = self._open_proof(plan, wanted)
            result.searched, result.not_reached = proof.describe(), result.not_reached + proof.describe_unsearched()
            result.residue = sorted({*proof.find_of_days(), *proof.find_elsewhere(), *proof.find_everywhere()})
            return result
        require_erasure_capabilities(self._store, self._governance, self._clock)
        migrate_archive(self._store, self._identity)
        self._tombstones.claim_key()
        for earlier in unfinished:
            for day, call_id in list(self._every_day.find_calls(earlier.call_ids)):  # since it was made
                earlier.add(day, call_id)
            add_other_days(earlier, earlier.call_ids, self._store, self._every_day)
            if find_held_calls(earlier, self._governance):
                result.problems.append("an earlier erasure waits for a legal hold to be lifted")
            else:
                result.calls = len(plan.call_ids | earlier.call_ids)
                result.days = sorted({*result.days, *earlier.days})
                save_plan(earlier, self._store)
                is_same = wanted is not None and earlier.number == self._tombstones.pseudonym(wanted.name)
                if earlier.number and not is_same:
                    result.not_reached.append(NUMBER_UNKNOWN)
                proof = self._carry_out(earlier, wanted if is_same else None, result)
                result.searched.append(_describe_earlier(earlier, proof.describe()))
                result.not_reached += [_describe_earlier(earlier, [part]) for part in proof.describe_unsearched()]
                if (earlier.call_ids, earlier.number) == (plan.call_ids, plan.number):
                    plan.searched, plan.searched_for = earlier.searched, earlier.searched_for  # in this launch
        if plan.days or plan.stopped_number:
            save_plan(plan, self._store)
            proof = self._carry_out(plan, wanted, result)
            result.searched = proof.describe() + result.searched
            result.not_reached += proof.describe_unsearched()
        return result

    def _open_proof(self, plan: ErasurePlan, wanted: WantedNumber | None) -> ErasureProof:
        return ErasureProof(
            plan,
            wanted,
            store=self._store,
            governance=self._governance,
            every_day=self._every_day,
            tombstones=self._tombstones,
            clock=self._clock,
            threads=self._threads,
        )

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

    def _carry_out(self, plan: ErasurePlan, wanted: WantedNumber | None, result: ErasureResult) -> ErasureProof:
        """Carry out a plan, add to the result what was done, and return the proof that nothing is left."""
        self._write_tombstones(plan)
        began_at = self._clock.monotonic()
        for key in list(self._unparsed_rows.reservations()):
            self._governance.delete(versions_at(self._governance, key))
        add_unparsed(plan, wanted, self._tombstones, self._unparsed_rows)  # those that came meanwhile
        save_plan(plan, self._store)
        held = find_held_calls(plan, self._governance)
        if held:
            raise ErasureUnfinished(
                f"{len(held)} of the calls came under legal hold, or were found, after the erasure had begun. Nothing "
                "more of them was deleted. Lift the hold in S3, if the law allows, and launch the job again."
            )
        self._write_tombstones(plan)
        proof = self._open_proof(plan, wanted)
        self._record(plan)
        erasers = self._day_erasers(plan)
        for _ in range(_MAX_PASSES):
            result.versions_deleted += sum(eraser.erase() for eraser in erasers)
            self._clock.sleep(max(0.0, _SETTLE_SECONDS - (self._clock.monotonic() - began_at)))
            result.residue = proof.find()
            if not result.residue:
                break
            result.versions_deleted += delete_claims(result.residue, plan.call_ids, self._governance)
            result.versions_deleted += self._delete_notifications(result.residue)
        else:
            raise ErasureUnfinished(
                f"{len(result.residue)} objects still hold something: {', '.join(result.residue[:3])}. Delete by hand "
                "what no step of this pipeline wrote. Restore a day's table calls that was deleted, or is hidden by a "
                "delete marker. Otherwise report this as a bug. Then launch the job again."
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
        return proof

    def _write_tombstones(self, plan: ErasurePlan) -> None:
        if plan.stopped_number:
            self._tombstones.stop_number(plan.stopped_number)
        for day, ids in plan.calls.items():
            for call_id in sorted(ids):
                self._tombstones.add_call(day, call_id)
        for pseudonym in plan.row_pseudonyms:
            self._tombstones.add_row_pseudonym(pseudonym)
        for key in plan.unparsed_keys:
            self._tombstones.add_unparsed_row(key)

    def _delete_notifications(self, residue: list[str]) -> int:
        """Delete the state of notifications, if a reason in it names a call. What is red is notified once more."""
        if not any(found.startswith(NOTIFICATIONS) for found in residue):
            return 0
        versions = versions_at(self._governance, NOTIFICATIONS)
        self._governance.delete(versions)
        return len(versions)

    def _record(self, plan: ErasurePlan) -> None:
        for day, ids in plan.calls.items():
            audit = self._audit_log(day, "erase")
            for call_id in sorted(ids):
                audit.record(AuditEvent.ERASED, call_id, reason=plan.reason)
            audit.write()


def _describe_earlier(plan: ErasurePlan, parts: list[str]) -> str:
    return f"of an earlier erasure ({len(plan.call_ids)} calls) that this launch has finished: {', '.join(parts)}"


def _count(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())


def open_eraser(ctx: RunContext) -> Eraser:
    """Make the eraser of a run's archive. A day that it touches is reconciled again, legal holds included."""
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
        reconcile=partial(reconcile_again, ctx),
        clock=ctx.clock,
        run_id=ctx.run_id,
        threads=ctx.settings.download_workers,
        default_country=ctx.settings.source.default_country,
        retention_days=ctx.settings.source.retention_days,
    )
