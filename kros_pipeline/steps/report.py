"""The report of a step: what it did, for the operator who reads a day's metadata."""

from dataclasses import dataclass, field

from ..archive.tables import WriteResult
from ..core.errors import ExternalError

SAMPLE_SIZE = 20


@dataclass
class Report:
    """Counts, and a few examples of what went wrong: ids and reasons, no speech, no phone numbers.

    `error` is what kept the step from doing all of its work. What was done before it is saved.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    problem_count: int = 0
    error: ExternalError | None = None
    written: WriteResult | None = None

    def add_problem(self, call_id: str, reason: str) -> None:
        """Count one problem, and keep it if the sample has room."""
        self.problem_count += 1
        if len(self.problems) < SAMPLE_SIZE:
            self.problems.append((call_id, reason))
