"""Finds the calls that an erasure request selects, and makes the erasure plan."""

from collections.abc import Callable, Collection, Iterable
from datetime import date

from ..archive.governance import Governance, versions_at
from ..archive.object_store import ObjectStore
from ..archive.tombstones import Tombstones
from ..archive.unparsed_rows import UnparsedRows
from ..core import schemas
from ..core.object_keys import MOVED, TOMBSTONES, audio_key, call_key, call_key_in, day_in, erasure_plan_key
from ..core.redaction import redact
from ..core.row_identity import id_of_row, id_with_parts
from ..core.wanted_number import Found, WantedNumber
from .erasure_request import Candidate, ErasurePlan, ErasureRefused, ErasureRequest
from .every_day import EveryDay
from .number_search import Match, find_in_calls, find_in_unparsed_rows
from .residue_search import ResidueSearch
from .search_parts import cut_outside_days

_SAMPLE_SIZE = 5
_MAX_NAMED_DAYS = 10


def make_plan(
    request: ErasureRequest,
    *,
    run_id: str,
    store: ObjectStore,
    governance: Governance,
    every_day: EveryDay,
    tombstones: Tombstones,
    unparsed_rows: UnparsedRows,
    wanted: WantedNumber | None,
) -> ErasurePlan:
    """Find the calls of a request in the whole archive. `wanted` is its number.

    Raises `ErasureRefused`: for ids that are in no table, row in `state/unparsed/`, tombstone, marker in `state/moved/`
    or listing, for a reason that names somebody, for calls whose recording is under legal hold, and for a bucket with a
    default retention.
    """
    request.check()
    plan = ErasurePlan(
        delete_upstream=request.delete_upstream,
        reason=redact(request.reason.strip()),
        key=erasure_plan_key(run_id),
        full_search=request.full_search,
    )
    call_ids = frozenset(request.call_ids)
    if wanted is not None:
        _add_by_number(plan, wanted, frozenset(request.candidates), every_day, tombstones, unparsed_rows)
        plan.number = tombstones.pseudonym(wanted.name)
        if request.stop_number:
            plan.stopped_number = plan.number
    else:
        for day, call_id in every_day.find_calls(call_ids):
            plan.add(day, call_id)
    _add_unparsed_by_id(plan, call_ids | plan.call_ids, tombstones, unparsed_rows)
    _add_erased(plan, call_ids | plan.call_ids | set(request.candidates), store, tombstones)
    add_other_days(plan, call_ids | plan.call_ids, store, every_day)
    _refuse_unknown(
        plan, "call_ids", "in this archive", call_ids, lambda: find_days_without_calls(governance, every_day)
    )
    candidates = [name for name in request.candidates if not tombstones.is_row_erased(name)]
    _refuse_unknown(plan, "candidates", "near matches of the number, and were not erased before", candidates)
    if ResidueSearch(plan.call_ids, wanted).is_named_in(request.reason):
        raise ErasureRefused("The reason names a call or the number; it stays in the audit log, and must name nobody.")
    if governance.has_default_retention():
        raise ErasureRefused(
            f"The bucket {store.bucket} has a default retention: S3 deletes nothing before it ends. Remove it from the "
            "bucket; objects that it protects already can be erased once their time is over."
        )
    held = find_held_calls(plan, governance)
    if held:
        raise ErasureRefused(
            f"{len(held)} of the calls are under legal hold. Nothing was touched. Lift it in S3 first, if the law "
            f"allows, and launch again. They are: {_sample(held)}."
        )
    return plan


def add_other_days(plan: ErasurePlan, call_ids: Collection[str], store: ObjectStore, every_day: EveryDay) -> None:
    """Add days that have something of these calls, and maybe no row.

    These are the days that had a call before an earlier day kept it, whose object may still be there, and those whose
    listing names a call.
    """
    if not call_ids:
        return
    by_key = {call_key(call_id): call_id for call_id in call_ids}
    for entry in store.list(MOVED):
        moved_from, moved_id = day_in(entry.key), by_key.get(call_key_in(entry.key) or "")
        if moved_from is not None and moved_id is not None:
            plan.add(moved_from, moved_id)
    for day, call_id in every_day.find_listed(call_ids):
        plan.add(day, call_id)


def find_days_without_calls(governance: Governance, every_day: EveryDay) -> list[date]:
    """Return the days of which the bucket has something, and no present table `calls`: no call is found there."""
    return every_day.without_calls(cut_outside_days(governance).days)


def _describe_days_without_calls(days: list[date]) -> str:
    if not days:
        return ""
    named = ", ".join(map(str, days[-_MAX_NAMED_DAYS:]))
    more = f" and {len(days) - _MAX_NAMED_DAYS} before them" if len(days) > _MAX_NAMED_DAYS else ""
    return (
        f" These days have objects, and no table calls to look in: {named}{more}. "
        "If the table was deleted, or is hidden by a delete marker, restore it and launch again."
    )


def describe_nothing_found(plan: ErasurePlan, days_without_calls: list[date]) -> str:
    """Return why an erasure by number that has found no call is refused."""
    if plan.candidates:
        return (
            f"No call of this archive is from or to that number for sure, and {len(plan.candidates)} may be. Nothing "
            "was touched. Launch with dry_run: true to see them, and name those that are meant in candidates."
        )
    return (
        "No call of this archive is from or to that number. Write it as the tables do, like +4915112345678; if its "
        "calls were erased before, there is nothing more to do." + _describe_days_without_calls(days_without_calls)
    )


