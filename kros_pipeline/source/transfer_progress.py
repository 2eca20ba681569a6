"""The deadline of a transfer is progress: a stalled body is dropped, and a slow one is not."""

from ..core.clock import Clock
from .storage_answers import BrokenTransfer

STALL_SECONDS = 60.0  # without a byte; recordings were seen whose first byte took 35 seconds
_WINDOW_SECONDS = 60.0
_LEAST_BYTES = 60_000  # in each window: a server that sends a byte now and then would hold a thread for hours


class TransferProgress:
    """Watches one transfer."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._window_ends_at, self._bytes = clock.monotonic() + _WINDOW_SECONDS, 0

    def on_piece(self, size_bytes: int) -> None:
        """Count a piece that came. Raises `BrokenTransfer` where too little came since the window began.

        Raises `RunInterrupted`, too: a long body must not keep an interrupted run alive.
        """
        self._clock.check()
        self._bytes += size_bytes
        now = self._clock.monotonic()
        if now < self._window_ends_at:
            return
        if self._bytes < _LEAST_BYTES:
            raise BrokenTransfer(f"only {self._bytes:,} bytes came in {_WINDOW_SECONDS:g} seconds")
        self._window_ends_at, self._bytes = now + _WINDOW_SECONDS, 0
