"""The report of a step: what it did, for the operator who reads a day's metadata."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..archive.tables import WriteResult
from ..core.errors import ExternalError
from ..core.reason_kinds import kind_of_reason

SAMPLE_SIZE = 20


@dataclass
class Changes:
    """The calls whose turns change, and what changes: how many turns, and how many of which speaker. No speech."""

    count: int = 0
    sample: list[tuple[str, str]] = field(default_factory=list)

    def compare(self, call_id: str, old: dict[str, Any] | None, new: list[tuple[Any, ...]]) -> None:
        """Compare speaker, label and speech of a call's turns before and after."""
        before = [(row["speaker"], row["speaker_label"], row["text"]) for row in old["rows"]] if old else []
        if before == new:
            return
        what = f"{_describe(before)} before, {_describe(new)} now"
        self.add(call_id, what)

    def add(self, call_id: str, what: str) -> None:
        """Count one call that changes, and keep it if the sample has room."""
        self.count += 1
        if len(self.sample) < SAMPLE_SIZE:
            self.sample.append((call_id, what))


def _describe(turns: list[tuple[Any, ...]]) -> str:
    speakers = Counter(str(turn[0]) for turn in turns)
    return f"{len(turns)} turns ({', '.join(f'{count} {name}' for name, count in sorted(speakers.items())) or 'none'})"


@dataclass
class Report:
    """Counts, and a few examples of what went wrong: ids and reasons, no speech, no phone numbers.

    `changes` is a sample of calls whose rows are others than before, with what changes.

    `error` is what kept the step from doing all of its work. What was done before it is saved.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    problem_count: int = 0
    problem_kinds: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[str, str]] = field(default_factory=list)
    error: ExternalError | None = None
    written: WriteResult | None = None

    def add_problem(self, call_id: str, reason: str) -> None:
        """Count one problem, and keep it if the sample has room."""
        self.problem_count += 1
        self.problem_kinds[kind_of_reason(reason)] += 1
        if len(self.problems) < SAMPLE_SIZE:
            self.problems.append((call_id, reason))
