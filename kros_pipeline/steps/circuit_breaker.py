"""The circuit breaker of a step that asks for one call after the other."""

from threading import Event, Lock

from ..core.errors import ExternalError

MAX_CONSECUTIVE_FAILURES = 50


class CircuitBreaker:
    """Stop trying after an error that every further call would meet, or after 50 consecutive failures.

    A service that is down would otherwise be asked four times for each of a day's calls. Threads share it.
    """

    def __init__(self) -> None:
        self.error: ExternalError | None = None
        self._is_open = Event()
        self._lock = Lock()
        self._consecutive_failures = 0

    @property
    def is_open(self) -> bool:
        """Whether no further call is to be tried."""
        return self._is_open.is_set()

    def trip(self, error: ExternalError) -> None:
        """Stop trying. The first error is kept as `error`."""
        with self._lock:
            self.error = self.error or error
        self._is_open.set()

    def on_failure(self, error: ExternalError) -> None:
        """Count a call that failed for a reason that may be about every call."""
        with self._lock:
            self._consecutive_failures += 1
            is_last = self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES
        if is_last:
            self.trip(error)

    def on_success(self) -> None:
        """Count from zero again. Called for each call, so it takes no lock: a lost count delays the trip by one."""
        self._consecutive_failures = 0
