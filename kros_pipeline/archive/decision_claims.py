"""Claims of decisions: one create-only object per decision names the one day whose journal has the decision.

Upstream may move a call to another day, where the same decision comes up again. The claim says where its requests are
journalled, so that they are sent once, whatever the day. It names the call, so that an erasure finds it: a decision's
id is a plain hash and would identify the call.
"""

from datetime import date

from ..core.errors import ObjectExists
from ..core.object_keys import EXTENSIONS, decision_key
from .compare_and_swap import compare_and_swap
from .json_objects import create_json, read_json
from .object_store import ObjectStore

_PLACE_IN_KEY = 3  # state/extensions/dt=…/<decision>/<attempt>-<stage>.json


def claim_decision(store: ObjectStore, decision_id: str, *, call_id: str, day: date) -> date:
    """Claim a decision for a day, unless a day has claimed it before, and return the day that has the claim.

    A claim of the same day is as good as our own, whoever wrote it: the intent decides who sends.
    """
    key = decision_key(decision_id)

    def write() -> date:
        if create_json(store, key, {"call_id": call_id, "day": day.isoformat()}):
            return day
        claimed = read_claim(store, decision_id)
        if claimed is None:
            raise ObjectExists(f"{key} was there, and is gone")  # an erasure has just deleted it
        return claimed

    return compare_and_swap(key, write)


def read_claim(store: ObjectStore, decision_id: str) -> date | None:
    """Return the day whose journal has a decision; None where no day has claimed it."""
    claim = read_json(store, decision_key(decision_id))
    return date.fromisoformat(claim["day"]) if claim is not None else None


def decision_in(key: str) -> str | None:
    """Return the decision in the key of an attempt in a day's journal; None for every other key."""
    parts = key.split("/")
    return parts[_PLACE_IN_KEY] if key.startswith(EXTENSIONS) and len(parts) > _PLACE_IN_KEY + 1 else None
