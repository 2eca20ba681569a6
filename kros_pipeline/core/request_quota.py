"""The account's daily quota of API requests, shared by all runs of one UTC day: how much each kind of run may take.

A run takes requests in blocks before it sends them, and gives back at its end what it did not send. The newest day
comes first: older days leave a reserve for it, until it has been reconciled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

LARGEST_BLOCK = 200  # a killed run loses at most one block
_BLOCKS_PER_QUOTA = 20  # of a small quota, so that runs beside each other do not hold much of it
_RESERVE_PERCENT = 10  # that older days always leave: retries of the newest day, webhook deliveries, operators' jobs


class RunKind(StrEnum):
    """What a run sends its requests for."""

    NEWEST_DAY = "newest_day"
    OLDER_DAY = "older_days"
    OTHER = "other"  # webhook deliveries, and the jobs that an operator launches


@dataclass(frozen=True, slots=True)
class QuotaRule:
    """The quota of one UTC day, and the part that the newest day may need of it. None stands for "no limit"."""

    requests_per_day: int | None
    requests_per_run: int | None

    @property
    def block(self) -> int:
        """How many requests a run takes at once."""
        if self.requests_per_day is None:
            return LARGEST_BLOCK
        return min(LARGEST_BLOCK, max(1, self.requests_per_day // _BLOCKS_PER_QUOTA))

    def reserve(self, day: "QuotaDay") -> int:
        """Return how many requests older days have to leave now."""
        if self.requests_per_day is None:
            return 0
        always = self.requests_per_day * _RESERVE_PERCENT // 100
        if day.is_newest_day_done:
            return always
        half = self.requests_per_day // 2
        for_one_run = half if self.requests_per_run is None else min(self.requests_per_run, half)
        return max(always, for_one_run - day.taken_by(RunKind.NEWEST_DAY))

    def available(self, day: "QuotaDay", kind: RunKind) -> int | None:
        """Return how many requests a run of a kind may take now; None where nothing limits it."""
        if self.requests_per_day is None:
            return None
        left = self.requests_per_day - day.taken
        return max(0, left - self.reserve(day) if kind is RunKind.OLDER_DAY else left)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a run that has not ended has taken."""

    kind: RunKind
    requests: int


@dataclass(frozen=True, slots=True)
class QuotaDay:
    """The requests of one UTC day: those that ended runs have sent, and those that other runs hold, by run."""

    sent: Mapping[RunKind, int] = field(default_factory=dict)
    reserved: Mapping[str, Reservation] = field(default_factory=dict)
    is_newest_day_done: bool = False

    @property
    def taken(self) -> int:
        """How many requests were sent, or may be."""
        return sum(map(self.taken_by, RunKind))

    def taken_by(self, kind: RunKind) -> int:
        """Return how many requests runs of a kind have sent, or hold."""
        held = sum(one.requests for one in self.reserved.values() if one.kind is kind)
        return self.sent.get(kind, 0) + held

    def with_reservation(self, run: str, kind: RunKind, requests: int) -> "QuotaDay":
        """Return the day where a run holds so many requests in all."""
        return replace(self, reserved={**self.reserved, run: Reservation(kind, requests)})

    def with_ended_run(self, run: str, kind: RunKind, sent: int, *, is_newest_day_done: bool) -> "QuotaDay":
        """Return the day where a run holds nothing any more, and has sent so many requests in all."""
        return QuotaDay(
            sent={**self.sent, kind: self.sent.get(kind, 0) + sent},
            reserved={name: one for name, one in self.reserved.items() if name != run},
            is_newest_day_done=self.is_newest_day_done or is_newest_day_done,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object that is stored."""
        return {
            "sent": {str(kind): count for kind, count in self.sent.items()},
            "reserved": {run: {"kind": str(one.kind), "requests": one.requests} for run, one in self.reserved.items()},
            "is_newest_day_done": self.is_newest_day_done,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "QuotaDay":
        """Read a stored object. Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for any other."""
        return cls(
            sent={RunKind(kind): _count(count) for kind, count in stored["sent"].items()},
            reserved={
                run: Reservation(RunKind(one["kind"]), _count(one["requests"]))
                for run, one in stored["reserved"].items()
            },
            is_newest_day_done=stored["is_newest_day_done"] is True,
        )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
