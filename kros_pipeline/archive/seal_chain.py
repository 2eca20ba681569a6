"""The chain of seals: create-only objects with ascending numbers, each with the SHA-256 of the one before it."""

import random
import tempfile
from collections.abc import Callable
from copy import deepcopy
from datetime import date

from ..core.clock import Clock
from ..core.errors import ArchiveError, ArchiveUnavailable, ObjectExists
from ..core.seal_keys import SEAL_CHAIN, SEALS_INDEX, seal_key, seal_number
from ..core.seal_text import NO_PREVIOUS, BadSeal, Seal, parse_seal, sha256_of_text
from .object_store import CREATE, ObjectStore
from .parquet import sha256_of
from .seal_index import SealIndex, read_seal_index, update_seal_index

_ATTEMPTS = 60  # of one append: every other run that seals at the same time may be first
_LONGEST_PAUSE_SECONDS = 2.0

MakeSeal = Callable[[int, str], Seal | None]
"""Makes the seal with a number and the hash of its predecessor; None where there is nothing to seal any more."""


class ChainBroken(ArchiveError):
    """The chain has a gap, or a seal in it was replaced: nothing is sealed before a person has looked."""


class SealChain:
    """The seals of one archive, as one run knows them. Not for several threads."""

    def __init__(self, store: ObjectStore, clock: Clock):
        self._store, self._clock = store, clock
        self._index: SealIndex | None = None
        self._is_index_wrong = False

    @property
    def index(self) -> SealIndex:
        """What is known of the chain; `catch_up` makes it what the bucket has."""
        if self._index is None:
            self._index = self._load()
        return self._index

    def _load(self) -> SealIndex:
        """Read the index, and compare its newest seal with the chain. Raises `ChainBroken` where they differ.

        A seal is in the index only after it was put: so a seal that is not there, or is another one, was removed or
        replaced, also where no later seal shows it.
        """
        index = read_seal_index(self._store)
        if index.read_until:
            body = self._store.read(seal_key(index.read_until))
            if body is None or sha256_of_text(body) != index.head:
                raise ChainBroken(
                    f"{seal_key(index.read_until)} is {'gone' if body is None else 'another one'} than {SEALS_INDEX} "
                    "says: restore it from a version, a replica or a copy. Where an earlier notification shows that "
                    f"the seals are right, delete {SEALS_INDEX}: it is made again from them"
                )
        return index

    @property
    def head(self) -> tuple[int, str]:
        """The number of the newest seal that is known, and its SHA-256; 0 and zeros before the first one."""
        return self.index.read_until, self.index.head or NO_PREVIOUS

    def catch_up(self) -> None:
        """Read the seals that are newer than those known. Raises `ChainBroken`."""
        after = seal_key(self.index.read_until) if self.index.read_until else ""
        for entry in self._store.list(SEAL_CHAIN, after=after):
            number = seal_number(entry.key)
            if number is None:
                continue
            if number != self.index.read_until + 1:
                raise ChainBroken(
                    f"{seal_key(self.index.read_until + 1)} is missing, and {entry.key} is there: a seal was removed. "
                    "Restore it from a version, a replica or a copy; nothing is sealed before that"
                )
            seal, digest = self._read(number)
            if seal.previous != self.head[1] or seal.number != number:
                raise ChainBroken(
                    f"{entry.key} does not follow {seal_key(number - 1)}: one of them was replaced. Compare them with "
                    "their versions, with a copy or with the head of the chain in earlier notifications"
                )
            self._add(seal, digest)

    def _add(self, seal: Seal, digest: str) -> None:
        self.index.days.setdefault(seal.day.isoformat(), []).append(seal.number)
        self.index.read_until, self.index.head = seal.number, digest

    def _read(self, number: int) -> tuple[Seal, str]:
        body = self._store.read(seal_key(number))
        if body is None:
            raise ChainBroken(f"{seal_key(number)} is gone: restore it from a version, a replica or a copy")
        try:
            return parse_seal(body), sha256_of_text(body)
        except BadSeal as error:
            raise ChainBroken(f"{seal_key(number)} is no seal ({error}): restore it from a version or a copy") from None

    def seals_of(self, day: date) -> list[Seal]:
        """Return the seals of a day, in their order. Raises `ChainBroken`."""
        numbers = self.index.days.get(day.isoformat(), [])
        seals = [self._read(number)[0] for number in numbers]
        if any(seal.day != day or seal.version != version for version, seal in enumerate(seals, 1)):
            if self._is_index_wrong:
                raise ChainBroken(f"the seals of {day} are not its versions 1 to {len(seals)}: {numbers}")
            self._index, self._is_index_wrong = SealIndex(), True  # the hint was wrong: read the whole chain
            self.catch_up()
            return self.seals_of(day)
        return seals

    def append(self, make: MakeSeal) -> Seal | None:
        """Put the seal that `make` makes behind the newest one, and return it; None where `make` does.

        `make` is called again, with another number, where another run was first, and where nobody knows whether the
        seal was put. It sees the newest seals by then: so no content is sealed twice. Raises `ArchiveUnavailable`.
        """
        for attempt in range(_ATTEMPTS):
            self.catch_up()
            number, previous = self.head
            seal = make(number + 1, previous)
            if seal is None:
                return None
            try:
                self._add(seal, self._put(seal))
                return seal
            except (ObjectExists, ArchiveUnavailable):
                self._clock.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.05 * 2**attempt)))
        raise ArchiveUnavailable(f"other runs put {_ATTEMPTS} seals in a row before this one; the next look goes on")

    def _put(self, seal: Seal) -> str:
        """Put a seal, and return its SHA-256."""
        with tempfile.TemporaryFile(prefix="kros-") as file:
            file.writelines(seal.pieces())
            digest = sha256_of(file)
            content_type = "text/plain; charset=us-ascii"
            self._store.put(seal_key(seal.number), file, sha256=digest, mode=CREATE, content_type=content_type)
        return digest

    def overview(self) -> dict[int, set[str]]:
        """Return what there is of each seal: `txt`, and `sig`, `tsq`, `tsr`, `tsa.pem`. Raises `ChainBroken` for a gap.

        It costs a request for each thousand objects.
        """
        found: dict[int, set[str]] = {}
        for entry in self._store.list(SEAL_CHAIN):
            digits, _, suffix = entry.key.removeprefix(SEAL_CHAIN).partition(".")
            if digits.isdecimal():
                found.setdefault(int(digits), set()).add(suffix)
        sealed = sorted(number for number, suffixes in found.items() if "txt" in suffixes)
        gap = next((due for due, number in enumerate(sealed, 1) if due != number), None)
        if gap is not None:
            raise ChainBroken(f"{seal_key(gap)} is missing: restore it from a version, a replica or a copy")
        return {number: found[number] for number in sealed}

    def save(self, looked: dict[str, str]) -> None:
        """Save what was read, and what days were found sealed."""
        update_seal_index(self._store, deepcopy(self.index), looked, replaces=self._is_index_wrong)
        self._is_index_wrong = False


def describe_head(store: ObjectStore, clock: Clock) -> str:
    """Return the head of the chain as a short text: its number and its SHA-256. Empty before the first seal.

    Shown and sent out of the bucket, it is the witness that no seal was removed at the chain's end.
    """
    chain = SealChain(store, clock)
    chain.catch_up()
    number, digest = chain.head
    return f"{number:06d} {digest}" if number else ""


def describe_head_or_fault(store: ObjectStore, clock: Clock) -> str:
    """Return the head of the chain, or why it cannot be shown: a message about something else goes out all the same."""
    try:
        return describe_head(store, clock)
    except ArchiveError as error:
        return f"it cannot be shown: {error}"
