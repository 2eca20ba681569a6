"""Which days the archive has."""

from datetime import date

from ..core import schemas
from ..core.object_keys import AUDIO, day_in, table_prefix
from .object_store import ObjectStore


def days_of_table(store: ObjectStore, table_name: str) -> list[date]:
    """Return the days of which a table has a partition, in order."""
    return sorted({day for entry in store.list(table_prefix(table_name)) if (day := day_in(entry.key)) is not None})


def archived_days(store: ObjectStore) -> list[date]:
    """Return every day of which the archive has audio, or a table that says what audio there should be, in order."""
    folders = [*store.folders(table_prefix(schemas.RECORDINGS.name)), *store.folders(AUDIO)]
    return sorted({day for folder in folders if (day := day_in(folder)) is not None})
