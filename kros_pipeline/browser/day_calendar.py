"""The days of the archive with their verdicts, as reconciliation wrote them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

from ..archive.object_store import ObjectStore, VersionToken
from ..archive.parquet import Row
from ..archive.tables import Tables
from ..core.clock import Clock
from ..core.errors import ArchiveError
from ..core.object_keys import day_in, table_prefix
from ..core.schemas import RECONCILIATION

_THREADS = 8
_MAX_AGE_SECONDS = 30.0
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class DayState:
    """One day. `verdict` is that of its row, `unreadable`, or empty where the day was never reconciled."""

    day: date
    verdict: str
    row: Row

    @property
    def minutes(self) -> float | None:
        """The length of the archived recordings together."""
        seconds = self.row.get("audio_seconds")
        return seconds / 60 if seconds is not None else None


class DayCalendar:
    """Reads the rows of `reconciliation`, each once for every version of it. Threads may share it."""

    def __init__(self, store: ObjectStore, tables: Tables, clock: Clock):
        self._store, self._tables, self._clock = store, tables, clock
        self._states: dict[date, tuple[VersionToken, DayState]] = {}
        self._listed: tuple[float, dict[date, VersionToken]] | None = None

    def days(self, first: date, last: date) -> list[DayState]:
        """Return the reconciled days of a range, in ascending order."""
        versions = self._list()
        days = sorted(day for day in versions if first <= day <= last)
        return self._read(days, versions)

    def span(self) -> tuple[date, date] | None:
        """Return the first and the last reconciled day; None where there is none."""
        days = self._list()
        return (min(days), max(days)) if days else None

    def _list(self) -> dict[date, VersionToken]:
        now = self._clock.monotonic()
        if self._listed is None or now - self._listed[0] > _MAX_AGE_SECONDS:
            entries = self._store.list(table_prefix(RECONCILIATION.name))
            versions = {day: entry.version for entry in entries if (day := day_in(entry.key)) is not None}
            self._listed = now, versions
        return self._listed[1]

    def _read(self, days: Sequence[date], versions: dict[date, VersionToken]) -> list[DayState]:
        missing = [day for day in days if day not in self._states or self._states[day][0] != versions[day]]
        if missing:
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="calendar") as pool:
                for day, state in zip(missing, pool.map(self._state, missing), strict=True):
                    self._states[day] = versions[day], state
        return [self._states[day][1] for day in days]

    def _state(self, day: date) -> DayState:
        try:
            rows = self._tables.rows(RECONCILIATION, day)
        except ArchiveError:
            return DayState(day, UNREADABLE, {})
        return DayState(day, rows[0]["verdict"] if rows else "", rows[0] if rows else {})
