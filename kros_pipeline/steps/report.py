"""What a step says of its work, for the operator who reads a day's metadata."""

from dataclasses import dataclass, field

from ..archive.tables import WriteResult
from ..core.errors import ExternalError

SAMPLE = 20


@dataclass
class Report:
    """Counts and a few examples of what went wrong: ids and reasons, no speech, no numbers.

    `error` is what kept the step from doing all of its work; what it had done by then is saved.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    problem_count: int = 0
    error: ExternalError | None = None
    written: WriteResult | None = None

    def problem(self, call_id: str, reason: str) -> None:
        """Counts one problem, and keeps it if the sample has room."""
        self.problem_count += 1
        if len(self.problems) < SAMPLE:
            self.problems.append((call_id, reason))

    def stop(self, error: ExternalError) -> None:
        """Notes the first error that ended the work early."""
        self.error = self.error or error
