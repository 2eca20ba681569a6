"""One notification for each change of state and target: red, worse, resolved; none twice, none lost."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.notification_state import (
    CLAIM,
    Level,
    NotificationState,
    Observation,
    Problem,
    Resolution,
    claim,
    day_of_subject,
    day_subject,
    dump_state,
    find_changes,
    keep_targets,
    may_send,
    merge_states,
    observe,
    parse_state,
    record_failure,
    record_sent,
)

NOW = datetime(2025, 1, 20, 12, tzinfo=UTC)
DAY = day_subject(date(2025, 1, 10))
CHECK = "check no_recent_day_is_missing"


def red(*, level: Level = Level.ERROR, count: int = 1, minute: int = 0, reason: str = "It is incomplete.") -> Problem:
    return Problem(level, reason, (NOW + timedelta(minutes=minute)).isoformat(), "Mend it.", "run-1", count)


def green(minute: int = 0) -> Resolution:
    return Resolution("It is complete.", (NOW + timedelta(minutes=minute)).isoformat(), "run-2")


class Followed:
    """A target that accepts everything, and what it was sent."""

    def __init__(self, *targets: str) -> None:
        self.state, self.targets = NotificationState(), targets or ("chat",)

    def look(self, seen: dict[str, Observation], *, down: tuple[str, ...] = ()) -> dict[str, list[tuple[str, str]]]:
        self.state = observe(self.state, seen)
        sent: dict[str, list[tuple[str, str]]] = {}
        for target in self.targets:
            changes = find_changes(self.state, target)
            if target in down:
                continue
            self.state = record_sent(self.state, target, changes, NOW)
            sent[target] = [(change.kind.value, change.subject) for change in changes]
        self.state = keep_targets(self.state, self.targets)
        return sent


@pytest.mark.parametrize(
    ("looks", "sent"),
    [
        # red once, however often it is seen
        ([red(), red(minute=60), red(minute=120)], ["RED", "", ""]),
        ([red(reason="a"), red(minute=60, reason="b")], ["RED", ""]),
        # resolved once
        ([red(), green(1), green(2)], ["RED", "RESOLVED", ""]),
        ([green()], [""]),
        # red again after it was resolved
        ([red(), green(1), red(minute=2)], ["RED", "RESOLVED", "RED"]),
        # worse: from a warning to an error, or twice as many as was said
        ([red(level=Level.WARNING), red(minute=1)], ["RED", "WORSE"]),
        ([red(), red(minute=1, level=Level.WARNING), red(minute=2)], ["RED", "", ""]),
        ([red(count=3), red(count=5, minute=1), red(count=6, minute=2), red(count=11, minute=3)],
         ["RED", "", "WORSE", ""]),
        ([red(count=8), red(count=2, minute=1), red(count=8, minute=2)], ["RED", "", ""]),
        # what was seen before the last look does not count
        ([red(minute=5), green(4)], ["RED", ""]),
    ],
)  # fmt: skip
def test_a_target_hears_of_each_change_of_state_once(looks: list[Observation], sent: list[str]) -> None:
    followed = Followed()
    for seen, kind in zip(looks, sent, strict=True):
        assert followed.look({DAY: seen}) == {"chat": [(kind, DAY)] if kind else []}


def test_what_changes_in_one_look_is_together_and_errors_come_first() -> None:
    followed = Followed()
    days = {day_subject(date(2025, 1, 1) + timedelta(days=number)): red() for number in range(300)}
    sent = followed.look({CHECK: red(level=Level.WARNING), **days})["chat"]
    assert len(sent) == 301 and sent[0] == ("RED", "day 2025-01-01") and sent[-1] == ("RED", CHECK)
    assert followed.look({}) == {"chat": []}


def test_a_target_that_was_down_hears_later_and_the_others_not_twice() -> None:
    followed = Followed("chat", "mail")
    assert followed.look({DAY: red()}, down=("mail",)) == {"chat": [("RED", DAY)]}
    assert followed.look({CHECK: red()}, down=("mail",)) == {"chat": [("RED", CHECK)]}
    assert followed.look({CHECK: green(1)}) == {"chat": [("RESOLVED", CHECK)], "mail": [("RED", DAY)]}
    assert followed.look({DAY: green(1)}) == {"chat": [("RESOLVED", DAY)], "mail": [("RESOLVED", DAY)]}
    assert not followed.state.red and not followed.state.resolved


def test_a_new_target_hears_of_all_that_is_red_and_a_former_one_is_forgotten() -> None:
    followed = Followed("chat")
    followed.look({DAY: red(), CHECK: red()})
    followed.targets = ("mail",)
    assert followed.look({CHECK: green(1)}) == {"mail": [("RED", DAY)]}
    assert set(followed.state.targets) == {"mail"} and not followed.state.resolved


def test_a_failure_is_tried_again_after_a_minute_at_first_and_an_hour_at_most() -> None:
    state, pauses = NotificationState(), []
    for _ in range(12):
        state = record_failure(state, "chat", NOW)
        pauses.append((datetime.fromisoformat(state.targets["chat"].not_before) - NOW) // timedelta(minutes=1))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    assert not may_send(state.targets["chat"], NOW, me="a")
    assert may_send(state.targets["chat"], NOW + timedelta(hours=1), me="a")
    assert record_sent(state, "chat", [], NOW).targets["chat"].failures == 0


def test_of_two_deployments_one_sends_until_its_claim_ends() -> None:
    ours = claim(NotificationState(), "chat", NOW, me="a")
    assert ours.targets["chat"].claimed_by == "a"
    assert claim(ours, "chat", NOW, me="b") is ours
    assert may_send(ours.targets["chat"], NOW, me="a"), "its own claim keeps nobody from sending"
    after = claim(ours, "chat", NOW + CLAIM, me="b")
    assert after.targets["chat"].claimed_by == "b", "the first one was killed"


def test_what_was_seen_and_sent_while_the_archive_was_down_is_not_sent_again() -> None:
    kept = record_sent(observe(NotificationState(), {CHECK: red()}), "chat", [], NOW)
    kept = record_sent(kept, "chat", find_changes(kept, "chat"), NOW)
    later = observe(NotificationState(), {DAY: red(minute=5)})
    later = record_sent(later, "chat", find_changes(later, "chat"), NOW)
    merged = merge_states(kept, later)
    assert set(merged.red) == {CHECK, DAY}
    assert find_changes(merged, "chat") == [] and find_changes(merged, "mail")


def test_the_state_survives_as_json_and_anything_else_is_no_state() -> None:
    state = observe(NotificationState(), {DAY: red(count=7), CHECK: red(level=Level.WARNING)})
    state = record_failure(record_sent(state, "chat", find_changes(state, "chat"), NOW), "mail", NOW)
    state = observe(state, {CHECK: green(1)})
    assert parse_state(json.loads(json.dumps(dump_state(state)))) == state
    others: list[object] = [None, [], {}, {"red": []}, {"red": {"a": {}}, "resolved": {}, "targets": {}}, "x", 3]
    for content in others:
        assert parse_state(content) is None
    damaged = dump_state(state)
    damaged["red"][DAY]["level"] = "purple"
    assert parse_state(damaged) is None


def test_a_subject_of_a_day_names_it() -> None:
    assert day_of_subject(DAY) == date(2025, 1, 10) and day_of_subject(CHECK) is None


LEVELS = st.sampled_from(Level)
LOOKS = st.lists(
    st.dictionaries(
        st.sampled_from([DAY, CHECK, "job erase_calls"]), st.one_of(st.none(), st.tuples(LEVELS, st.integers(1, 9)))
    ),
    max_size=8,
)


@given(LOOKS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_whatever_happens_a_target_that_is_up_again_knows_exactly_what_is_red(
    looks: list[dict[str, tuple[Level, int] | None]], is_down: list[bool]
) -> None:
    followed = Followed()
    known: set[str] = set()
    for minute, (seen, down) in enumerate(zip(looks, is_down, strict=False)):
        sent = followed.look(
            {
                subject: green(minute) if what is None else red(level=what[0], count=what[1], minute=minute)
                for subject, what in seen.items()
            },
            down=("chat",) if down else (),
        )
        for kind, subject in sent.get("chat", []):
            assert (subject in known) == (kind != "RED"), "RED once; WORSE and RESOLVED of what is known only"
            known = known - {subject} if kind == "RESOLVED" else known | {subject}
        if not down:
            assert known == set(followed.state.red)
