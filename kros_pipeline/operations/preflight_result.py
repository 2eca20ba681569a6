"""The result of one check of the preflight, or of one trial of a target: one line for an operator."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..core.errors import ExternalError


class Outcome(StrEnum):
    """How a check ended; the value is what its line begins with. A skipped check is no failure."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """What one check found. `sentence` shows no secret, and says what to do where something is."""

    check: str
    outcome: Outcome
    sentence: str

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.outcome is not Outcome.FAILED

    def __str__(self) -> str:
        return f"{self.outcome:<8}{self.check}: {self.sentence}"


class Skipped(Exception):
    """A check cannot be made, or need not be; the message says why, and what to do."""


def run_check(check: str, look: Callable[[], str]) -> PreflightResult:
    """Return the result of one check. Whatever it raises is its result."""
    try:
        return PreflightResult(check, Outcome.OK, look())
    except Skipped as why:
        return PreflightResult(check, Outcome.SKIPPED, str(why))
    except ExternalError as error:
        return PreflightResult(check, Outcome.FAILED, str(error))
    except Exception as error:  # its message is not ours, and may show a secret
        kind = type(error).__name__
        return PreflightResult(
            check, Outcome.FAILED, f"it ended with {kind}, which no check expects. Report this as a bug."
        )
