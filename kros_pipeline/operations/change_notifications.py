"""Notify each target of what changed: once, together, and again later where a target did not accept it.

The state is written before and after a message is sent. A process that dies in between sends the message twice, and
never not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from ..archive.notification_notes import NotificationNotes
from ..archive.tables import Tables
from ..core.errors import NotificationFailed
from ..core.notification_state import (
    NotificationState,
    Observation,
    Problem,
    Resolution,
    Target,
    claim,
    day_of_subject,
    find_changes,
    keep_targets,
    may_send,
    record_failure,
    record_sent,
)
from ..core.notification_text import write_body, write_title
from ..core.statuses import DayVerdict
from ..core.worker_threads import worker_threads
from .day_rows import read_day_rows
from .notifications import NotificationTarget

_THREADS = 16
_BETWEEN_MESSAGES_OF_A_BACKFILL = timedelta(hours=1)


@dataclass
class Notified:
    """What was sent. `is_pending` is True where a target has to be tried again."""

    sent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_pending: bool = False


@dataclass(frozen=True)
class Links:
    """What a message links to: the page of a run, and the section of the runbook about a subject.

    `seal_head` returns the head of the seal chain, empty where there is none. It is asked for when a message is sent.
    """

    run_url: Callable[[str], str]
    runbook_url: Callable[[str], str]
    seal_head: Callable[[], str] = lambda: ""


def observe_days(
    observations: Mapping[str, Observation], red: Iterable[str], *, tables: Tables
) -> dict[str, Observation]:
    """Return what the archive's own rows say of days: of those that a run was about, and of all that are red.

    A failed run's day stays red, with the number of its recordings that are not safe. A day whose row is not
    incomplete any more is resolved, whoever reconciled it; a successful run of a part of the day is not enough.
    """
    seen = dict(observations)
    days = {subject: day for subject in {*observations, *red} if (day := day_of_subject(subject)) is not None}
    with worker_threads(_THREADS, "day-rows") as pool:
        rows = read_day_rows(days.values(), tables, pool).rows
    for subject, day in days.items():
        run, row = observations.get(subject), rows[day]
        if isinstance(run, Problem):
            if row is not None and row["verdict"] == DayVerdict.INCOMPLETE:
                count = row["recordings_failed"] + row["recordings_lost"]
                seen[subject] = replace(run, count=max(1, count))
        elif row is not None and row["verdict"] != DayVerdict.INCOMPLETE:
            words = "is complete" if row["verdict"] == DayVerdict.COMPLETE else "waits for late data: nothing to do"
            at = max(row["checked_at"].isoformat(), run.at if run else "")
            seen[subject] = Resolution(f"{day} {words}.", at, run.run_id if run else "")
        else:
            seen.pop(subject, None)
    return seen


def send_changes(
    notes: NotificationNotes,
    targets: Sequence[NotificationTarget],
    *,
    links: Links,
    archive_url: str,
    now: Callable[[], datetime],
    me: str,
    is_backfill: bool = False,
) -> Notified:
    """Send each target what it does not know yet, in one message.

    `me` names this process. While a backfill runs, days are reported once an hour, and when it is over; checks and jobs
    are reported at once.
    """
    notified = Notified()
    names = [target.name for target in targets]
    state = notes.update(lambda present: keep_targets(present, names))
    for target in targets:
        changes = find_changes(state, target.name)
        if not changes:
            continue
        notified.is_pending = True
        last = state.targets.get(target.name, Target())
        may_wait = is_backfill and all(day_of_subject(change.subject) is not None for change in changes)
        if not may_send(last, now(), me=me) or (may_wait and _was_sent_lately(last, now())):
            continue
        state = notes.update(partial(claim, name=target.name, now=now(), me=me))
        if state.targets[target.name].claimed_by != me:
            continue  # another deployment is sending
        state = _send_to(target, state, notes, links, archive_url, now, notified)
    notified.is_pending = any(find_changes(state, name) for name in names)
    return notified


def _was_sent_lately(target: Target, now: datetime) -> bool:
    return bool(target.sent_at) and now < datetime.fromisoformat(target.sent_at) + _BETWEEN_MESSAGES_OF_A_BACKFILL


def _send_to(
    target: NotificationTarget,
    state: NotificationState,
    notes: NotificationNotes,
    links: Links,
    archive_url: str,
    now: Callable[[], datetime],
    notified: Notified,
) -> NotificationState:
    changes = find_changes(state, target.name)
    if not changes:
        return notes.update(lambda present: record_sent(present, target.name, [], now()))
    body = write_body(changes, run_url=links.run_url, runbook_url=links.runbook_url, seal_head=links.seal_head())
    try:
        target.send(write_title(changes, archive_url), body)
    except NotificationFailed as error:
        notified.failures.append(f"{target.name}: {error}")
        return notes.update(lambda present: record_failure(present, target.name, now()))
    notified.sent.append(f"{target.name}: {len(changes)} changes")
    return notes.update(lambda present: record_sent(present, target.name, changes, now()))
