"""Keep the numbers of each day below `state/day_totals/`: a year is one object, so that years of days stay cheap.

They are a copy: whoever deletes them has every day read once more, and loses since when each day is in the archive.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from ..core.day_total import DayTotal
from ..core.object_keys import day_totals_key
from .json_objects import read_expendable_json, replace_json
from .object_store import ObjectStore

_FIELDS = {field.name for field in fields(DayTotal)}
_NUMBERS = _FIELDS - {"verdict"}


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day's numbers, the versions of the tables that they were read from, and since when they are kept.

    A version is empty where the table has no partition.
    """

    total: DayTotal
    row_version: str
    extensions_version: str
    kept_since: date


def read_kept_days(store: ObjectStore, year: int) -> dict[date, KeptDay]:
    """Return the days of a year whose numbers are kept. What cannot be read as such is absent: it is read anew."""
    stored = read_expendable_json(store, day_totals_key(year))
    return {date.fromisoformat(text): day for text, value in stored.items() if (day := _parse(text, value))}


def write_kept_days(store: ObjectStore, year: int, days: Mapping[date, KeptDay]) -> None:
    """Write the days of a year."""
    value = {
        day.isoformat(): {**asdict(kept), "kept_since": kept.kept_since.isoformat()}
        for day, kept in sorted(days.items())
    }
    replace_json(store, day_totals_key(year), value)


def _parse(text: str, value: Any) -> KeptDay | None:
    try:
        date.fromisoformat(text)
        total = value["total"]
        if total.keys() != _FIELDS:  # another version wrote it
            return None
        if not (isinstance(total["verdict"], str) and all(isinstance(total[name], int | float) for name in _NUMBERS)):
            return None
        return KeptDay(
            DayTotal(**total),
            str(value["row_version"]),
            str(value["extensions_version"]),
            date.fromisoformat(value["kept_since"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
