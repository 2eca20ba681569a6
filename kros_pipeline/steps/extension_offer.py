"""Remembers whether the account's deployment offers extensions at all: a 404 to one may say that it does not.

`recording/extend` is documented on one page and missing in another. Where upstream answers 404 to it and has the
recording of the same call, no other call will be extended either. Upstream is then asked once a week, not once a call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock

from ..archive.json_objects import Content, read_json, update_json
from ..archive.object_store import ObjectStore
from ..core.clock import Clock
from ..core.days import parse_time
from ..core.object_keys import EXTEND_NOT_OFFERED

_ASK_AGAIN_AFTER = timedelta(days=7)


class ExtensionOffer:
    """What one run knows of the offer; threads share it. Requests go one by one until upstream has accepted one."""

    def __init__(self, store: ObjectStore, clock: Clock):
        self._store, self._clock = store, clock
        self._lock = Lock()
        self._is_offered = False

    @contextmanager
    def one_by_one(self) -> Iterator[None]:
        """Make other requests wait while it is not known whether extensions are offered: the first 404 ends them."""
        if self._is_offered:
            yield
            return
        with self._lock:
            yield

    def refusal(self) -> str | None:
        """Return why a request need not be sent; None where it is to be sent."""
        if self._is_offered:
            return None
        known = read_json(self._store, EXTEND_NOT_OFFERED)
        asked_at = parse_time(known.get("not_offered_at")) if known is not None else None
        if asked_at is None or self._clock.now() - asked_at >= _ASK_AGAIN_AFTER:
            return None
        return _describe(asked_at)

    def on_not_offered(self) -> str:
        """Remember for a week that extensions are not offered; return the reason."""
        now = self._clock.now()
        update_json(self._store, EXTEND_NOT_OFFERED, lambda _: {"not_offered_at": now.isoformat()})
        return _describe(now)

    def on_accepted(self) -> None:
        """Forget an earlier refusal: an operator had a request resent, or the week was over."""
        if not self._is_offered and read_json(self._store, EXTEND_NOT_OFFERED) is not None:
            update_json(self._store, EXTEND_NOT_OFFERED, _forget)
        self._is_offered = True


def _forget(_: Content | None) -> Content:
    return {"not_offered_at": None}


def _describe(asked_at: datetime) -> str:
    return (
        f"not offered here: on {asked_at.date()} upstream answered 404 to an extension of a recording that it has. "
        "For a week, new decisions are refused without asking"
    )
