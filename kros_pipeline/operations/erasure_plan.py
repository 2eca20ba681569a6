"""Finds the calls that an erasure request selects, and makes the erasure plan."""

import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from ..archive.archived_days import days_of_table
from ..archive.governance import Governance, versions_at
from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.id_digests import digest_id
from ..core.listing import digests_in
from ..core.object_keys import (
    LISTINGS,
    MOVED,
    TOMBSTONES,
    UNPARSED,
    audio_key,
    call_key,
    call_key_in,
    day_in,
    erasure_plan_key,
)
from ..core.redaction import redact
from .erasure_request import ErasurePlan, ErasureRefused, ErasureRequest
from .residue_search import ResidueSearch, digits_of

_SAMPLE_SIZE = 5

IsRequested = Callable[[object, Iterable[object]], bool]
"""Takes a call's id and its two numbers, and returns whether the request selects the call."""


def make_plan(
    request: ErasureRequest,
    *,
    run_id: str,
    store: ObjectStore,
    governance: Governance,
    tables: Tables,
    tombstones: Tombstones,
    threads: int,
) -> ErasurePlan:
    """Find the calls of a request in the whole archive.

    Raises `ErasureRefused`: for ids that are in no table, row in `state/unparsed/`, tombstone, marker in `state/moved/`
    or listing, for a reason that names somebody, for calls whose recording is under legal hold, and for a bucket with a
    default retention.
    """
    request.check()
    plan = ErasurePlan(
        delete_upstream=request.delete_upstream,
        reason=redact(request.reason.strip()),
        key=erasure_plan_key(run_id),
    )
    number, call_ids = digits_of(request.phone_number), frozenset(request.call_ids)

    def is_requested(call_id: object, numbers: Iterable[object]) -> bool:
        if call_id in call_ids:
            return True
        return bool(number) and any(digits_of(text) == number for text in numbers if isinstance(text, str))

    _add_from_tables(plan, is_requested, store, tables, threads)
    _add_unparsed(plan, ResidueSearch(call_ids, request.phone_number), store)
    _add_erased(plan, call_ids | plan.call_ids, store, tombstones)
    add_other_days(plan, call_ids | plan.call_ids, store, threads)
    unknown = sorted(call_ids - plan.call_ids)
    if unknown:
        raise ErasureRefused(
            f"{len(unknown)} of call_ids are not in this archive. Nothing was touched. They are: {_sample(unknown)}."
        )
    if ResidueSearch(plan.call_ids, request.phone_number).is_named_in(request.reason):
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


def add_other_days(plan: ErasurePlan, call_ids: Collection[str], store: ObjectStore, threads: int) -> None:
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
    by_digest = {digest_id(call_id): call_id for call_id in call_ids}
    keys = {day: entry.key for entry in store.list(LISTINGS) if (day := day_in(entry.key)) is not None}

    def find(key: str) -> set[str]:
        return {by_digest[digest] for digest in _digests_in(store.read(key)) & by_digest.keys()}

    with ThreadPoolExecutor(threads, thread_name_prefix="erasure") as pool:
        for day, listed_ids in zip(keys, pool.map(find, keys.values()), strict=True):
            for call_id in listed_ids:
                plan.add(day, call_id)


def _digests_in(listing: bytes | None) -> set[bytes]:
    """Return the digests of the calls that a listing names; none where it cannot be read, which the search reports."""
    try:
        return digests_in(json.loads(listing or b"{}"))
    except ValueError:
        return set()


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


def _add_from_tables(
    plan: ErasurePlan, is_requested: IsRequested, store: ObjectStore, tables: Tables, threads: int
) -> None:
    days = days_of_table(store, schemas.CALLS.name)

    def find(day: date) -> list[str]:
        rows = tables.rows(schemas.CALLS, day, ("call_id", "from_number", "to_number"))
        return [row["call_id"] for row in rows if is_requested(row["call_id"], (row["from_number"], row["to_number"]))]

    with ThreadPoolExecutor(threads, thread_name_prefix="erasure") as pool:
        for day, ids in zip(days, pool.map(find, days), strict=True):
            for call_id in ids:
                plan.add(day, call_id)


def _add_unparsed(plan: ErasurePlan, search: ResidueSearch, store: ObjectStore) -> None:
    for entry in store.list(UNPARSED):
        day, body = day_in(entry.key), store.read(entry.key)
        if day is not None and body is not None and search.is_in_text(body):
            plan.unparsed_keys.add(entry.key)
            row = json.loads(body)
            if isinstance(row, dict) and isinstance(row.get("id"), str):
                plan.add(day, row["id"])


def _add_erased(plan: ErasurePlan, call_ids: Iterable[str], store: ObjectStore, tombstones: Tombstones) -> None:
    """Add calls that were erased before, under every day of theirs: what came back, or was left, is erased again."""
    by_pseudonym = {tombstones.pseudonym(call_key(call_id)): call_id for call_id in call_ids}
    for entry in store.list(TOMBSTONES) if by_pseudonym else ():
        day, call_id = day_in(entry.key), by_pseudonym.get(entry.key.rsplit("/", 1)[1].removesuffix(".json"))
        if day is not None and call_id is not None:
            plan.add(day, call_id)
