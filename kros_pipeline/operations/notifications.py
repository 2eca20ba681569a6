"""One sentence to a webhook, as Slack and its like take it. The URL is a secret: whoever has it can write there."""

from urllib.parse import urlsplit

import requests

from ..core.errors import NotificationFailed
from ..core.settings import is_webhook
from ..source.http import CONNECT_SECONDS, READ_SECONDS


def notify(url: str, sentence: str) -> None:
    """Posts `{"text": sentence}`. Raises `NotificationFailed`."""
    if not is_webhook(url):
        raise NotificationFailed("KROS_WEBHOOK_URL must be a whole https URL.")
    host = urlsplit(url).hostname
    try:
        response = requests.post(
            url, json={"text": sentence}, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False
        )
    except (requests.RequestException, ValueError) as error:
        raise NotificationFailed(f"The webhook at {host} gave no answer ({type(error).__name__}).") from None
    if not response.ok:
        raise NotificationFailed(f"The webhook at {host} answered {response.status_code}.")
