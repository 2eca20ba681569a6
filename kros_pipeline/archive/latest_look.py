"""The numbers of the last hourly look at the archive: `state/totals.json`, which the metrics are read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ..core.days import parse_time
from ..core.json_values import finite_number
from ..core.object_keys import LATEST_LOOK
from .json_objects import read_expendable_json, replace_json
from .object_store import ObjectStore


@dataclass(frozen=True)
class LatestLook:
    """What the last look found. A number that is not known, or does not apply, is not among the `numbers`.

    `checks` says of each standing check whether it passed.
    """

    looked_at: datetime
    numbers: Mapping[str, float]
    checks: Mapping[str, bool]


def write_latest_look(store: ObjectStore, look: LatestLook) -> None:
    """Write what a look found, in place of the look before."""
    content = {"looked_at": look.looked_at.isoformat(), "numbers": dict(look.numbers), "checks": dict(look.checks)}
    replace_json(store, LATEST_LOOK, content)


def read_latest_look(store: ObjectStore) -> LatestLook | None:
    """Return what the last look found; None where there was none, or where the object is no look's."""
    stored = read_expendable_json(store, LATEST_LOOK)
    looked_at = parse_time(stored.get("looked_at"))
    numbers, checks = stored.get("numbers"), stored.get("checks")
    if looked_at is None or not isinstance(numbers, dict) or not isinstance(checks, dict):
        return None
    return LatestLook(
        looked_at,
        {name: number for name, value in numbers.items() if (number := finite_number(value)) is not None},
        {name: passed for name, passed in checks.items() if isinstance(passed, bool)},
    )
