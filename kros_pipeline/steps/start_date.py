"""Find the first partition: `KROS_START_DATE`, or the first day that upstream still had when Dagster first started.

The first day that upstream still has moves on every day. If the first partition moved with it, archived days would
vanish from the UI, and could not be materialized any more, with new rules for example. So the first start records the
day in a small file in DAGSTER_HOME. Where DAGSTER_HOME does not last, in a container for example, `KROS_START_DATE` has
to be set. The archive itself is not asked: Dagster loads the definitions often, and without a network.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

from ..core.settings import BadSettings
from ..source.settings import parse_retention_days
from .settings import START_DATE, parse_start_date

WITHOUT_END = date(2025, 1, 1)  # where upstream deletes nothing, no day follows from its retention
_RECORD = "kros_start_date"


def find_start_date(texts: Mapping[str, str | None], home: Path | None, today: date) -> date:
    """Return the first partition, and record it in `home`, DAGSTER_HOME, if `KROS_START_DATE` does not set it.

    Raises `BadSettings` for a bad `KROS_START_DATE` only: a run reports all other bad settings in one sentence. What
    follows from the default instead of a bad setting is not recorded: no day would vanish again once it is mended.
    """
    named = parse_start_date(texts.get(START_DATE.name))
    if named is not None:
        return named
    recorded = read_start_date(home) if home is not None else None
    try:
        first = _first_kept(today, parse_retention_days(texts))
    except BadSettings:
        return recorded or _first_kept(today, parse_retention_days({}))
    if recorded is not None and recorded <= first:
        return recorded
    if home is not None:  # there is no record, or a longer retention shows more days
        record_start_date(home, first)
    return first


def _first_kept(today: date, retention_days: int | None) -> date:
    return today - timedelta(days=retention_days) if retention_days is not None else WITHOUT_END


def read_start_date(home: Path) -> date | None:
    """Return the recorded day; None where there is none, or no day."""
    try:
        return date.fromisoformat((home / _RECORD).read_text("utf-8").strip())
    except (OSError, ValueError):
        return None


def record_start_date(home: Path, day: date) -> None:
    """Record the first partition, unless an earlier one is recorded. The file is replaced whole: others may read it.

    Where the folder cannot be written, the day follows from the retention each time.
    """
    recorded = read_start_date(home)
    if recorded is not None and recorded <= day:
        return
    written = home / f".{_RECORD}.{uuid.uuid4().hex}"
    with suppress(OSError):
        try:
            written.write_text(f"{day.isoformat()}\n", "utf-8")
            written.replace(home / _RECORD)
        finally:
            written.unlink(missing_ok=True)