def find_held_calls(plan: ErasurePlan, governance: Governance) -> list[str]:
    """Return the calls whose recording is under legal hold, in any version."""
    if not governance.has_object_lock():
        return []
    return [
        call_id
        for day, ids in plan.calls.items()
        for call_id in sorted(ids)
        if any(map(governance.has_legal_hold, versions_at(governance, audio_key(day, call_id))))
    ]


def _sample(call_ids: list[str]) -> str:
    more = ["…"] if len(call_ids) > _SAMPLE_SIZE else []
    return ", ".join([*map(call_key, call_ids[:_SAMPLE_SIZE]), *more])


def _refuse_unknown(
    plan: ErasurePlan,
    field: str,
    where: str,
    names: Collection[str],
    find_days: Callable[[], list[date]] = list,
) -> None:
    unknown = sorted(set(names) - plan.call_ids - plan.unparsed_keys)
    if unknown:
        raise ErasureRefused(
            f"{len(unknown)} of {field} are not {where}. Nothing was touched. They are: {_sample(unknown)}."
            + _describe_days_without_calls(find_days())
        )


def _add_by_number(
    plan: ErasurePlan,
    wanted: WantedNumber,
    named: Collection[str],
    every_day: EveryDay,
    tombstones: Tombstones,
    unparsed_rows: UnparsedRows,
) -> None:
    """Add the calls and unparsed rows of a number, and those near matches that the operator has named."""
    of_days = every_day.read(schemas.CALLS, lambda day, calls: find_in_calls(wanted, day, calls))
    matches = [match for _, found in of_days for match in found]
    for match in matches:
        if match.found.is_same or match.name in named:
            plan.add(match.day, match.call_id or "")
    of_rows = list(find_in_unparsed_rows(wanted, unparsed_rows))
    for match in of_rows:
        if match.found.is_same or {match.name, match.call_id} & {*named, *plan.call_ids}:
            _add_unparsed_call(plan, match, wanted if match.found.is_same else None, tombstones, unparsed_rows)
    taken = plan.call_ids | plan.unparsed_keys
    plan.candidates = [
        Candidate(match.name, match.day, match.found.reason) for match in matches + of_rows if match.name not in taken
    ]


def _add_unparsed_row(
    plan: ErasurePlan, match: Match, wanted: WantedNumber | None, tombstones: Tombstones, unparsed_rows: UnparsedRows
) -> None:
    """Add an unparsed row, and not its call: without an id it is known again by the wanted number or its own."""
    plan.unparsed_keys.add(match.name)
    names = unparsed_rows.names_of(match.name, match.row, wanted.name if wanted is not None else None)
    plan.row_pseudonyms |= {tombstones.pseudonym(name) for name in names}


def _add_unparsed_call(
    plan: ErasurePlan, match: Match, wanted: WantedNumber | None, tombstones: Tombstones, unparsed_rows: UnparsedRows
) -> None:
    """Add an unparsed row and the call whose row it is: it is known again by its id."""
    _add_unparsed_row(plan, match, wanted, tombstones, unparsed_rows)
    if match.call_id is not None:
        plan.add(match.day, match.call_id)


def add_unparsed(
    plan: ErasurePlan, wanted: WantedNumber | None, tombstones: Tombstones, unparsed_rows: UnparsedRows
) -> None:
    """Add the unparsed rows that have, or name, one of the plan's calls, and those from or to the number."""
    _add_unparsed_by_id(plan, plan.call_ids, tombstones, unparsed_rows)
    for match in find_in_unparsed_rows(wanted, unparsed_rows) if wanted is not None else ():
        if match.found.is_same:
            _add_unparsed_call(plan, match, wanted, tombstones, unparsed_rows)


def _add_unparsed_by_id(
    plan: ErasurePlan, call_ids: Collection[str], tombstones: Tombstones, unparsed_rows: UnparsedRows
) -> None:
    """Add the unparsed rows of these calls, and those that name one: of another call the row only, not the call."""
    search = ResidueSearch(call_ids, None)
    for key, row in unparsed_rows.rows():
        day, call_id = day_in(key), id_of_row(row)
        if day is None:
            continue
        if call_id in call_ids or search.is_in_value(id_with_parts(row)):
            match = Match(day, call_id, Found(True, "it has a call's id"), key, row)
            _add_unparsed_call(plan, match, None, tombstones, unparsed_rows)
        elif search.is_in_value(row):
            match = Match(day, call_id, Found(True, "it names a call"), key, row)
            _add_unparsed_row(plan, match, None, tombstones, unparsed_rows)


def _add_erased(plan: ErasurePlan, call_ids: Iterable[str], store: ObjectStore, tombstones: Tombstones) -> None:
    """Add calls that were erased before, under every day of theirs: what came back, or was left, is erased again."""
    by_pseudonym = {tombstones.pseudonym(call_key(call_id)): call_id for call_id in call_ids}
    for entry in store.list(TOMBSTONES) if by_pseudonym else ():
        day, call_id = day_in(entry.key), by_pseudonym.get(entry.key.rsplit("/", 1)[1].removesuffix(".json"))
        if day is not None and call_id is not None:
            plan.add(day, call_id)
