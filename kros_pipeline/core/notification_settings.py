"""The settings of notifications: where changes of state are sent, what is pinged, and where the Dagster UI is.

They are parsed by themselves, too: a run may have failed because another setting is bad.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .settings import BadSettings, BadValue, Setting, SettingsReader, is_webhook

_BETWEEN_URLS = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_IS_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/]\S*").fullmatch


def _parse_webhook(text: str) -> str:
    """Parse a URL that is a secret: who has it can post there."""
    if not is_webhook(text):
        raise BadValue("must be a whole https URL.")
    return text


def _parse_notify(text: str) -> tuple[str, ...]:
    """Parse URLs with blanks or commas between them. Whether a service accepts them is seen when they are opened."""
    urls = tuple(url.rstrip(",") for url in _BETWEEN_URLS.split(text.strip(" ,")))
    for number, url in enumerate(urls, 1):
        if not (_IS_URL(url) and url.isprintable()):
            raise BadValue(
                "must hold URLs like slack://… or jsons://host/path, with blanks between them; "
                f"number {number} is none."
            )
        if url.lower().startswith(("http://", "https://")) and not is_webhook(url):
            raise BadValue(f"must hold whole https URLs only where a webhook is meant; number {number} is none.")
    return urls


def _parse_ui_url(text: str) -> str:
    """Parse the URL of the Dagster UI, and return it without a slash at its end."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port  # raises where it is no port
    except ValueError:
        is_url = False
    if not is_url or "?" in text or "#" in text or not text.isprintable() or " " in text:
        raise BadValue("must look like https://dagster.example.com, without user, query or fragment.")
    return text.rstrip("/")


NOTIFY = Setting(
    "KROS_NOTIFY",
    None,
    "where changes of state are sent: URLs of [apprise](https://appriseit.com), such as `slack://…`, `mailtos://…` or "
    "`jsons://host/path`, or a webhook's `https://…`, with blanks between them",
    _parse_notify,
    is_secret=True,
)
WEBHOOK_URL = Setting(
    "KROS_WEBHOOK_URL",
    None,
    'one more target, the older way: it gets `{"text": "<message>"}`',
    _parse_webhook,
    is_secret=True,
)
HEARTBEAT_URL = Setting(
    "KROS_HEARTBEAT_URL",
    None,
    "a URL of a dead man's switch, such as Healthchecks, that is asked for (GET) after each hourly look",
    _parse_webhook,
    is_secret=True,
)
UI_URL = Setting(
    "KROS_UI_URL",
    "http://127.0.0.1:3000",
    "where the Dagster UI is, for the links in notifications; Dagster does not know it",
    _parse_ui_url,
)
NOTIFICATION_SETTINGS: tuple[Setting[Any], ...] = (NOTIFY, WEBHOOK_URL, HEARTBEAT_URL, UI_URL)


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """Where changes are sent, what is pinged, and where the UI is. `urls` has the webhook's, too."""

    urls: tuple[str, ...] = field(repr=False)
    heartbeat_url: str | None = field(repr=False)
    ui_url: str


def read_notification_settings(reader: SettingsReader) -> NotificationSettings:
    """Read the settings of notifications. Problems are collected in the reader."""
    webhook = reader.optional(WEBHOOK_URL, None)
    return NotificationSettings(
        urls=(*reader.optional(NOTIFY, ()), *([webhook] if webhook else [])),
        heartbeat_url=reader.optional(HEARTBEAT_URL, None),
        ui_url=reader.value(UI_URL),
    )


def parse_notification_settings(texts: Mapping[str, str | None]) -> NotificationSettings:
    """Parse these settings only. Raises `BadSettings`."""
    reader = SettingsReader(texts)
    settings = read_notification_settings(reader)
    if reader.problems:
        raise BadSettings(reader.problems)
    return settings
