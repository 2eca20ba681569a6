"""The heartbeat: a dead man's switch outside of Dagster is pinged after each hourly look, whatever the look found.

Where schedules, the daemon or the machine stop, no notification is sent either: then the pings that do not come are
the alarm. The URL is a secret: whoever has it can ping, too.
"""

from urllib.parse import urlsplit

import requests

from ..core.errors import NotificationFailed
from .client_logs import without_client_logs

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 10.0


def ping_heartbeat(url: str) -> None:
    """Ask for the URL once. Raises `NotificationFailed`, which names the host only."""
    host = urlsplit(url).hostname
    try:
        with (
            without_client_logs(),
            requests.get(
                url, timeout=(_CONNECT_SECONDS, _READ_SECONDS), allow_redirects=False, stream=True
            ) as response,
        ):
            status = response.status_code
    except (requests.RequestException, ValueError) as error:
        raise NotificationFailed(f"KROS_HEARTBEAT_URL: {host} gave no answer ({type(error).__name__}).") from None
    if not 200 <= status < 300:
        raise NotificationFailed(f"KROS_HEARTBEAT_URL: {host} answered {status}.")
