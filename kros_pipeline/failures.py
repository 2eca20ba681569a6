"""From what happened to what to do about it: the one place that decides.

| verdict | who acts | how |
| --- | --- | --- |
| TRY_AGAIN_NOW | the step's own retry | Dagster starts the step again within the run |
| TRY_THE_DAY_LATER | `owed_days_schedule` | the run ends; the day is owed, and the next hours take it up |
| A_HUMAN_MUST_ACT | whoever reads the message | nothing is tried again before that |
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import dagster as dg

from .core import errors
from .core.settings import BadSettings


class WhatToDo(Enum):
    """What an error calls for."""

    TRY_AGAIN_NOW = "tried once more in this run, and then every hour by owed_days_schedule"
    TRY_THE_DAY_LATER = "the day is taken up again by owed_days_schedule; nothing to do now"
    A_HUMAN_MUST_ACT = "somebody must act before it is tried again"


_TABLE: tuple[tuple[type[Exception], WhatToDo], ...] = (
    (errors.ApiUnreachable, WhatToDo.TRY_AGAIN_NOW),
    (errors.ApiServerError, WhatToDo.TRY_AGAIN_NOW),
    (errors.ArchiveUnavailable, WhatToDo.TRY_AGAIN_NOW),
    (errors.ObjectChanged, WhatToDo.TRY_AGAIN_NOW),
    (errors.TooManyRequests, WhatToDo.TRY_THE_DAY_LATER),
    (errors.DownloadError, WhatToDo.TRY_THE_DAY_LATER),
    (errors.ExternalError, WhatToDo.A_HUMAN_MUST_ACT),
    (BadSettings, WhatToDo.A_HUMAN_MUST_ACT),
)
HANDLED = tuple(kind for kind, _ in _TABLE)

# Once: the clients have tried for seconds by then, and hours are for the schedule.
RETRIES = dg.RetryPolicy(max_retries=1, delay=10)


def what_to_do(error: Exception) -> WhatToDo:
    """The verdict on an error; one that the table does not know is a mistake of ours, for a human."""
    return next((verdict for kind, verdict in _TABLE if isinstance(error, kind)), WhatToDo.A_HUMAN_MUST_ACT)


def failure(error: Exception, then: str | None = None) -> dg.Failure:
    """The failure to raise for an error: one short sentence, and whether Dagster may start the step again."""
    verdict = what_to_do(error)
    follows = then or verdict.value
    return dg.Failure(
        description=f"{_sentence(error)} ({follows})",
        metadata={"error": _sentence(error), "kind": type(error).__name__, "what_to_do": follows},
        allow_retries=verdict is WhatToDo.TRY_AGAIN_NOW and then is None,
    )


@contextmanager
def raise_as_dagster_failure(then: str | None = None) -> Iterator[None]:
    """What is raised within becomes a failure of one sentence; the trace stays only with a mistake of ours.

    `then` is what follows, where it is not for Dagster or `owed_days_schedule` to try again.
    """
    try:
        yield
    except HANDLED as error:
        raise failure(error, then) from None
    except dg.Failure:
        raise
    except Exception as error:
        raise failure(error, then) from redact_error(error)


def redact_error(error: Exception) -> Exception:
    """Kind and trace of an error that nobody foresaw. Its words stay unsaid: they may hold whatever was at hand."""
    return RuntimeError(f"{type(error).__name__} (its words are not shown)").with_traceback(error.__traceback__)


def _sentence(error: Exception) -> str:
    if isinstance(error, HANDLED):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)
    where = f" in {places[-1].name} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{where}{why}, which nobody foresaw"
