"""Whom an erasure concerns: the calls that a request means, found in the archive, written down until they are gone."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from ..archive.archived_days import days_of_table
from ..archive.json_objects import read_json, replace_json
from ..core import schemas
from ..core.errors import ArchiveError
from ..core.object_keys import (
    ERASURES_UNDER_WAY,
    TOMBSTONES,
    UNPARSED,
    audio_key,
    call_key,
    day_in,
    erasure_plan_key,
)
from ..core.redaction import redact
from ..steps.run_context import RunContext
from .residue_search import ResidueSearch, digits_of

_LEAST_DIGITS = 6
_SAMPLE = 5


class ErasureRefused(ArchiveError):
    """The request cannot be carried out as it is; nothing was touched."""


@dataclass(frozen=True)
class ErasureRequest:
    """What an operator asks for: calls by id, or all calls from or to a number."""

    call_ids: tuple[str, ...] = ()
    phone_number: str = field(default="", repr=False)
    reason: str = ""
    delete_upstream: bool = False

    def check(self) -> None:
        """Raises `ErasureRefused` for what cannot be meant."""
        if bool(self.call_ids) == bool(self.phone_number.strip()):
            raise ErasureRefused("erase_calls needs either call_ids or a phone_number.")
        if self.phone_number and len(digits_of(self.phone_number)) < _LEAST_DIGITS:
            raise ErasureRefused(f"The phone_number has fewer than {_LEAST_DIGITS} digits.")
        if not self.reason.strip():
            raise ErasureRefused("erase_calls needs a reason, for the audit; it must name nobody.")


@dataclass
class ErasurePlan:
    """The calls to erase, by day, and rows of the list that could not be read and are of them."""

    calls: dict[date, set[str]] = field(default_factory=dict)
    unparsed_keys: set[str] = field(default_factory=set)
    delete_upstream: bool = False
    reason: str = ""
    key: str = ""
    """Where it is written down."""

    def add(self, day: date, call_id: str) -> None:
        """One more call."""
        self.calls.setdefault(day, set()).add(call_id)

    @property
    def call_ids(self) -> set[str]:
        """Of all days."""
        return {call_id for ids in self.calls.values() for call_id in ids}

    @property
    def days(self) -> list[date]:
        """All days that it touches."""
        return sorted({*self.calls, *(day for key in self.unparsed_keys if (day := day_in(key)) is not None)})

    def to_json(self) -> dict[str, object]:
        """As it is stored while the erasure is under way."""
        return {
            "calls": {day.isoformat(): sorted(ids) for day, ids in self.calls.items()},
            "unparsed_keys": sorted(self.unparsed_keys),
            "delete_upstream": self.delete_upstream,
            "reason": self.reason,
        }


def make_plan(ctx: RunContext, request: ErasureRequest) -> ErasurePlan:
    """Finds the calls of a request in the whole archive.

    Raises `ErasureRefused`: for ids that no table, no row kept in `state/unparsed/` and no tombstone knows, for a
    reason that names somebody, for calls whose recording is under legal hold, and for a bucket that keeps what it has.
    """
    request.check()
    plan = ErasurePlan(
        delete_upstream=request.delete_upstream,
        reason=redact(request.reason.strip()),
        key=erasure_plan_key(ctx.run_id),
    )
    number, wanted = digits_of(request.phone_number), frozenset(request.call_ids)

    def means(call_id: object, numbers: Iterable[object]) -> bool:
        if call_id in wanted:
            return True
        return bool(number) and any(digits_of(text) == number for text in numbers if isinstance(text, str))

    _find_in_tables(ctx, plan, means)
    _find_unparsed(ctx, plan, ResidueSearch(wanted, request.phone_number))
    _find_erased(ctx, plan, wanted - plan.call_ids)
    unknown = sorted(wanted - plan.call_ids)
    if unknown:
        raise ErasureRefused(
            f"{len(unknown)} of call_ids are not in this archive. Nothing was touched. They are: {_some(unknown)}."
        )
    if ResidueSearch(plan.call_ids, request.phone_number).is_named_in(request.reason):
        raise ErasureRefused("The reason names a call or the number; it stays in the account, and must name nobody.")
    if ctx.governance.has_default_retention():
        raise ErasureRefused(
            f"The bucket {ctx.store.bucket} has a default retention: S3 deletes nothing before it ends. Take it away "
            "from the bucket; what it keeps already can be erased once its time is over."
        )
    held = held_calls(ctx, plan)
    if held:
        raise ErasureRefused(
            f"{len(held)} of the calls are under legal hold. Nothing was touched. Lift it in S3 first, if the law "
            f"allows, and launch again. They are: {_some(held)}."
        )
    return plan


def plans_left(ctx: RunContext) -> list[ErasurePlan]:
    """What killed runs left, or others are at: carrying it out a second time does no harm."""
    plans = []
    for entry in list(ctx.store.list(ERASURES_UNDER_WAY)):
        stored = read_json(ctx.store, entry.key)
        if stored is not None:
            calls = {date.fromisoformat(day): set(ids) for day, ids in stored["calls"].items()}
            unparsed, upstream, reason = (stored[name] for name in ("unparsed_keys", "delete_upstream", "reason"))
            plans.append(ErasurePlan(calls, set(unparsed), upstream, reason, entry.key))
    return plans


def save_plan(ctx: RunContext, plan: ErasurePlan) -> None:
    """Writes the plan down, by name: it is deleted, with every version of it, when all is done."""
    replace_json(ctx.store, plan.key, plan.to_json())


def forget_plan(ctx: RunContext, plan: ErasurePlan) -> None:
    """Deletes every version of the plan."""
    ctx.governance.delete([version for version in ctx.governance.versions(plan.key) if version.key == plan.key])


def held_calls(ctx: RunContext, plan: ErasurePlan) -> list[str]:
    """Those whose recording is under legal hold, in any version."""
    if not ctx.governance.has_object_lock():
        return []
    return [
        call_id
        for day, ids in plan.calls.items()
        for call_id in sorted(ids)
        if any(
            ctx.governance.has_legal_hold(version)
            for version in ctx.governance.versions(audio_key(day, call_id))
            if version.key == audio_key(day, call_id)
        )
    ]


def _some(call_ids: list[str]) -> str:
    return ", ".join([*map(call_key, call_ids[:_SAMPLE]), *(["…"] if len(call_ids) > _SAMPLE else [])])


Means = Callable[[object, Iterable[object]], bool]


def _find_in_tables(ctx: RunContext, plan: ErasurePlan, means: Means) -> None:
    days = days_of_table(ctx.store, schemas.CALLS.name)

    def found(day: date) -> list[str]:
        rows = ctx.tables.rows(schemas.CALLS, day, ("call_id", "from_number", "to_number"))
        return [row["call_id"] for row in rows if means(row["call_id"], (row["from_number"], row["to_number"]))]

    with ThreadPoolExecutor(ctx.settings.download_workers, thread_name_prefix="erasure") as pool:
        for day, ids in zip(days, pool.map(found, days), strict=True):
            for call_id in ids:
                plan.add(day, call_id)


def _find_unparsed(ctx: RunContext, plan: ErasurePlan, traces: ResidueSearch) -> None:
    for entry in ctx.store.list(UNPARSED):
        day, body = day_in(entry.key), ctx.store.read(entry.key)
        if day is not None and body is not None and traces.is_in_text(body):
            plan.unparsed_keys.add(entry.key)
            row = json.loads(body)
            if isinstance(row, dict) and isinstance(row.get("id"), str):
                plan.add(day, row["id"])


def _find_erased(ctx: RunContext, plan: ErasurePlan, call_ids: Iterable[str]) -> None:
    """Calls that were erased before are erased again: so what came back, or was left, goes."""
    days = {
        entry.key.rsplit("/", 1)[1].removesuffix(".json"): day_in(entry.key) for entry in ctx.store.list(TOMBSTONES)
    }
    for call_id in call_ids:
        day = days.get(ctx.tombstones.pseudonym(call_key(call_id)))
        if day is not None:
            plan.add(day, call_id)
