"""The erasure request of an operator, and the erasure plan that is made of it and stored."""

from dataclasses import dataclass, field
from datetime import date

from ..archive.governance import Governance, versions_at
from ..archive.json_objects import read_json, replace_json
from ..archive.object_store import ObjectStore
from ..core.errors import ArchiveError
from ..core.object_keys import ERASURES_UNDER_WAY, day_in
from .residue_search import digits_of

_MIN_DIGITS = 6


class ErasureRefused(ArchiveError):
    """The request cannot be carried out as it is. Nothing was touched."""


@dataclass(frozen=True)
class ErasureRequest:
    """Calls to erase: by id, or all calls from or to a number."""

    call_ids: tuple[str, ...] = ()
    phone_number: str = field(default="", repr=False)
    reason: str = ""
    delete_upstream: bool = False

    def check(self) -> None:
        """Raise `ErasureRefused` for a request that is incomplete or contradicts itself."""
        if bool(self.call_ids) == bool(self.phone_number.strip()):
            raise ErasureRefused("erase_calls needs either call_ids or a phone_number.")
        if self.phone_number and len(digits_of(self.phone_number)) < _MIN_DIGITS:
            raise ErasureRefused(f"The phone_number has fewer than {_MIN_DIGITS} digits.")
        if not self.reason.strip():
            raise ErasureRefused("erase_calls needs a reason, for the audit; it must name nobody.")


@dataclass
class ErasurePlan:
    """The calls to erase, by day, and the keys of unparsed rows that belong to them.

    It is stored at `key` before anything is touched, and deleted last: so a further run finishes what a killed one
    began. `outcomes` has what upstream answered, by pseudonym; `unwritten` why the journal did not take all of it.
    """

    calls: dict[date, set[str]] = field(default_factory=dict)
    unparsed_keys: set[str] = field(default_factory=set)
    delete_upstream: bool = False
    reason: str = ""
    key: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    unwritten: ArchiveError | None = None

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
            "outcomes": self.outcomes,
        }


def save_plan(plan: ErasurePlan, store: ObjectStore) -> None:
    """Store the plan. It names the calls until the erasure ends."""
    replace_json(store, plan.key, plan.to_json())


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
            plan = ErasurePlan(calls, set(unparsed), upstream, reason, entry.key, stored.get("outcomes", {}))
            plans.append(plan)
    return plans
