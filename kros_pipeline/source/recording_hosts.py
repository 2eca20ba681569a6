"""Reach a recording host without the URL of a recording: its name, its address, its certificate, the proxy."""

from urllib.parse import urlsplit

from ..core.clock import Clock
from ..core.errors import DownloadBroken
from ..core.settings import is_loopback
from .pinned_clients import PinnedClients
from .settings import SourceSettings
from .storage_answers import BrokenTransfer

_SECONDS = 10.0


def find_origin(host: str, settings: SourceSettings) -> str | None:
    """Return the origin of a host of `KROS_RECORDING_HOSTS`; None for this machine without a port."""
    parts, api = urlsplit(f"//{host}"), urlsplit(settings.base_url)
    if not is_loopback(parts.hostname or ""):
        return f"https://{host}"
    if parts.port is None and parts.hostname == api.hostname and api.port is not None:
        return f"{api.scheme}://{host}:{api.port}"
    return None if parts.port is None else f"{api.scheme}://{host}"


def reach_recording_host(origin: str, settings: SourceSettings, clock: Clock) -> int:
    """Connect as a download does, and return the HTTP status of the answer, whatever it is.

    Raises `UrlRefused` where the address is not public, and `DownloadBroken` where there is no answer.
    """
    clients = PinnedClients(
        1, {}, clock, loopback_allowed=is_loopback(urlsplit(settings.base_url).hostname or ""), stall_seconds=_SECONDS
    )
    try:
        with clients.send(f"{origin}/", {}) as answer:
            return answer.status
    except BrokenTransfer as error:
        raise DownloadBroken(
            f"it cannot be reached ({error}): compare KROS_RECORDING_HOSTS with the hosts of the recordings' URLs, and "
            "look at the network, its proxy and its certificates."
        ) from None
    finally:
        clients.close()
