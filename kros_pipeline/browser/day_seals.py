"""Say in words whether a day is sealed, and whether a recording is in its seals."""

from datetime import date
from threading import Lock

from ..archive.object_store import ObjectStore
from ..archive.seal_chain import ChainBroken, SealChain
from ..core.call_records import hash_line, write_manifest_line
from ..core.clock import Clock
from ..core.object_keys import audio_key
from ..core.seal_text import Seal, open_lines
from .call_states import State

_MAX_AGE_SECONDS = 30.0


class DaySeals:
    """The seals of the archive, brought up to date when somebody asks. Threads may share it."""

    def __init__(self, store: ObjectStore, clock: Clock):
        self._store, self._clock = store, clock
        self._lock = Lock()
        self._chain: SealChain | None = None
        self._read_at = float("-inf")

    def describe(self, day: date, call_id: str, sha256: str | None) -> State:
        """Return the state of a day's seal, and whether it has the recording with this hash. Raises `ArchiveError`."""
        try:
            seals = self._seals_of(day)
        except ChainBroken:
            return State(
                "unknown",
                "The chain of seals is broken. An operator should launch the job verify_archive and read its result.",
                "bad",
            )
        if not seals:
            return State("unsealed", "The day has no seal yet. It gets one once it is settled.", "wait")
        newest = seals[-1]
        sentence = (
            f"The day has seal {newest.number:06d} of {newest.sealed_at:%Y-%m-%d %H:%M}, its version {len(seals)}."
        )
        if sha256 is None:
            return State("sealed", sentence, "good")
        line = hash_line(write_manifest_line(sha256, audio_key(day, call_id)))
        if line in open_lines(seals)[1]:
            number = next(seal.number for seal in reversed(seals) if line in seal.audio)
            return State("sealed", f"{sentence} This recording is in seal {number:06d}.", "good")
        return State("unsealed", f"{sentence} This recording is in none of them: the next seal has it.", "wait")

    def _seals_of(self, day: date) -> list[Seal]:
        with self._lock:
            now = self._clock.monotonic()
            chain = self._chain
            if chain is None or now - self._read_at > _MAX_AGE_SECONDS:
                self._chain = None  # a chain that is found broken is read again
                chain = chain or SealChain(self._store, self._clock)
                chain.catch_up()
                self._chain, self._read_at = chain, now
            return chain.seals_of(day)
