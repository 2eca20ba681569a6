"""The erasure request of an operator, the erasure plan that is made of it and stored, and the result."""

import json
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO

from ..archive.compare_and_swap import compare_and_swap
from ..archive.governance import Governance, versions_at
from ..archive.json_objects import put_json, read_json, replace_json
from ..archive.object_store import ObjectStore, Replace
from ..core.errors import ArchiveError
from ..core.object_keys import ERASURES_UNDER_WAY, day_in
from ..core.phone_numbers import digits_of

_MIN_DIGITS = 6


class ErasureRefused(ArchiveError):
    """The request cannot be carried out as it is. Nothing was touched."""


@dataclass(frozen=True)
class ErasureRequest:
    """Calls to erase: by id, or all calls from or to a number.

    `candidates` are those calls and unparsed rows, among the near matches of the number, that the operator names. With
    `stop_number` later calls of the number are not archived. With `full_search` the proof reads every version of every
    object of the archive.
    """

    call_ids: tuple[str, ...] = ()
    phone_number: str = field(default="", repr=False)
    reason: str = ""
    delete_upstream: bool = False
    candidates: tuple[str, ...] = ()
    stop_number: bool = False
    full_search: bool = False

    def check(self) -> None:
        """Raise `ErasureRefused` for a request that is incomplete or contradicts itself."""
        if bool(self.call_ids) == bool(self.phone_number.strip()):
            raise ErasureRefused("erase_calls needs either call_ids or a phone_number.")
        if self.phone_number and len(digits_of(self.phone_number)) < _MIN_DIGITS:
            raise ErasureRefused(f"The phone_number has fewer than {_MIN_DIGITS} digits.")
        if (self.candidates or self.stop_number) and not self.phone_number:
            raise ErasureRefused("candidates and stop_number belong to a phone_number; without one, use call_ids.")
        if not self.reason.strip():
            raise ErasureRefused("erase_calls needs a reason, for the audit; it must name nobody.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A near match that the operator has not named: a call, or an unparsed row by its key, and why it is one."""

    name: str
    day: date
    reason: str


@dataclass
class ErasurePlan:
    """The calls to erase, by day, and the keys of unparsed rows that belong to them.

    It is stored at `key` before anything is touched, and deleted last: so a further run finishes what a killed one
    began. `row_pseudonyms` are the tombstones of unparsed rows; `stopped_number` is that of a number whose later calls
    are not archived. `candidates` are near matches that the request does not name; they are not stored. `outcomes` has
    what upstream answered, by pseudonym; `unwritten` why the journal did not take all of it.

    `number` is the pseudonym of the request's number. With `full_search` the whole archive is searched afterwards:
    `searched` has the parts in which nothing is left, and `searched_for` a pseudonym of what was looked for there.
    """

    calls: dict[date, set[str]] = field(default_factory=dict)
    unparsed_keys: set[str] = field(default_factory=set)
    delete_upstream: bool = False
    reason: str = ""
    key: str = ""
    row_pseudonyms: set[str] = field(default_factory=set)
    stopped_number: str = ""
    candidates: list[Candidate] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    unwritten: ArchiveError | None = None
    number: str = ""
    full_search: bool = False
    searched: set[str] = field(default_factory=set)
    searched_for: str = ""

    def add(self, day: date, call_id: str) -> None:
        """Add one call."""
        self.calls.setdefault(day, set()).add(call_id)

    @property
    def call_ids(self) -> set[str]:
        """The calls of all days."""
        return {call_id for ids in self.calls.values() for call_id in ids}

    @property
    def days(self) -> list[date]:
        """All days that the erasure touches, in order."""
        return sorted({*self.calls, *(day for key in self.unparsed_keys if (day := day_in(key)) is not None)})

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that is stored."""
        return {
            "calls": {day.isoformat(): sorted(ids) for day, ids in self.calls.items()},
            "unparsed_keys": sorted(self.unparsed_keys),
            "delete_upstream": self.delete_upstream,
            "reason": self.reason,
            "row_pseudonyms": sorted(self.row_pseudonyms),
            "stopped_number": self.stopped_number,
            "outcomes": self.outcomes,
            "number": self.number,
            "full_search": self.full_search,
            "searched": sorted(self.searched),
            "searched_for": self.searched_for,
        }


@dataclass
class ErasureResult:
    """What was done, or in a dry run would be: counts, and what could not be settled.

    `owned_keys` are the objects that belong to the calls only, in a dry run; `candidates` are near matches of the
    number that were not named; `searched` says what the proof has read, and `not_reached` has a sentence for each thing
    that this erasure did not reach.
    """

    calls: int = 0
    days: list[date] = field(default_factory=list)
    versions_deleted: int = 0
    upstream: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    residue: list[str] = field(default_factory=list)
    owned_keys: list[str] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)


def save_plan(plan: ErasurePlan, store: ObjectStore) -> None:
    """Store the plan. It names the calls until the erasure ends."""
    replace_json(store, plan.key, plan.to_json())


def save_progress(plan: ErasurePlan, store: ObjectStore) -> None:
    """Add the parts that were searched to the stored plan. A plan that another run has ended stays deleted."""

    def write() -> None:
        file = BytesIO()
        version = store.copy_into(plan.key, file)
        if version is None:
            return
        stored = json.loads(file.getvalue())
        known = stored.get("searched", []) if stored.get("searched_for") == plan.searched_for else []
        stored |= {"searched": sorted({*known, *plan.searched}), "searched_for": plan.searched_for}
        put_json(store, plan.key, stored, Replace(version))

    compare_and_swap(plan.key, write)


def delete_plan(plan: ErasurePlan, governance: Governance) -> None:
    """Delete every version of the stored plan."""
    governance.delete(versions_at(governance, plan.key))


def read_unfinished_plans(store: ObjectStore) -> list[ErasurePlan]:
    """Return the plans of killed runs, and of runs under way: carrying one out a second time does no harm."""
    plans = []
    for entry in list(store.list(ERASURES_UNDER_WAY)):
        stored = read_json(store, entry.key)
        if stored is not None:
            calls = {date.fromisoformat(day): set(ids) for day, ids in stored["calls"].items()}
            unparsed, upstream, reason = (stored[name] for name in ("unparsed_keys", "delete_upstream", "reason"))
            plans.append(
                ErasurePlan(
                    calls,
                    set(unparsed),
                    upstream,
                    reason,
                    entry.key,
                    row_pseudonyms=set(stored.get("row_pseudonyms", [])),
                    stopped_number=stored.get("stopped_number", ""),
                    outcomes=stored.get("outcomes", {}),
                    number=stored.get("number", ""),
                    full_search=stored.get("full_search", False),
                    searched=set(stored.get("searched", [])),
                    searched_for=stored.get("searched_for", ""),
                )
            )
    return plans
