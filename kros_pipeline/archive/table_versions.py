"""The versions of a day's tables: those that its last reconciliation found, and those that are in the bucket now.

A table that is deleted or replaced after a day was checked shows by them, without a byte of it being read.
"""

from collections.abc import Mapping
from datetime import date
from typing import TypeAlias

from ..core import schemas
from ..core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable
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


def record_table_versions(store: ObjectStore, day: date, versions: TableVersions) -> None:
    """Write which versions a day's reconciliation has compared; that of its own row is among them."""
    replace_json(store, table_versions_key(day), {"versions": dict(versions)})


def read_recorded_versions(store: ObjectStore, day: date) -> TableVersions | None:
    """Return what was recorded of a day; None where nothing was, or nothing that can be read."""
    try:
        stored = read_json(store, table_versions_key(day))
    except (ArchiveUnavailable, ArchiveDenied):
        raise
    except ArchiveError:
        return None
    versions = stored.get("versions") if stored is not None else None
    if not isinstance(versions, dict):
        return None
    return {name: version for name, version in versions.items() if name in schemas.TABLES}
