"""The sensor: what changed is sent to the targets of notifications."""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from .archive.settings import ARCHIVE_URL
from .core.errors import ExternalError
from .core.notification_settings import NotificationSettings, parse_notification_settings
from .core.notification_state import Problem, day_of_subject, merge_states, observe
from .core.settings import BadSettings, SettingsReader
from .failures import failure
from .partitions import backfill_is_under_way
from .resources import Archive
from .run_outcomes import RunOutcomes, read_run_outcomes
from .runbook import link_runbook

if TYPE_CHECKING:
    from .archive.notification_notes import NotificationNotes
    from .operations.change_notifications import Notified
    from .operations.notifications import NotificationTarget
    from .steps.run_context import RunContext

_OPENING_SECONDS = 20.0  # of the 60 that a tick has: the targets need the others


@dg.sensor(
    name="notify_of_changes",
    description="Sends to KROS_NOTIFY and KROS_WEBHOOK_URL, once, when a day, a standing check or a job becomes red, "
    "becomes worse, or is resolved. It names no call.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def notify_of_changes(context: dg.SensorEvaluationContext, archive: Archive) -> dg.SkipReason:
    """Look at the runs that ended since the last look, and send what changed, in one message to each target."""
    from .operations.notifications import open_targets
    from .steps.run_context import SYSTEM_CLOCK

    try:
        settings = parse_notification_settings(archive.texts())
        if not settings.urls:
            return dg.SkipReason("Neither KROS_NOTIFY nor KROS_WEBHOOK_URL is set: nobody is notified.")
        targets = open_targets(settings.urls)
    except (BadSettings, ExternalError) as error:
        raise failure(error, "nobody is notified before that; `make notify-test` tries each target") from None
    cursor = _read_cursor(context.cursor)
    outcomes = read_run_outcomes(context.instance, cursor["after"], SYSTEM_CLOCK.now())
    if not outcomes.observations and not cursor["is_pending"]:
        context.update_cursor(_write_cursor(outcomes, cursor["state"]))
        return dg.SkipReason("No run ended that shows anything new.")
    notified, state = _notify(context, archive, settings, targets, outcomes, cursor["state"])
    context.update_cursor(_write_cursor(outcomes, state, is_pending=notified.is_pending))
    for sentence in notified.failures:
        context.log.warning(f"{sentence} It is tried again.")
    return dg.SkipReason("; ".join([*notified.sent, *notified.failures]) or "Nothing changed.")


def _read_cursor(text: str | None) -> dict[str, Any]:
    """Return what the last look left: the last event, whether a target waits, and the state that no archive keeps."""
    empty: dict[str, Any] = {"after": None, "is_pending": False, "state": ""}
    try:
        left: dict[str, Any] = json.loads(text or "{}")
        return empty | left
    except (ValueError, TypeError):
        return empty


def _write_cursor(outcomes: RunOutcomes, state: str, *, is_pending: bool = False) -> str:
    return json.dumps({"after": outcomes.last_event, "is_pending": is_pending, "state": state})


def _notify(
    context: dg.SensorEvaluationContext,
    archive: Archive,
    settings: NotificationSettings,
    targets: "list[NotificationTarget]",
    outcomes: RunOutcomes,
    kept: str,
) -> "tuple[Notified, str]":
    """Write what was seen into the state, and send. Return the state as a text where the archive cannot keep it.

    Where settings are bad, the bucket is down, or the archive is nobody's yet, that is when somebody must be notified.
    """
    from .archive.notification_notes import ArchiveNotes, TextNotes
    from .archive.seal_chain import describe_head_or_fault
    from .operations.change_notifications import Links, observe_days, send_changes
    from .steps.run_context import SYSTEM_CLOCK

    def send(notes: "NotificationNotes", seal_head: Callable[[], str] = lambda: "") -> "Notified":
        return send_changes(
            notes,
            targets,
            links=Links(lambda run_id: f"{settings.ui_url}/runs/{run_id}", find_runbook_link, seal_head),
            archive_url=_name_archive(archive),
            now=SYSTEM_CLOCK.now,
            me=uuid.uuid4().hex,
            is_backfill=backfill_is_under_way(context.instance),
        )

    text_notes = TextNotes(kept)
    ctx = _open_claimed_archive(context, archive)
    if ctx is not None:
        try:
            notes = ArchiveNotes(ctx.store)
            state = notes.update(lambda present: merge_states(present, text_notes.state) if kept else present)
            red = state.red if outcomes.looked_at_archive else {}
            seen = observe_days(outcomes.observations, red, tables=ctx.tables)
            notes.update(lambda present: observe(present, seen))
            return send(notes, partial(describe_head_or_fault, ctx.store, ctx.clock)), ""
        except ExternalError as error:
            context.log.warning(f"The archive does not keep what was sent, so that Dagster does: {error}")
    unconfirmed = {
        subject: what
        for subject, what in outcomes.observations.items()
        if isinstance(what, Problem) or day_of_subject(subject) is None
    }
    text_notes.update(lambda present: observe(present, unconfirmed))
    return send(text_notes), text_notes.to_text()


def _name_archive(archive: Archive) -> str:
    """Return the URL of the archive. What is set in its place may be anything, a secret too, and is not shown."""
    text = archive.texts()[ARCHIVE_URL.name]
    reader = SettingsReader({ARCHIVE_URL.name: text})
    reader.required(ARCHIVE_URL, ("", ""))
    return f"{ARCHIVE_URL.name} is missing or bad" if reader.problems else text.strip()


def _open_claimed_archive(context: dg.SensorEvaluationContext, archive: Archive) -> "RunContext | None":
    """Return the run context; None where the archive cannot be used, or is nobody's: then nothing is written there.

    A bucket that does not answer is not waited for: Dagster would end the tick before anybody is notified.
    """
    opened: Future[RunContext] = Future()

    def open_archive() -> None:
        try:
            opened.set_result(archive.open(context))
        except Exception as error:
            opened.set_exception(error)

    threading.Thread(target=open_archive, name="notify-open-archive", daemon=True).start()
    try:
        ctx = opened.result(timeout=_OPENING_SECONDS)
    except (dg.Failure, TimeoutError):
        return None
    return ctx if ctx.identity.is_claimed else None


def find_runbook_link(subject: str) -> str:
    """Return the place of the runbook's section about a subject: a day, a check or a job."""
    return link_runbook("incomplete" if day_of_subject(subject) is not None else subject.partition(" ")[2])
