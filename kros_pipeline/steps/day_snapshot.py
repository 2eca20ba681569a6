"""The day snapshot: what the archive holds of a day when a step begins."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Self

from ..archive.listings import read_usable_listing
from ..archive.object_store import ObjectStore
from ..archive.parquet import Partition, Row
from ..archive.tables import PartitionTransaction, Tables
from ..archive.tombstones import Tombstones
from ..core import schemas
from ..core.digest_set import DigestSet
from ..core.listing import Listing
from ..core.object_keys import audio_prefix
from ..core.sorted_lookup import SortedLookup
from ..core.worker_threads import worker_threads

_THREADS = 4
CALL_COLUMNS = ("call_id", "duration_seconds", "created_at", "completed_at", "has_recording", "listed_at")
_ROW_COLUMNS = (
    "call_id", "status", "reason", "attempts", "sha256", "duration_seconds", "declared_duration_seconds",
    "quarantine_key",
)  # fmt: skip


@dataclass(frozen=True)
class DaySnapshot:
    """The calls, the table `recordings` to be written, the last listing, and the keys of the audio in the bucket.

    A day may have a million calls: tables are read a batch at a time, and of the keys their digests are held.
    """

    calls: Partition
    recordings: PartitionTransaction
    listing: Listing | None
    audio_keys: DigestSet

    @classmethod
    @contextmanager
    def load(cls, day: date, *, store: ObjectStore, tables: Tables, tombstones: Tombstones) -> Iterator[Self]:
        """Read all of it at once: one request after the other costs a second where S3 answers slowly.

        Raises `MissingTable` where the day has no table `calls`.
        """
        with ExitStack() as opened, worker_threads(_THREADS, "snapshot") as pool:
            calls = pool.submit(opened.enter_context, tables.required(schemas.CALLS, day))
            recordings = pool.submit(opened.enter_context, tables.transaction(schemas.RECORDINGS, day))
            listing = pool.submit(read_usable_listing, store, day)
            pool.submit(tombstones.pseudonyms)  # cached, for the first recording that is put
            audio_keys = DigestSet(entry.key for entry in store.list(audio_prefix(day)))
            yield cls(calls.result(), recordings.result(), listing.result(), audio_keys)

    def calls_with_rows(self) -> Iterator[tuple[Row, Row | None]]:
        """Yield each call of the day with its row of `recordings`, if it has one. Neither table is held in memory."""
        rows = SortedLookup(self.recordings.rows(_ROW_COLUMNS))
        for call in self.calls.rows(CALL_COLUMNS):
            yield call, rows.find(call["call_id"])
