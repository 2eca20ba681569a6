"""Stops the calls of phone numbers that were erased for good: such a call gets a tombstone when it is listed."""

from collections.abc import Callable
from datetime import date

from ..archive.audit_log import AuditEvent, AuditLog
from ..archive.tombstones import Tombstones
from ..core.phone_numbers import digits_of
from .listed_rows import ListedRows

_REASON = "a call of a number that was erased, and whose later calls are not archived"


def stop_calls(day: date, rows: ListedRows, tombstones: Tombstones, open_audit: Callable[[date], AuditLog]) -> None:
    """Write a tombstone, and an audit line, for each listed call from or to a number that has a tombstone itself."""
    is_stopped: dict[str, bool] = {}
    for listed_day, calls in ((day, rows.calls), *rows.others.items()):
        audit = open_audit(listed_day)
        for call in calls.values():
            numbers = [number for number in (call.from_number, call.to_number) if number]
            for number in numbers:
                if number not in is_stopped:
                    is_stopped[number] = tombstones.is_number_stopped({number, digits_of(number)})
            if any(is_stopped[number] for number in numbers) and not tombstones.is_erased(call.call_id):
                tombstones.add_call(listed_day, call.call_id)
                audit.record(AuditEvent.ERASED, call.call_id, reason=_REASON)
        audit.write()
