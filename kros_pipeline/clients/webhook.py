"""One sentence to a webhook, as Slack and its like take it. The URL is a secret: whoever has it can write there."""

from urllib.parse import urlsplit

import requests

from ..core.settings import is_loopback
from .errors import OutsideError
from .http import CONNECT_SECONDS, READ_SECONDS


class NotTold(OutsideError):
    """The webhook did not take the sentence; the message never shows its URL."""


def tell(url: str, sentence: str) -> None:
    """Posts `{"text": sentence}`. Raises `NotTold`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise NotTold("KROS_WEBHOOK_URL cannot be read.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise NotTold("KROS_WEBHOOK_URL must be https.")
    try:
        response = requests.post(
            url, json={"text": sentence}, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False
        )
    except (requests.RequestException, ValueError) as error:
        raise NotTold(f"The webhook at {host} gave no answer ({type(error).__name__}).") from None
    if not response.ok:
        raise NotTold(f"The webhook at {host} answered {response.status_code}.")
