"""Notification targets: chats, mail and webhooks, by their URLs. A URL is a secret: whoever has it can post there.

apprise knows how each service wants its messages. It is imported where a target is opened: it takes a third of a
second. It logs URLs and answers, so that nothing of what it logs is shown.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from ..core.errors import NotificationFailed
from ..core.settings import is_loopback, is_webhook
from .client_logs import without_client_logs

_CONNECT_SECONDS, _READ_SECONDS = 4.0, 12.0  # a tick of Dagster's sensors has 60, for all targets
_APP = "kros_pipeline"


@dataclass(frozen=True)
class NotificationTarget:
    """One target. `name` shows its kind and, of a webhook, its host; `send` takes a title and a body."""

    name: str
    send: Callable[[str, str], None] = field(repr=False)


def open_targets(urls: Iterable[str]) -> list[NotificationTarget]:
    """Open the target of each URL, in their order; equal names get a number. No request is made.

    Raises `NotificationFailed`, which shows nothing of the URL but its scheme, for a URL that no service accepts.
    """
    targets: list[NotificationTarget] = []
    for number, url in enumerate(dict.fromkeys(urls), 1):
        name, send = _open_target(url, number)
        count = sum(target.name.partition(" (")[0] == name for target in targets)
        targets.append(NotificationTarget(f"{name} ({count + 1})" if count else name, send))
    return targets


def notify(url: str, message: str) -> None:
    """Post `{"text": message}` to a webhook, as Slack and its like take it.

    Raises `NotificationFailed`, which names the host only.
    """
    if not is_webhook(url):
        raise NotificationFailed("A webhook must be a whole https URL.")
    host = urlsplit(url).hostname
    try:
        with (
            without_client_logs(),
            requests.post(
                url,
                json={"text": message},
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                allow_redirects=False,
                stream=True,  # the status says it: a body that never ends would hold up the sensor
            ) as response,
        ):
            status = response.status_code
    except (requests.RequestException, ValueError) as error:
        raise NotificationFailed(f"The webhook at {host} gave no answer ({type(error).__name__}).") from None
    if not 200 <= status < 300:  # a redirect accepted nothing
        raise NotificationFailed(f"The webhook at {host} answered {status}.")


def _open_target(url: str, number: int) -> tuple[str, Callable[[str, str], None]]:
    """Return a target's name and how to send to it. A web address that no service knows is a plain webhook."""
    scheme = url.partition("://")[0].lower()
    plugin = _open_plugin(url)
    if plugin is not None:
        _refuse_plain_text(plugin, scheme, number)
        return _name(plugin, scheme), lambda title, body: _send(plugin, title, body)
    if scheme in ("https", "http") and is_webhook(url):
        return f"webhook at {urlsplit(url).hostname}", lambda title, body: notify(url, f"{title}\n\n{body}")
    raise NotificationFailed(
        f"Notification target {number} ({scheme}://…) is no URL that apprise understands: compare it with the page of "
        "the service at https://appriseit.com. Nothing is sent to it."
    )


def _open_plugin(url: str) -> Any:
    """Return apprise's plugin of a URL; None where no service accepts it."""
    import apprise

    asset = apprise.AppriseAsset(
        app_id=_APP, app_desc="archive of calls", app_url="", image_url_mask="", image_url_logo="", http_redirects=False
    )
    try:
        with without_client_logs(), warnings.catch_warnings():
            # The first target loads all plugins; that of mail imports a module that Python 3.13 has no more.
            warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
            plugin = apprise.Apprise.instantiate(url, asset=asset)
    except Exception as error:  # its message may hold the URL
        raise NotificationFailed(f"apprise cannot read a notification target ({type(error).__name__}).") from None
    if plugin is not None:
        plugin.redirects = False  # whatever the URL asks for: a redirect may lead into the private network
        plugin.socket_read_timeout = max(plugin.socket_read_timeout, _READ_SECONDS)
    return plugin


def _refuse_plain_text(plugin: Any, scheme: str, number: int) -> None:
    """Raise where a message would cross the network in the clear although the service takes https, too."""
    plain = plugin.protocol or ()
    is_plain = scheme in ((plain,) if isinstance(plain, str) else plain) and bool(plugin.secure_protocol)
    if is_plain and "mail" not in scheme and not is_loopback(plugin.host or ""):
        raise NotificationFailed(
            f"Notification target {number} ({scheme}://…) is not encrypted: use {scheme}s://. Nothing is sent to it."
        )


def _name(plugin: Any, scheme: str) -> str:
    """Return a name without a secret. A webhook's or a mail server's host says which one it is."""
    name = str(plugin.service_name)
    has_own_host = scheme.startswith(("json", "xml", "form", "mail"))
    return f"{name} at {plugin.host}" if has_own_host and plugin.host else name


def _send(plugin: Any, title: str, body: str) -> None:
    import apprise

    try:
        with without_client_logs() as logged:
            is_sent = plugin.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # its message may hold the URL, or what was answered
        raise NotificationFailed(f"{plugin.service_name}: the message was not sent ({type(error).__name__}).") from None
    if not is_sent:
        status = f" (status {logged[-1]})" if logged else ""
        raise NotificationFailed(f"{plugin.service_name} did not accept the message{status}.")
