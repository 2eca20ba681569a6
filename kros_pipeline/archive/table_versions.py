"""The versions of a day's tables: those that its last reconciliation found, and those that are in the bucket now.

A table that is deleted or replaced after a day was checked shows by them, without a byte of it being read.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, TypeAlias

from ..core import schemas
from ..core.call_counters import CountedDay
from ..core.days import parse_time
from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable
from ..core.next_look import NextLook
from ..core.object_keys import day_in, table_key, table_prefix, table_versions_key
from .json_objects import Content, read_json, replace_json, update_json
from .object_store import ObjectStore

_RECORDS = "state/tables/"
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
    replace_json(store, table_versions_key(day), dump_checked_tables(CheckedTables(versions, next_look, counted)))


def read_checked_tables(store: ObjectStore, day: date) -> CheckedTables | None:
    """Return what was recorded of a day; None where nothing was, or nothing that can be read."""
    return parse_checked_tables(_read_record(store, day))


def list_records(store: ObjectStore) -> dict[date, str]:
    """Return the version of each day's record. It costs a request per 1,000 days."""
    listed = ((day_in(entry.key), entry) for entry in store.list(_RECORDS))
    return {day: entry.version for day, entry in listed if day is not None and entry.key == table_versions_key(day)}


def dump_checked_tables(checked: CheckedTables) -> Content:
    """Return the JSON object that is stored of a day."""
    return {
        "versions": dict(checked.versions),
        "next_look": checked.next_look and asdict(checked.next_look) | {"at": checked.next_look.at.isoformat()},
        "counted": checked.counted and asdict(checked.counted),
    }


def parse_checked_tables(stored: object) -> CheckedTables | None:
    """Read what `dump_checked_tables` made; None for anything else."""
    versions = stored.get("versions") if isinstance(stored, dict) else None
    if not isinstance(stored, dict) or not isinstance(versions, dict):
        return None
    known = {name: version for name, version in versions.items() if name in schemas.TABLES}
    return CheckedTables(known, _parse_next_look(stored.get("next_look")), _parse_counted(stored.get("counted")))


def announce_rewriting(store: ObjectStore, day: date, table: str, version: str, sha256: str) -> None:
    """Record that a table is about to be written anew with the same rows, if its present version is the compared one.

    So a run that is killed after the PUT leaves no day that counts as replaced: `finish_rewriting` recognizes the file
    by its hash.
    """

    def change(record: Content) -> Content:
        if _versions_in(record).get(table) != version:
            return record
        return record | {"rewriting": _rewriting_in(record) | {table: {"from": version, "sha256": sha256}}}

    _update_record(store, day, change)


def finish_rewriting(store: ObjectStore, day: date, table: str, version: str, sha256: str) -> None:
    """Record the new version of a table that was announced, if the file is the announced one and nobody checked since.

    `version` and `sha256` are those of the file in the bucket.
    """

    def change(record: Content) -> Content:
        rewriting, versions = _rewriting_in(record), _versions_in(record)
        announced = rewriting.pop(table, None)
        if not isinstance(announced, dict):
            return record
        if announced.get("sha256") == sha256 and announced.get("from") == versions.get(table):
            versions[table] = version
        return record | {"versions": versions, "rewriting": rewriting}

    _update_record(store, day, change)


def read_announced_rewritings(store: ObjectStore, day: date) -> list[str]:
    """Return the tables of a day that a killed run was about to write, or has written, anew."""
    return sorted(_rewriting_in(_read_record(store, day) or {}))


def _read_record(store: ObjectStore, day: date) -> Content | None:
    """Return the record of a day; None where there is none, or none that can be read. Raises as `read_json`."""
    try:
        return read_json(store, table_versions_key(day))
    except (ArchiveUnavailable, ArchiveDenied):
        raise
    except ArchiveError:
        return None


def _update_record(store: ObjectStore, day: date, change: Callable[[Content], Content]) -> None:
    """Change the record of a day, if there is one."""
    if _read_record(store, day) is not None:
        update_json(store, table_versions_key(day), lambda record: change(record or {}))


def _versions_in(record: Content) -> dict[str, str]:
    versions = record.get("versions")
    return dict(versions) if isinstance(versions, dict) else {}


def _rewriting_in(record: Content) -> dict[str, Any]:
    rewriting = record.get("rewriting")
    return dict(rewriting) if isinstance(rewriting, dict) else {}


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
