"""Stops the calls of phone numbers that were erased for good: such a call gets a tombstone when it is first listed."""

from collections.abc import Callable
from datetime import date
from functools import lru_cache

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.tombstones import Tombstones
from ..core.calls import Call
from ..core.days import days_beside
from ..core.phone_numbers import digits_of
from .archived_ids import ArchivedIds
from .listed_rows import ListedRows

_MAX_REMEMBERED_NUMBERS = 10_000
_REASON = "a call of a number that was erased, and whose later calls are not archived"


def stop_calls(
    day: date,
    rows: ListedRows,
    archived: ArchivedIds,
    tombstones: Tombstones,
    open_audit: Callable[[date], AuditLog],
) -> list[str]:
    """Write a tombstone, and an audit line, for each listed call from or to a number that has a tombstone itself.

    A call that the archive has stays: only an operator erases it. A day beside that of its `created_at` may keep it,
    which moves. Returns a sentence where there are such calls.
    """
    if not tombstones.has_stopped_numbers():
        return []

    @lru_cache(_MAX_REMEMBERED_NUMBERS)
    def is_number_stopped(number: str) -> bool:
        return tombstones.is_number_stopped({number, digits_of(number)})

    def is_stopped(call: Call) -> bool:
        return any(map(is_number_stopped, filter(None, (call.from_number, call.to_number))))

    kept_count = 0
    for listed_day in (day, *rows.other_days):
        stopped = [
            call.call_id
            for calls in rows.batches_of(listed_day)
            for call in calls
            if is_stopped(call) and not tombstones.is_erased(call.call_id)
        ]
        audit = open_audit(listed_day)
        days = {listed_day, *days_beside(listed_day), day}
        for call_id in stopped:
            if any(call_id in archived(other) for other in days):
                kept_count += 1
                continue
            tombstones.add_call(listed_day, call_id)
            audit.record(AuditEvent.ERASED, call_id, reason=_REASON)
        audit.write()
    if not kept_count:
        return []
    return [
        f"{kept_count} calls of a number that was erased are in the archive: they were archived meanwhile, or the "
        "number can only be read now. Launch erase_calls with it again"
    ]
