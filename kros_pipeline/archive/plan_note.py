"""The last plan of the backlog, as much of it as the backlog's order uses: `state/plan.json`."""

from dataclasses import dataclass
from datetime import date, datetime

from ..core.backlog_plan import BacklogPlan
from ..core.days import parse_time
from ..core.errors import ArchiveError
from ..core.object_keys import PLAN
from .json_objects import read_json, replace_json
from .object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class PlanNote:
    """When the plan was made, and the days that upstream deletes before their turn."""

    made_at: datetime
    late_days: frozenset[date]


def write_plan_note(store: ObjectStore, plan: BacklogPlan) -> None:
    """Write the note of a plan in place of the one before."""
    replace_json(
        store,
        PLAN,
        {
            "format": 1,
            "made_at": plan.made_at.isoformat(),
            "days": len(plan.days),
            "calls": sum(day.calls for day in plan.days),
            "api_requests": sum(day.api_requests for day in plan.days),
            "late_days": [day.isoformat() for day in plan.late_days],
        },
    )


def read_plan_note(store: ObjectStore) -> PlanNote | None:
    """Return the note of the last plan; None where there is none, or it is not what was written."""
    try:
        stored = read_json(store, PLAN) or {}
        made_at = parse_time(stored["made_at"])
        late_days = frozenset(map(date.fromisoformat, stored["late_days"]))
    except (ArchiveError, KeyError, TypeError, ValueError):
        return None
    return PlanNote(made_at, late_days) if made_at is not None else None
