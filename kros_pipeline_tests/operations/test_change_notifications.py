"""Changes are sent once to each target, together, and again later where a target was down; the archive keeps what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.notification_notes import ArchiveNotes, NotificationNotes, TextNotes
from kros_pipeline.core.errors import NotificationFailed
from kros_pipeline.core.notification_state import (
    Level,
    Observation,
    Problem,
    Resolution,
    claim,
    day_subject,
    observe,
)
from kros_pipeline.core.object_keys import NOTIFICATIONS
from kros_pipeline.operations.change_notifications import Links, Notified, observe_days, send_changes
from kros_pipeline.operations.notifications import NotificationTarget
from kros_pipeline_tests.operations.test_backlog import checked
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCallSource
from kros_pipeline_tests.support.memory_store import MemoryArchive, MemoryObjectStore, open_memory_run

NOW = datetime(2025, 1, 20, 12, tzinfo=UTC)
DAY = date(2025, 1, 10)
LINKS = Links(lambda run_id: f"https://ui/runs/{run_id}", lambda _: "docs/runbook.md")
_numbers = itertools.count(1)


class FakeTarget:
    """Keeps what it is sent; refuses as often as it is told."""

    def __init__(self, name: str) -> None:
        self.name, self.sent, self.refusals = name, list[tuple[str, str]](), 0

    def send(self, title: str, body: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NotificationFailed("it answered 503.")
        self.sent.append((title, body))


@pytest.fixture
def archive() -> Iterator[MemoryArchive]:
    archive = MemoryArchive("change-notifications", f"test-{next(_numbers)}")
    yield archive
    archive.forget()


@pytest.fixture(params=["archive", "text"])
def notes(request: pytest.FixtureRequest, archive: MemoryArchive) -> NotificationNotes:
    return TextNotes() if request.param == "text" else notes_of(archive)


def notes_of(archive: MemoryArchive) -> ArchiveNotes:
    return ArchiveNotes(MemoryObjectStore(archive.bucket, archive.prefix))


def red(minute: int = 0, count: int = 1, level: Level = Level.ERROR) -> Problem:
    at = (NOW + timedelta(minutes=minute)).isoformat()
    return Problem(level, "It is incomplete.", at, "Mend it.", "run-1", count)


def look(
    notes: NotificationNotes,
    targets: list[FakeTarget],
    seen: dict[str, Observation],
    *,
    minute: int = 0,
    me: str = "a",
    **options: Any,
) -> Notified:
    notes.update(lambda present: observe(present, seen))
    opened = [NotificationTarget(target.name, target.send) for target in targets]
    now = NOW + timedelta(minutes=minute)
    return send_changes(notes, opened, links=LINKS, archive_url="s3://b/p", now=lambda: now, me=me, **options)


def test_what_changed_is_one_message_and_the_same_again_is_none(notes: NotificationNotes) -> None:
    chat = FakeTarget("chat")
    days = {day_subject(DAY + timedelta(days=number)): red() for number in range(300)}
    look(notes, [chat], {**days, "check x": red()})
    [(title, body)] = chat.sent
    assert title == "301 red: s3://b/p" and "300 days" in body and "check x" in body
    assert not look(notes, [chat], {**days, "check x": red(60)}, minute=60).sent and len(chat.sent) == 1


def test_a_target_that_answers_503_gets_it_later_and_nobody_gets_it_twice(notes: NotificationNotes) -> None:
    chat, mail = FakeTarget("chat"), FakeTarget("mail")
    mail.refusals = 2
    first = look(notes, [chat, mail], {"check x": red()})
    assert first.is_pending and first.failures == ["mail: it answered 503."] and len(chat.sent) == 1
    assert look(notes, [chat, mail], {}).is_pending and mail.refusals == 1, "it rests for a minute"
    look(notes, [chat, mail], {"check y": red(1)}, minute=2)
    assert mail.refusals == 0 and not mail.sent and len(chat.sent) == 2
    last = look(notes, [chat, mail], {}, minute=5)
    assert not last.is_pending and len(chat.sent) == 2
    [(title, _)] = mail.sent
    assert title == "2 red: s3://b/p"


def test_a_process_that_was_killed_while_it_sent_is_followed_by_another(notes: NotificationNotes) -> None:
    chat = FakeTarget("chat")
    notes.update(lambda present: claim(observe(present, {"check x": red()}), "chat", NOW, me="killed"))
    assert look(notes, [chat], {}, minute=1).is_pending and not chat.sent
    look(notes, [chat], {}, minute=6)
    assert len(chat.sent) == 1


def test_of_two_deployments_with_one_archive_one_sends(archive: MemoryArchive) -> None:
    ours, theirs = notes_of(archive), notes_of(archive)
    chat = FakeTarget("chat")

    class Slow(FakeTarget):
        def send(self, title: str, body: str) -> None:
            look(theirs, [chat], {"check x": red()}, me="b")  # the other one looks while this one is sending
            super().send(title, body)

    slow = Slow("chat")
    look(ours, [slow], {"check x": red()}, me="a")
    look(theirs, [chat], {"check x": red(1)}, minute=1, me="b")
    assert len(slow.sent) == 1 and not chat.sent


def test_the_state_outlives_the_process_and_a_damaged_one_notifies_again(archive: MemoryArchive) -> None:
    chat = FakeTarget("chat")
    look(notes_of(archive), [chat], {"check x": red()})
    look(notes_of(archive), [chat], {"check x": red(60)})
    assert len(chat.sent) == 1
    archive.write(NOTIFICATIONS, b"{")
    look(notes_of(archive), [chat], {"check x": red(120)})
    assert len(chat.sent) == 2


def test_a_text_keeps_the_state_where_no_archive_can() -> None:
    chat, notes = FakeTarget("chat"), TextNotes("no state")
    look(notes, [chat], {"check x": red()})
    again = TextNotes(notes.to_text())
    look(again, [chat], {"check x": red(60)})
    look(again, [chat], {"check x": Resolution("It is green.", (NOW + timedelta(hours=2)).isoformat())})
    assert [title for title, _ in chat.sent] == ["1 red: s3://b/p", "1 resolved: s3://b/p"]


def test_while_a_backfill_runs_its_days_are_reported_once_an_hour_and_at_its_end(notes: NotificationNotes) -> None:
    chat = FakeTarget("chat")
    for number in range(120):  # a day fails every minute
        subject = day_subject(DAY - timedelta(days=number))
        look(notes, [chat], {subject: red(number)}, minute=number, is_backfill=True)
    assert [title for title, _ in chat.sent] == ["1 red: s3://b/p", "60 red: s3://b/p"]
    look(notes, [chat], {}, minute=121)
    assert [title for title, _ in chat.sent][2:] == ["59 red: s3://b/p"]


def test_a_backfill_delays_no_check_and_no_job(notes: NotificationNotes) -> None:
    chat = FakeTarget("chat")
    for number, subject in enumerate((day_subject(DAY), "check x", "job erase_calls")):
        look(notes, [chat], {subject: red(number)}, minute=number, is_backfill=True)
    assert [title for title, _ in chat.sent] == ["1 red: s3://b/p"] * 3


@pytest.mark.parametrize(
    ("verdict", "checked_at", "run", "seen"),
    [
        # a failed run: its day stays red, with the number of what is not safe
        ("incomplete", NOW, red(), "red"),
        ("complete", NOW, red(), "red"),
        # a run of the whole day
        ("complete", NOW, Resolution("archived", NOW.isoformat(), "run-2"), "2025-01-10 is complete."),
        ("waiting", NOW, Resolution("archived", NOW.isoformat()), "2025-01-10 waits for late data: nothing to do."),
        # a run of a part of it, which succeeded
        ("incomplete", NOW, Resolution("archived", NOW.isoformat()), None),
        (None, NOW, Resolution("archived", NOW.isoformat()), None),
        # reconciled by another deployment, or by a run that was not seen
        ("complete", NOW, None, "2025-01-10 is complete."),
        ("incomplete", NOW, None, None),
    ],
)
def test_the_archives_own_row_says_whether_a_day_is_still_red(
    archive: MemoryArchive, verdict: str | None, checked_at: datetime, run: Observation | None, seen: str | None
) -> None:
    clock = clock_without_waits(lambda: NOW)
    ctx = open_memory_run(archive, FakeCallSource([], clock), clock)
    if verdict is not None:
        checked(ctx, DAY, verdict, checked_at)
    subject = day_subject(DAY)
    observations: dict[str, Observation] = {"check x": red(), **({subject: run} if run else {})}
    found = observe_days(observations, [subject, "check x"], tables=ctx.tables)
    assert found["check x"] == red()
    what = found.get(subject)
    assert (what.reason if isinstance(what, Resolution) else "red" if what else None) == seen
