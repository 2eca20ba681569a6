"""Rewriting: gives files of older versions the present columns. Upstream is not asked, and no row is added or removed.

The order of writes makes it safe to kill at any point: what is about to be written, the file, its version in the day's
record. So a day that was checked stays checked, and a day whose table somebody else replaced stays replaced.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from ..archive.archived_days import days_of_table
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, batches_of
from ..archive.table_versions import announce_rewriting, finish_rewriting, read_announced_rewritings
from ..archive.tables import Tables
from ..core import schemas
from ..core.errors import ArchiveDenied, ArchiveError
from ..core.speaker_roles import SpeakerRoles
from ..core.transcript_changes import recount_words
from ..core.worker_threads import worker_threads

_THREADS = 8


@dataclass
class Rewriting:
    """What was rewritten, or in a dry run would be: files by table, with the columns that they lacked."""

    days: int = 0
    files: dict[str, int] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)
    changed_days: list[date] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def days_of_tables(store: ObjectStore) -> list[date]:
    """Return every day of which the archive has a table."""
    return sorted({day for name in schemas.ALL_TABLES for day in days_of_table(store, name)})


def rewrite_days(
    days: Collection[date], *, store: ObjectStore, tables: Tables, roles: SpeakerRoles, dry_run: bool
) -> Rewriting:
    """Write every file of these days that lacks a column anew; files that have all columns are not touched.

    A table that cannot be read, or that a newer version wrote, is reported, and the others go on. Raises
    `ArchiveDenied` where a person has to change the rights first.
    """
    result = Rewriting(days=len(days))

    def rewrite(day: date) -> Rewriting:
        return _rewrite_day(day, store=store, tables=tables, roles=roles, dry_run=dry_run)

    with worker_threads(_THREADS, "rewriting") as pool:
        for of_day in pool.map(rewrite, days):
            result.changed_days += of_day.changed_days
            result.problems += of_day.problems
            for name, count in of_day.files.items():
                result.files[name] = result.files.get(name, 0) + count
                result.columns[name] = result.columns.get(name, set()) | of_day.columns[name]
    return result


def _rewrite_day(day: date, *, store: ObjectStore, tables: Tables, roles: SpeakerRoles, dry_run: bool) -> Rewriting:
    result = Rewriting()
    announced = [] if dry_run else read_announced_rewritings(store, day)
    for table in schemas.ALL_TABLES.values():
        try:
            missing = _rewrite_table(
                table, day, store, tables, roles, dry_run=dry_run, is_announced=table.name in announced
            )
        except ArchiveDenied:
            raise
        except ArchiveError as error:
            result.problems.append(f"{table.name} of {day}: {error}")
            continue
        if missing:
            result.files[table.name], result.columns[table.name] = 1, set(missing)
    if result.files:
        result.changed_days.append(day)
    return result


def _rewrite_table(
    table: schemas.Table,
    day: date,
    store: ObjectStore,
    tables: Tables,
    roles: SpeakerRoles,
    *,
    dry_run: bool,
    is_announced: bool,
) -> list[str]:
    """Rewrite one file if it lacks columns, and return these."""

    def build(present: Partition | None) -> Iterator[pa.RecordBatch]:
        if present is None:
            return iter(())
        if table is schemas.TRANSCRIPTS and "upstream_word_count" in present.missing_columns:
            return batches_of(table, (recount_words(row, roles) for row in present.rows()))
        return present.batches()

    def announce(present: Partition | None, sha256: str, row_count: int) -> None:
        # With fewer rows (an erased or moved call had one still) the file is not what was checked: the day is owed.
        if present is not None and present.row_count == row_count:
            announce_rewriting(store, day, table.name, present.version, sha256)

    with tables.transaction(table, day) as transaction:
        missing = transaction.present.missing_columns if transaction.present is not None else []
        if missing and not dry_run:
            transaction.commit(build, before_put=announce)
        if (missing or is_announced) and not dry_run and transaction.present is not None:
            finish_rewriting(store, day, table.name, transaction.present.version, transaction.present.sha256())
    return missing
