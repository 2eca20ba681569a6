"""The numbers of one day that the totals of the archive are made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .statuses import DayVerdict, ExtensionStatus


@dataclass(frozen=True, slots=True)
class DayTotal:
    """What the day's row of `reconciliation`, and its table `retention_extensions`, say in numbers.

    A day whose row cannot be read is `incomplete`, and has no numbers. No id, phone number or text is among them: they
    are stored again, beside the tables, where no erasure looks for them.
    """

    verdict: str
    is_proved: bool = False
    calls: int = 0
    recordings_expected: int = 0
    recordings_archived: int = 0
    recordings_pending: int = 0
    recordings_lost: int = 0
    recordings_failed: int = 0
    audio_bytes: int = 0
    audio_seconds: float = 0.0
    utterances: int = 0
    extensions_refused: int = 0
    extensions_unconfirmed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the day is complete, and its list was proved: nothing of it is owed."""
        return self.verdict == DayVerdict.COMPLETE and self.is_proved


UNREADABLE_DAY = DayTotal(DayVerdict.INCOMPLETE.value)
DAY_WITHOUT_ROW = DayTotal("")
"""A day whose partition of `reconciliation` has no row: it was never reconciled, and counts as missing."""


def make_day_total(row: Mapping[str, Any], extensions: Iterable[Mapping[str, Any]]) -> DayTotal:
    """Make the numbers of a day from its row, and from status and time of settlement of its extensions."""
    open_statuses = [extension["status"] for extension in extensions if extension["settled_at"] is None]
    return DayTotal(
        verdict=str(row["verdict"]),
        is_proved=row["listed_total"] is not None,
        calls=row["calls"],
        recordings_expected=row["recordings_expected"],
        recordings_archived=row["recordings_archived"],
        recordings_pending=row["recordings_pending"],
        recordings_lost=row["recordings_lost"],
        recordings_failed=row["recordings_failed"],
        audio_bytes=row["bytes_in_bucket"],
        audio_seconds=row["audio_seconds"] or 0.0,
        utterances=row["utterances"],
        extensions_refused=open_statuses.count(ExtensionStatus.REFUSED),
        extensions_unconfirmed=open_statuses.count(ExtensionStatus.UNCONFIRMED),
    )
