"""One sentence to a webhook, as Slack and its like take it. The URL is a secret: whoever has it can write there."""

from urllib.parse import urlsplit

import requests

from ..core.errors import NotTold
from ..core.settings import is_webhook
from ..source.http import CONNECT_SECONDS, READ_SECONDS


def tell(url: str, sentence: str) -> None:
    """Posts `{"text": sentence}`. Raises `NotTold`."""
    if not is_webhook(url):
        raise NotTold("KROS_WEBHOOK_URL must be a whole https URL.")
    host = urlsplit(url).hostname
    try:
        response = requests.post(
            url, json={"text": sentence}, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False
        )
    except (requests.RequestException, ValueError) as error:
        raise NotTold(f"The webhook at {host} gave no answer ({type(error).__name__}).") from None
    if not response.ok:
        raise NotTold(f"The webhook at {host} answered {response.status_code}.")
