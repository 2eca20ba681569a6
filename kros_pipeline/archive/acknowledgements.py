"""Acknowledgements: calls whose recording an operator knows not to be safe, so that their day may be complete."""

from datetime import date, datetime

from ..core.object_keys import acknowledged_key, acknowledged_prefix
from .json_objects import create_json, list_names
from .object_store import ObjectStore


def acknowledged_call_keys(store: ObjectStore, day: date) -> frozenset[str]:
    """Return the call keys of a day that an operator has acknowledged."""
    return list_names(store, acknowledged_prefix(day))


def acknowledge(store: ObjectStore, day: date, call_id: str, at: datetime) -> None:
    """Write that a call's loss is acknowledged; an earlier acknowledgement stays."""
    create_json(store, acknowledged_key(day, call_id), {"call_id": call_id, "acknowledged_at": at.isoformat()})
