"""The versions of a day's tables: those that its last reconciliation found, and those that are in the bucket now.

A table that is deleted or replaced after a day was checked shows by them, without a byte of it being read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import TypeAlias

from ..core import schemas
from ..core.call_counters import CountedDay
from ..core.days import parse_time
from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable
from ..core.next_look import NextLook
from ..core.object_keys import day_in, table_key, table_prefix, table_versions_key
from .json_objects import read_json, replace_json
from .object_store import ObjectStore

TableVersions: TypeAlias = Mapping[str, str]
"""The version of each table of a day, by the table's name. A table that is missing has none."""


def list_table_versions(store: ObjectStore, table: str) -> dict[date, str]:
    """Return the version of each partition of a table that is in the bucket. It costs a request per 1,000 days."""
    versions: dict[date, str] = {}
    for entry in store.list(table_prefix(table)):
        day = day_in(entry.key)
        if day is not None and entry.key == table_key(table, day):
            versions[day] = entry.version
    return versions


@dataclass(frozen=True, slots=True)
class CheckedTables:
    """What a day's reconciliation has recorded: the versions that it compared, when to look again, and what it counted.

    `counted` is None in a record that an older version wrote.
    """

    versions: TableVersions
    next_look: NextLook | None = None
    counted: CountedDay | None = None


def record_table_versions(
    store: ObjectStore,
    day: date,
    versions: TableVersions,
    next_look: NextLook | None = None,
    counted: CountedDay | None = None,
) -> None:
    """Write which versions a day's reconciliation has compared; that of its own row is among them."""
    value = {
        "versions": dict(versions),
        "next_look": next_look and asdict(next_look) | {"at": next_look.at.isoformat()},
        "counted": counted and asdict(counted),
    }
    replace_json(store, table_versions_key(day), value)


def read_checked_tables(store: ObjectStore, day: date) -> CheckedTables | None:
    """Return what was recorded of a day; None where nothing was, or nothing that can be read."""
    try:
        stored = read_json(store, table_versions_key(day))
    except (ArchiveUnavailable, ArchiveDenied):
        raise
    except ArchiveError:
        return None
    versions = stored.get("versions") if stored is not None else None
    if stored is None or not isinstance(versions, dict):
        return None
    known = {name: version for name, version in versions.items() if name in schemas.TABLES}
    return CheckedTables(known, _parse_next_look(stored.get("next_look")), _parse_counted(stored.get("counted")))


def _parse_next_look(stored: object) -> NextLook | None:
    """Return the time of the next look; None, which is at once, also where it cannot be read."""
    fields = stored if isinstance(stored, dict) else {}
    at, is_for_second_answers = parse_time(fields.get("at")), fields.get("is_for_second_answers")
    return NextLook(at, is_for_second_answers) if at and isinstance(is_for_second_answers, bool) else None


def _parse_counted(stored: object) -> CountedDay | None:
    fields = stored if isinstance(stored, dict) else {}
    calls, counters, is_settled = fields.get("calls"), fields.get("counters"), fields.get("is_settled")
    if not (isinstance(calls, int) and isinstance(counters, dict) and isinstance(is_settled, bool)):
        return None
    return CountedDay(calls, {name: count for name, count in counters.items() if isinstance(count, int)}, is_settled)
