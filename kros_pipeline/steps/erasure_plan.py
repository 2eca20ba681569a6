"""Whom an erasure concerns: the calls that a request means, found in the archive, written down until they are gone."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from ..clients.errors import ArchiveError, plain_words
from ..core import schemas
from ..core.object_keys import (
    ERASURES_UNDER_WAY,
    TOMBSTONES,
    UNPARSED,
    audio_key,
    call_key,
    day_in,
    erasure_plan_key,
    table_prefix,
)
from .traces import digits_of
from .workspace import Workspace

_LEAST_DIGITS = 6
_SAMPLE = 5


class ErasureRefused(ArchiveError):
    """The request cannot be carried out as it is; nothing was touched."""


@dataclass(frozen=True)
class Request:
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
class Plan:
    """The calls to erase, by day, and rows of the list that could not be read and are of them."""

    calls: dict[date, set[str]] = field(default_factory=dict)
    unparsed_keys: set[str] = field(default_factory=set)
    delete_upstream: bool = False
    reason: str = ""
    earlier_keys: set[str] = field(default_factory=set)  # of plans that killed runs left, and that are part of it

    def add(self, day: date, call_id: str) -> None:
        """One more call."""
        self.calls.setdefault(day, set()).add(call_id)

    @property
    def call_ids(self) -> set[str]:
        """Of all days."""
        return {call_id for ids in self.calls.values() for call_id in ids}

    def to_json(self) -> dict[str, object]:
        """As it is stored while the erasure is under way."""
        return {
            "calls": {day.isoformat(): sorted(ids) for day, ids in self.calls.items()},
            "unparsed_keys": sorted(self.unparsed_keys),
            "delete_upstream": self.delete_upstream,
            "reason": self.reason,
        }


def make_plan(work: Workspace, request: Request) -> Plan:
    """Finds the calls of a request in the whole archive, and those of plans that a killed run left.

    Raises `ErasureRefused` with the names of ids that no table, no row kept in `state/unparsed/` and no tombstone
    knows, and of calls whose recording is under legal hold.
    """
    request.check()
    plan = Plan(delete_upstream=request.delete_upstream, reason=plain_words(request.reason.strip()))
    number = digits_of(request.phone_number)
    wanted = frozenset(request.call_ids)

    def means(call_id: object, numbers: Iterable[object]) -> bool:
        return call_id in wanted or bool(
            number and number in {digits_of(text) for text in numbers if isinstance(text, str)}
        )

    _find_in_tables(work, plan, means)
    _find_unparsed(work, plan, means)
    _find_erased(work, plan, wanted - plan.call_ids)
    unknown = sorted(wanted - plan.call_ids)
    if unknown:
        names = ", ".join(plain_words(call_id) for call_id in unknown[:_SAMPLE])
        raise ErasureRefused(f"{len(unknown)} of call_ids are not in this archive: {names}. Nothing was touched.")
    for key, left in _plans_left(work):
        plan.earlier_keys.add(key)
        for day, ids in left.calls.items():
            for call_id in ids:
                plan.add(day, call_id)
        plan.unparsed_keys |= left.unparsed_keys
        plan.delete_upstream = plan.delete_upstream or left.delete_upstream
    _refuse_held(work, plan)
    return plan


def save_plan(work: Workspace, plan: Plan) -> None:
    """Writes the plan down, by name: it is deleted, with every version of it, when all is done."""
    key = erasure_plan_key(work.run_id)
    head = work.store.head(key)
    work.store.put_json(key, plan.to_json(), only_if=head.etag if head else "absent")


def forget_plan(work: Workspace, plan: Plan) -> None:
    """Deletes every version of the plan, and of those that killed runs left and that were part of it."""
    done = plan.earlier_keys | {erasure_plan_key(work.run_id)}
    work.custody.delete([version for version in work.custody.versions(ERASURES_UNDER_WAY) if version.key in done])


def _plans_left(work: Workspace) -> Iterator[tuple[str, Plan]]:
    for entry in list(work.store.list(ERASURES_UNDER_WAY)):
        stored = work.store.read_json(entry.key)
        if stored is not None:
            calls = {date.fromisoformat(day): set(ids) for day, ids in stored["calls"].items()}
            yield entry.key, Plan(calls, set(stored["unparsed_keys"]), stored["delete_upstream"])


Means = Callable[[object, Iterable[object]], bool]


def _find_in_tables(work: Workspace, plan: Plan, means: Means) -> None:
    keys = [entry.key for entry in work.store.list(table_prefix(schemas.CALLS.name))]
    days = sorted({day for key in keys if (day := day_in(key)) is not None})

    def found(day: date) -> list[str]:
        rows = work.tables.rows(schemas.CALLS, day, ("call_id", "from_number", "to_number"))
        return [row["call_id"] for row in rows if means(row["call_id"], (row["from_number"], row["to_number"]))]

    with ThreadPoolExecutor(work.settings.download_workers, thread_name_prefix="erasure") as pool:
        for day, ids in zip(days, pool.map(found, days), strict=True):
            for call_id in ids:
                plan.add(day, call_id)


def _find_unparsed(work: Workspace, plan: Plan, means: Means) -> None:
    for entry in work.store.list(UNPARSED):
        day, body = day_in(entry.key), work.store.read(entry.key)
        if day is None or body is None:
            continue
        row = json.loads(body)
        if isinstance(row, dict) and means(row.get("id"), (row.get("from_number"), row.get("to_number"))):
            plan.unparsed_keys.add(entry.key)
            if isinstance(row.get("id"), str):
                plan.add(day, row["id"])


def _find_erased(work: Workspace, plan: Plan, call_ids: Iterable[str]) -> None:
    """Calls that were erased before are erased again: so what came back, or was left, goes."""
    days = {
        entry.key.rsplit("/", 1)[1].removesuffix(".json"): day_in(entry.key) for entry in work.store.list(TOMBSTONES)
    }
    for call_id in call_ids:
        day = days.get(work.tombstones.pseudonym(call_key(call_id)))
        if day is not None:
            plan.add(day, call_id)


def _refuse_held(work: Workspace, plan: Plan) -> None:
    if not work.custody.can_hold():
        return
    held = [
        call_id
        for day, ids in plan.calls.items()
        for call_id in sorted(ids)
        if any(
            work.custody.is_held(version)
            for version in work.custody.versions(audio_key(day, call_id))
            if version.key == audio_key(day, call_id)
        )
    ]
    if held:
        names = ", ".join(plain_words(call_id) for call_id in held[:_SAMPLE])
        raise ErasureRefused(
            f"{len(held)} calls are under legal hold: {names}. Lift it in S3 first, if the law allows, and launch "
            "again. Nothing was touched."
        )
