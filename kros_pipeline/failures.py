"""Failures: decides, for every error, who acts on it and whether Dagster retries.

| decision | who acts | how |
| --- | --- | --- |
| RETRY_NOW | Dagster | the step is started again within the run, once |
| RETRY_LATER | `owed_days_schedule` | the run ends; the day is in the backlog, and the next hours take it up |
| PERSON_MUST_ACT | whoever reads the message | nothing is tried again before that |

Assets have no `RetryPolicy`: Dagster applies it to a run that an operator terminates, too, and the step starts again. A
step asks for its retry by itself (`dg.RetryRequested`), and a terminated run is never an error of the table below.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import dagster as dg

from .core import errors
from .core.settings import BadSettings
from .runbook import failure_metadata


class WhatToDo(Enum):
    """What an error calls for; the value is the sentence that an operator reads."""

    RETRY_NOW = "tried once more in this run, and then every hour by owed_days_schedule"
    RETRY_LATER = "the day is taken up again by owed_days_schedule; nothing to do now"
    PERSON_MUST_ACT = "mend this first: every further try meets the same"


_DECISIONS: tuple[tuple[type[Exception], WhatToDo], ...] = (
    (errors.ApiUnreachable, WhatToDo.RETRY_NOW),
    (errors.ApiServerError, WhatToDo.RETRY_NOW),
    (errors.ArchiveUnavailable, WhatToDo.RETRY_NOW),
    (errors.ObjectChanged, WhatToDo.RETRY_NOW),
    (errors.TooManyRequests, WhatToDo.RETRY_LATER),
    (errors.DownloadError, WhatToDo.RETRY_LATER),
    (errors.ExternalError, WhatToDo.PERSON_MUST_ACT),
    (BadSettings, WhatToDo.PERSON_MUST_ACT),
)
EXPECTED_ERRORS = tuple(kind for kind, _ in _DECISIONS)

MAX_RETRIES = 1  # the clients have retried for seconds by then, and the schedule retries for hours
RETRY_DELAY_SECONDS = 10.0


def what_to_do(error: Exception) -> WhatToDo:
    """Decide what an error calls for. An error that the table does not have is a bug, and needs a person."""
    return next((action for kind, action in _DECISIONS if isinstance(error, kind)), WhatToDo.PERSON_MUST_ACT)


def failure(error: Exception, then: str | None = None) -> dg.Failure:
    """Make the failure of an error: one short sentence, and whether Dagster may retry the step.

    `then` is what happens next, where neither Dagster nor `owed_days_schedule` tries again.
    """
    action = what_to_do(error)
    next_step = then or action.value
    return dg.Failure(
        description=f"{_describe(error)} ({next_step})",
        metadata={
            "error": _describe(error),
            "kind": type(error).__name__,
            "what_to_do": next_step,
            **failure_metadata(error),
        },
        allow_retries=action is WhatToDo.RETRY_NOW and then is None,
    )


@contextmanager
def raise_as_dagster_failure(then: str | None = None) -> Iterator[None]:
    """Turn what is raised within into a `dg.Failure` of one sentence. Only a bug keeps its traceback.

    `then` is what happens next, where neither Dagster nor `owed_days_schedule` tries again. Without it, what may be
    retried at once is raised as `dg.RetryRequested`, of which Dagster shows the failure when the retry fails, too.
    """
    try:
        yield
    except EXPECTED_ERRORS as error:
        failed = failure(error, then)
        if failed.allow_retries:
            raise _request_retry() from failed
        raise failed from None
    except dg.Failure as failed:
        if failed.allow_retries and then is None:
            raise _request_retry() from failed
        raise
    except Exception as error:
        raise failure(error, then) from redact_error(error)


def _request_retry() -> dg.RetryRequested:
    return dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_DELAY_SECONDS)


def redact_error(error: Exception) -> Exception:
    """Return the type and traceback of an unforeseen error without its message, which may hold anything."""
    return RuntimeError(f"{type(error).__name__} (its message is not shown)").with_traceback(error.__traceback__)


def _describe(error: Exception) -> str:
    if isinstance(error, EXPECTED_ERRORS):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)
    where = f" in {places[-1].name} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{where}{why}, which nobody foresaw"
