"""Until when upstream keeps a recording, and when to warn before it deletes one."""

from datetime import date, timedelta


def upstream_expires_on(call_date: date, retention_days: int | None) -> date | None:
    """Return the first day on which upstream may have deleted the recording, extensions aside; None without an end."""
    return None if retention_days is None else call_date + timedelta(days=retention_days)


def warning_days(retention_days: int) -> tuple[int, int]:
    """Return how many days before deletion a missing recording is a warning, and an error: 7 and 3 of 30."""
    return max(3, min(7, retention_days // 4)), max(1, min(3, retention_days // 7))
