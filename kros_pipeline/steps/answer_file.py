"""Keeps what upstream answered until a checkpoint has saved it, so that a run that is killed loses little of it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..archive.parquet import Row
from ..core.errors import (
    ApiError,
    ApiUnauthorized,
    CallGone,
    CallNotFound,
    RequestRefused,
    TooManyRequests,
    UnaddressableCall,
    UnexpectedResponse,
)
from .circuit_breaker import CircuitBreaker
from .pending_file import PendingFile
from .report import Report

_SAVE_EVERY_CALLS = 1_000
_MAX_CHECKPOINTS = 5  # each writes the whole table: a bucket with versions keeps them all, texts included

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answered(Generic[_T]):
    """What upstream answered about a call. `call` is its row of the table `calls`."""

    call: Row
    answer: _T


class AnswerFile(Mapping[str, Answered[_T]]):
    """The answers that are not saved yet, by call. A commit that is tried again finds them again.

    `total` counts all that were ever added, saved or not.
    Only one thread may use it. Raises `LocalFault` where no temporary file can be written.
    """

    def __init__(self) -> None:
        self._file, self._call_ids = PendingFile[Answered[_T]](), list[str]()
        self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._call_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._call_ids)

    def __getitem__(self, call_id: str) -> Answered[_T]:
        found = self._file.find(call_id)
        if found is None:
            raise KeyError(call_id)
        return found

    def add(self, answered: Answered[_T]) -> None:
        """Add the answer about a call that has none yet."""
        call_id = answered.call["call_id"]
        self._file.add(call_id, answered)
        self._call_ids.append(call_id)
        self.total += 1

    def clear(self) -> None:
        """Forget all answers: they are saved."""
        self._file.close()
        self._file, self._call_ids = PendingFile(), []


def ask_once(
    call: Row, ask: Callable[[str], _T], absent: _T, *, breaker: CircuitBreaker, report: Report
) -> Answered[_T] | None:
    """Ask upstream about one call. Return its answer, with `absent` where it has none; None where nothing was answered.

    A refusal (403, a redirect) is no answer: every later run asks again. A gateway's refusal was once taken for
    upstream's, and a shortened text kept for good.
    """
    if breaker.is_open:
        return None
    try:
        answer = ask(call["call_id"])
        breaker.on_success()
        return Answered(call, answer)
    except (CallNotFound, CallGone):
        return Answered(call, absent)
    except (TooManyRequests, ApiUnauthorized) as error:
        breaker.trip(error)
    except ApiError as error:
        report.add_problem(call["call_id"], str(error))
        if not isinstance(error, (RequestRefused, UnexpectedResponse, UnaddressableCall)):
            breaker.on_failure(error)
    return None


def ask_all(
    calls: PendingFile[Row],
    ask: Callable[[Row], Answered[_T] | None],
    answers: AnswerFile[_T],
    save: Callable[[], None],
    *,
    pool: ThreadPoolExecutor,
    breaker: CircuitBreaker,
) -> None:
    """Ask about each call in threads. `ask` returns None where there was no answer.

    `save` is a checkpoint: it saves the answers and clears them. There are as many for each day, whatever its size:
    otherwise the work would grow with the square of the calls. The last answers are left in `answers`, for the commit
    that ends the step.
    """
    fewest, left = max(_SAVE_EVERY_CALLS, len(calls) // _MAX_CHECKPOINTS), calls.take_all()
    while not breaker.is_open and (some := list(islice(left, _SAVE_EVERY_CALLS))):
        for answered in pool.map(ask, some):
            if answered is not None:
                answers.add(answered)
        if len(answers) >= fewest and len(calls):
            save()
