"""What the bucket's server can do: probed, stored in `state/capabilities.json`, and probed again after 30 days.

S3-compatible servers differ in what they honour, and some answer 200 to what they ignore. Whatever a step relies on is
tried once, before anything is archived. The probe of the daily work uses one object, which stays: the daily role has no
right to delete. Erasure probes for itself, by its own role.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from ..core.clock import Clock
from ..core.days import parse_time
from ..core.object_keys import CAPABILITIES
from .daily_probe import probe_daily_work
from .erasure_probe import ErasureProbe, probe_erasure
from .governance import Governance
from .json_objects import Content, update_parsed
from .object_store import ObjectStore

_VALID_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What was found of one server: by the probe of the daily work, and by that of erasure if there was one.

    `encryption` is what the settings ask for, and the server was found to apply. `compares_sha256` is False where it
    takes a body of another SHA-256 than the request names.
    """

    endpoint: str
    server: str
    encryption: str | None
    compares_sha256: bool
    probed_at: datetime
    erasure: ErasureProbe | None = None

    def is_of(self, store: ObjectStore, now: datetime) -> bool:
        """Return whether this was found of the store's server, with its encryption, at most 30 days ago."""
        is_same = (self.endpoint, self.encryption) == (store.server.endpoint, store.server.encryption)
        return is_same and abs(now - self.probed_at) < _VALID_FOR

    def describe(self) -> dict[str, str]:
        """Return what an operator sees, by its name."""
        erasure = self.erasure
        return {
            "S3 server": f"{self.server or 'no name given'} at {self.endpoint}, probed on {self.probed_at.date()}",
            "S3 create-only and conditional writes": "honoured",
            "S3 encryption": f"{self.encryption}, applied" if self.encryption else "the bucket's default; none asked",
            "S3 SHA-256 of a body": "compared" if self.compares_sha256 else "not compared: audio is read back",
            "S3 erasure": erasure.describe() if erasure is not None else "not probed: erase_calls was never launched",
        }


def require_daily_capabilities(store: ObjectStore, clock: Clock) -> Capabilities:
    """Return what the store's server can do; it is probed where that is not known. Audio is read back if needed.

    Raises `UnfitStore` where the server lacks what the daily work relies on. Nothing is archived then.
    """
    found = read_capabilities(store)
    if found is None or not found.is_of(store, clock.now()):
        server = store.server
        compares_sha256 = probe_daily_work(store)
        probed = Capabilities(server.endpoint, server.name, server.encryption, compares_sha256, clock.now())
        found = _update(store, lambda known: replace(probed, erasure=_erasure_of(known, probed)))
    store.reads_audio_back = not found.compares_sha256
    return found


def require_erasure_capabilities(store: ObjectStore, governance: Governance, clock: Clock) -> None:
    """Probe what erasure relies on, if that is not known. Raises `UnfitStore` where the store lacks it."""
    found, now = require_daily_capabilities(store, clock), clock.now()
    last = found.erasure
    if last is not None and last.is_enough() and abs(now - last.probed_at) < _VALID_FOR:
        return
    erasure = probe_erasure(store, governance, now)
    _update(store, lambda known: replace(known or found, erasure=erasure))


def read_capabilities(store: ObjectStore) -> Capabilities | None:
    """Return what was found last; None where nothing was, or where it cannot be read."""
    body = store.read(CAPABILITIES)
    return _parse(body) if body is not None else None


def _erasure_of(known: Capabilities | None, probed: Capabilities) -> ErasureProbe | None:
    return known.erasure if known is not None and known.endpoint == probed.endpoint else None


def _update(store: ObjectStore, change: Callable[[Capabilities | None], Capabilities]) -> Capabilities:
    return update_parsed(store, CAPABILITIES, change, parse=_parse, dump=_dump)


def _dump(found: Capabilities) -> Content:
    erasure = found.erasure
    content = asdict(found) | {"probed_at": found.probed_at.isoformat()}
    content["erasure"] = erasure and asdict(erasure) | {"probed_at": erasure.probed_at.isoformat()}
    return content


def _parse(body: bytes) -> Capabilities | None:
    try:
        stored = json.loads(body)
        erasure = stored["erasure"]
        found = Capabilities(**stored | {"probed_at": _time(stored), "erasure": None})
        return replace(found, erasure=ErasureProbe(**erasure | {"probed_at": _time(erasure)}) if erasure else None)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _time(stored: Content) -> datetime:
    time = parse_time(stored["probed_at"])
    if time is None:
        raise ValueError("no time")
    return time
