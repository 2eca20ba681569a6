"""Stops the calls of phone numbers that were erased for good: such a call gets a tombstone when it is first listed."""

from collections.abc import Callable
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.tombstones import Tombstones
from ..core.calls import Call
from ..core.phone_numbers import digits_of
from .listed_rows import ListedRows
from .other_days import ArchivedIds

_REASON = "a call of a number that was erased, and whose later calls are not archived"


def stop_calls(
    day: date,
    rows: ListedRows,
    archived: ArchivedIds,
    tombstones: Tombstones,
    open_audit: Callable[[date], AuditLog],
) -> list[str]:
    """Write a tombstone, and an audit line, for each listed call from or to a number that has a tombstone itself.

    A call that the archive has stays: only an operator erases it. Returns a sentence where there are such calls.
    """
    known: dict[str, bool] = {}

    def is_stopped(call: Call) -> bool:
        for number in filter(None, (call.from_number, call.to_number)):
            if number not in known:
                known[number] = tombstones.is_number_stopped({number, digits_of(number)})
            if known[number]:
                return True
        return False

    kept_count = 0
    for listed_day, calls in ((day, rows.calls), *rows.others.items()):
        stopped = [call_id for call_id, call in calls.items() if is_stopped(call) and not tombstones.is_erased(call_id)]
        audit = open_audit(listed_day)
        for call_id in stopped:
            if call_id in archived(listed_day):
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
