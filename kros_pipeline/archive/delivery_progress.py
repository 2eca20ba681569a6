"""How far the webhook deliveries were read: `state/webhook_deliveries.json`."""

import json
from dataclasses import dataclass
from datetime import datetime

from ..core.days import parse_time
from ..core.object_keys import WEBHOOK_DELIVERIES
from .json_objects import Content, update_parsed
from .object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class DeliveryGap:
    """What a pull left that ended before it came to `read_until`.

    Deliveries sent between `end` and `newest` were read; those between `read_until` and `end` were not. `page` is the
    page of the list, counted from 1, on which the pull read its last delivery.
    """

    newest: datetime
    end: datetime
    page: int


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """Every delivery sent until `read_until` was read, and its day was marked where that was needed; None: not yet."""

    read_until: datetime | None = None
    gap: DeliveryGap | None = None


def read_progress(store: ObjectStore) -> DeliveryProgress:
    """Return how far the deliveries were read; nothing was where there is no state, or where it cannot be read."""
    body = store.read(WEBHOOK_DELIVERIES)
    return (_parse(body) if body is not None else None) or DeliveryProgress()


def save_progress(store: ObjectStore, progress: DeliveryProgress) -> None:
    """Save how far the deliveries were read. Where another run has read further meanwhile, its state stays."""

    def change(present: DeliveryProgress | None) -> DeliveryProgress:
        if present is None or present.read_until is None:
            return progress
        is_behind = progress.read_until is None or progress.read_until < present.read_until
        return present if is_behind else progress

    update_parsed(store, WEBHOOK_DELIVERIES, change, parse=_parse, dump=_dump)


def _dump(progress: DeliveryProgress) -> Content:
    gap = progress.gap
    return {
        "read_until": progress.read_until and progress.read_until.isoformat(),
        "gap": gap and {"newest": gap.newest.isoformat(), "end": gap.end.isoformat(), "page": gap.page},
    }


def _parse(body: bytes) -> DeliveryProgress | None:
    """Parse the stored state; None where it cannot be read: then the deliveries are read anew."""
    try:
        stored = json.loads(body)
        gap = stored["gap"]
        parsed = gap and DeliveryGap(_time(gap["newest"]), _time(gap["end"]), int(gap["page"]))
        return DeliveryProgress(stored["read_until"] and _time(stored["read_until"]), parsed)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _time(text: object) -> datetime:
    time = parse_time(text)
    if time is None:
        raise ValueError("no time")
    return time
