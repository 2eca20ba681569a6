"""What is red, what of it each target of notifications knows, and what changed for a target since.

A subject is a day (`day 2025-01-10`), a standing check (`check no_recent_day_is_missing`) or a job
(`job erase_calls`). A target is notified once when a subject becomes red, when it becomes worse, and when it is
resolved. What a target knows is kept for each target: one that is down for an hour misses nothing, and the others are
not notified twice. The state is an object of the archive; see `archive/notification_notes.py`.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

_DAY = "day "
_WORSE_FROM = 2  # times as many as when it was last notified: a number that grows by one each hour is no news
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
_MAX_DOUBLINGS = 10
CLAIM = timedelta(minutes=5)


class Level(StrEnum):
    """How red a subject is: of severity WARN or ERROR."""

    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """A subject that is red. `count` is how many days, recordings or calls it is about; `at` is when it was seen."""

    level: Level
    reason: str
    at: str
    what_to_do: str = ""
    run_id: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Resolution:
    """A subject that is not red any more, or never was."""

    reason: str
    at: str
    run_id: str = ""


Observation: TypeAlias = Problem | Resolution


@dataclass(frozen=True, slots=True)
class Known:
    """What a target was last notified of one subject."""

    level: Level
    count: int


@dataclass(frozen=True, slots=True)
class Target:
    """What one target knows, by subject, and when the next message may be sent to it.

    `claimed_by` is sending to it until `not_before`: of two deployments with one archive, one sends.
    """

    known: Mapping[str, Known] = field(default_factory=dict)
    sent_at: str = ""
    failures: int = 0
    not_before: str = ""
    claimed_by: str = ""


@dataclass(frozen=True, slots=True)
class NotificationState:
    """All of it. `resolved` has what some target does not know yet."""

    red: Mapping[str, Problem] = field(default_factory=dict)
    resolved: Mapping[str, Resolution] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)


class Kind(StrEnum):
    """Of a change; the value is what a message begins with."""

    RED = "RED"
    WORSE = "WORSE"
    RESOLVED = "RESOLVED"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state that a target does not know yet."""

    kind: Kind
    subject: str
    what: Observation


def day_subject(day: date) -> str:
    """Return the subject of a day."""
    return f"{_DAY}{day.isoformat()}"


def day_of_subject(subject: str) -> date | None:
    """Return the day of a subject; None where it is of something else."""
    return date.fromisoformat(subject.removeprefix(_DAY)) if subject.startswith(_DAY) else None


def observe(state: NotificationState, observations: Mapping[str, Observation]) -> NotificationState:
    """Return the state after what was seen. What was seen before the last look at its subject changes nothing."""
    red, resolved = dict(state.red), dict(state.resolved)
    for subject, seen in observations.items():
        last = red.get(subject) or resolved.get(subject)
        if last is not None and seen.at < last.at:
            continue
        if isinstance(seen, Problem):
            red[subject] = seen
            resolved.pop(subject, None)
        elif red.pop(subject, None) is not None:
            resolved[subject] = seen
    return replace(state, red=red, resolved=resolved)


def find_changes(state: NotificationState, target: str) -> list[Change]:
    """Return what a target does not know yet: errors first, then warnings, then what is resolved."""
    known = state.targets.get(target, Target()).known
    changes = []
    for subject, problem in sorted(state.red.items(), key=lambda item: (item[1].level != Level.ERROR, item[0])):
        if subject not in known:
            changes.append(Change(Kind.RED, subject, problem))
        elif _is_worse(problem, known[subject]):
            changes.append(Change(Kind.WORSE, subject, problem))
    gone = Resolution("it is not red any more", "")
    changes += [
        Change(Kind.RESOLVED, subject, state.resolved.get(subject, gone))
        for subject in sorted(known)
        if subject not in state.red
    ]
    return changes


def _is_worse(problem: Problem, known: Known) -> bool:
    is_higher = problem.level == Level.ERROR and known.level == Level.WARNING
    return is_higher or problem.count >= _WORSE_FROM * max(1, known.count)


def keep_targets(state: NotificationState, names: Collection[str]) -> NotificationState:
    """Return the state without what no target needs any more: other targets, and what every target knows."""
    targets = {name: target for name, target in state.targets.items() if name in names}
    needed = {subject for target in targets.values() for subject in target.known}
    resolved = {subject: what for subject, what in state.resolved.items() if subject in needed}
    return replace(state, targets=targets, resolved=resolved)


def may_send(target: Target, now: datetime, *, me: str) -> bool:
    """Return whether a message may be sent: no pause after a failure, and nobody else is sending."""
    return target.claimed_by == me or not target.not_before or now >= datetime.fromisoformat(target.not_before)


def claim(state: NotificationState, name: str, now: datetime, *, me: str) -> NotificationState:
    """Return the state in which `me` is sending to a target; unchanged where somebody else is."""
    target = state.targets.get(name, Target())
    if not may_send(target, now, me=me):
        return state
    return _with_target(state, name, replace(target, claimed_by=me, not_before=(now + CLAIM).isoformat()))


def record_sent(state: NotificationState, name: str, changes: list[Change], now: datetime) -> NotificationState:
    """Return the state in which a target knows these changes."""
    known = dict(state.targets.get(name, Target()).known)
    for change in changes:
        if isinstance(change.what, Problem):
            before = known.get(change.subject)
            is_error = Level.ERROR in (change.what.level, before and before.level)
            count = max(change.what.count, before.count if before else 0)
            known[change.subject] = Known(Level.ERROR if is_error else Level.WARNING, count)
        else:
            known.pop(change.subject, None)
    return _with_target(state, name, Target(known, sent_at=now.isoformat()))


def record_failure(state: NotificationState, name: str, now: datetime) -> NotificationState:
    """Return the state in which a target is tried again after a pause: a minute at first, at most an hour."""
    target = state.targets.get(name, Target())
    pause = min(_FIRST_PAUSE * 2 ** min(target.failures, _MAX_DOUBLINGS), _LONGEST_PAUSE)
    failed = replace(target, failures=target.failures + 1, not_before=(now + pause).isoformat(), claimed_by="")
    return _with_target(state, name, failed)


def merge_states(kept: NotificationState, later: NotificationState) -> NotificationState:
    """Return a state with what was seen and sent later, while the archive could not be written."""
    seen: dict[str, Observation] = {**later.red, **later.resolved}
    targets = dict(kept.targets)
    for name, target in later.targets.items():
        before = targets.get(name, Target())
        targets[name] = replace(target, known={**before.known, **target.known}, claimed_by="", not_before="")
    return replace(observe(kept, seen), targets=targets)


def _with_target(state: NotificationState, name: str, target: Target) -> NotificationState:
    return replace(state, targets={**state.targets, name: target})


def dump_state(state: NotificationState) -> dict[str, Any]:
    """Return the state as JSON."""
    return {"format": 1, **asdict(state)}


def parse_state(content: object) -> NotificationState | None:
    """Return the state that `dump_state` made; None where it is anything else."""
    try:
        return NotificationState(
            red={name: Problem(**{**one, "level": Level(one["level"])}) for name, one in _items(content, "red")},
            resolved={name: Resolution(**one) for name, one in _items(content, "resolved")},
            targets={name: _parse_target(one) for name, one in _items(content, "targets")},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _items(content: Any, name: str) -> Any:
    return content[name].items()


def _parse_target(one: dict[str, Any]) -> Target:
    known = {subject: Known(Level(what["level"]), int(what["count"])) for subject, what in one["known"].items()}
    return Target(**{**one, "known": known})
