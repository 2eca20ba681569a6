"""Find the days that the archive has, from its folders: Dagster's history may be incomplete."""

from collections.abc import Iterable
from datetime import date

from ..core import schemas
from ..core.object_keys import AUDIO, day_in, table_prefix
from .object_store import ObjectStore


def days_of_table(store: ObjectStore, table_name: str) -> list[date]:
    """Return the days of which a table has a partition, in ascending order."""
    return _days_in(store.folders(table_prefix(table_name)))


def archived_days(store: ObjectStore) -> list[date]:
    """Return the days of which the archive has audio, or the table that says which audio there should be."""
    return _days_in([*store.folders(table_prefix(schemas.RECORDINGS.name)), *store.folders(AUDIO)])


def _days_in(folders: Iterable[str]) -> list[date]:
    return sorted({day for folder in folders if (day := day_in(folder)) is not None})
