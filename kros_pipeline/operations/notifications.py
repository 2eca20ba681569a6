"""Notifications: one sentence, posted to a webhook as Slack and its like take it.

The webhook's URL is a secret: whoever has it can post there.
"""

from urllib.parse import urlsplit

import requests

from ..core.errors import NotificationFailed
from ..core.settings import is_webhook

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0


def notify(url: str, sentence: str) -> None:
    """Post `{"text": sentence}` to a webhook. Raises `NotificationFailed`, which names the host only."""
    if not is_webhook(url):
        raise NotificationFailed("KROS_WEBHOOK_URL must be a whole https URL.")
    host = urlsplit(url).hostname
    try:
        response = requests.post(
            url, json={"text": sentence}, timeout=(_CONNECT_SECONDS, _READ_SECONDS), allow_redirects=False
        )
    except (requests.RequestException, ValueError) as error:
        raise NotificationFailed(f"The webhook at {host} gave no answer ({type(error).__name__}).") from None
    if not response.ok:
        raise NotificationFailed(f"The webhook at {host} answered {response.status_code}.")
