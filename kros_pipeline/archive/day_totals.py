"""Keep the numbers of each day below `state/day_totals/`: a year is one object, so that years of days stay cheap.

They are a copy: whoever deletes them has every day read once more, and loses since when each day is in the archive.
What was compared is kept, too: nobody has to read the row of a complete day to see that it is settled, and a table that
is deleted or replaced shows, however old the day is. A day whose row is deleted stays here, so that somebody notices.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any

from ..core.day_total import DAY_WITHOUT_ROW, DayTotal
from ..core.days import parse_time
from ..core.object_keys import DAY_TOTALS, day_totals_key
from .json_objects import Content, read_expendable_json, replace_json
from .object_store import ObjectStore
from .table_versions import CheckedTables, dump_checked_tables, parse_checked_tables

RECORD = "record"
"""In place of a table's name: the record of the compared tables is missing, or cannot be read."""
_FIELDS = {field.name for field in fields(DayTotal)}
_NUMBERS = _FIELDS - {"verdict"}


@dataclass(frozen=True, slots=True)
class KeptCheck:
    """When a day was checked, how many calls were listed if its list was proved, and what was compared."""

    checked_at: datetime
    listed_total: int | None
    tables: CheckedTables


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day's numbers, the versions of the objects that they were read from, and since when they are kept.

    A version is empty where there is no object: the row, the extensions, and the record of the compared tables. `check`
    is None where no look has read both row and record. Where they cannot be read any more, it is the last that was
    read, and `unread` names the table, or is `RECORD`.
    """

    total: DayTotal
    row_version: str
    extensions_version: str
    kept_since: date
    record_version: str
    check: KeptCheck | None
    unread: str = ""

    @property
    def versions(self) -> tuple[str, str, str]:
        """The versions of row, extensions and record."""
        return self.row_version, self.extensions_version, self.record_version

    @property
    def is_complete(self) -> bool:
        """Whether the day is complete, its list was proved, and what was compared is kept."""
        is_checked = self.check is not None and self.check.listed_total is not None and not self.unread
        return self.total.is_complete and is_checked

    @property
    def lacks_check(self) -> bool:
        """Whether an older version has kept the day, without the check that its row and record tell of."""
        has_both = self.record_version != "" and self.total != DAY_WITHOUT_ROW
        return self.check is None and has_both and not self.unread


def list_kept_years(store: ObjectStore) -> list[int]:
    """Return the years of which days are kept. It costs one request."""
    years = (entry.key.removeprefix(DAY_TOTALS).removesuffix(".json") for entry in store.list(DAY_TOTALS))
    return [int(year) for year in years if len(year) == 4 and year.isdecimal()]


def read_kept_days(store: ObjectStore, year: int) -> dict[date, KeptDay]:
    """Return the days of a year whose numbers are kept. What cannot be read as such is absent: it is read anew."""
    stored = read_expendable_json(store, day_totals_key(year))
    return {date.fromisoformat(text): day for text, value in stored.items() if (day := _parse(text, value))}


def write_kept_days(store: ObjectStore, year: int, days: Mapping[date, KeptDay]) -> None:
    """Write the days of a year."""
    value = {
        day.isoformat(): {
            "total": asdict(kept.total),
            "row_version": kept.row_version,
            "extensions_version": kept.extensions_version,
            "kept_since": kept.kept_since.isoformat(),
            "record_version": kept.record_version,
            "check": kept.check and _dump_check(kept.check),
            "unread": kept.unread,
        }
        for day, kept in sorted(days.items())
    }
    replace_json(store, day_totals_key(year), value)


def _dump_check(check: KeptCheck) -> Content:
    tables = dump_checked_tables(check.tables)
    return {"checked_at": check.checked_at.isoformat(), "listed_total": check.listed_total, "tables": tables}


def _parse_check(stored: Any) -> KeptCheck | None:
    fields_of_check = stored if isinstance(stored, dict) else {}
    checked_at, listed_total = parse_time(fields_of_check.get("checked_at")), fields_of_check.get("listed_total")
    tables = parse_checked_tables(fields_of_check.get("tables"))
    if checked_at is None or tables is None or not isinstance(listed_total, int | None):
        return None
    return KeptCheck(checked_at, listed_total, tables)


def _parse(text: str, value: Any) -> KeptDay | None:
    try:
        date.fromisoformat(text)
        total = value["total"]
        if total.keys() != _FIELDS:  # another version wrote it
            return None
        if not (isinstance(total["verdict"], str) and all(isinstance(total[name], int | float) for name in _NUMBERS)):
            return None
        day_total = DayTotal(**total)
        return KeptDay(
            day_total,
            str(value["row_version"]),
            str(value["extensions_version"]),
            date.fromisoformat(value["kept_since"]),
            str(value.get("record_version", "")),
            _parse_check(value.get("check")),
            str(value.get("unread", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
