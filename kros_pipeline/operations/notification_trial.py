"""Try the targets of notifications: one test message to each, and a line for each that says whether it was accepted."""

from collections.abc import Iterator, Mapping

from ..core.errors import NotificationFailed
from ..core.notification_settings import HEARTBEAT_URL, NOTIFY, WEBHOOK_URL, parse_notification_settings
from ..core.settings import BadSettings
from .heartbeat import ping_heartbeat
from .notifications import open_targets
from .preflight_result import Outcome, PreflightResult

_TITLE = "Test message of kros_pipeline"
_BODY = (
    "Nothing happened. You get this because somebody launched `make notify-test`. When a day, a standing check or a "
    "job becomes red, becomes worse, or is resolved, you get one message that says what to do."
)


def try_targets(texts: Mapping[str, str | None]) -> Iterator[PreflightResult]:
    """Send a test message to each target, and ping the heartbeat. Yield a result for each as soon as it is known."""
    try:
        settings = parse_notification_settings(texts)
        targets = open_targets(settings.urls)
    except BadSettings as error:
        yield from (PreflightResult("settings", Outcome.FAILED, problem) for problem in error.problems)
        return
    except NotificationFailed as error:
        yield PreflightResult("settings", Outcome.FAILED, f"{NOTIFY.name}: {error}")
        return
    if not targets:
        yield PreflightResult(
            "targets", Outcome.SKIPPED, f"none is set: set {NOTIFY.name} or {WEBHOOK_URL.name} to be notified."
        )
    for target in targets:
        try:
            target.send(_TITLE, _BODY)
            yield PreflightResult(target.name, Outcome.OK, "the message was accepted. Look whether it arrived.")
        except NotificationFailed as error:
            yield PreflightResult(target.name, Outcome.FAILED, f"{error} Compare the URL with the service's page.")
    if settings.heartbeat_url is None:
        yield PreflightResult("heartbeat", Outcome.SKIPPED, f"{HEARTBEAT_URL.name} is not set.")
        return
    try:
        ping_heartbeat(settings.heartbeat_url)
        yield PreflightResult("heartbeat", Outcome.OK, "the ping was accepted.")
    except NotificationFailed as error:
        yield PreflightResult("heartbeat", Outcome.FAILED, f"{error} Copy the ping URL from the switch's page again.")
