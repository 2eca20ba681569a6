"""Seal one day: write its records and its manifest, then put a seal over what is new in them.

The records come first: their random bits must be in the archive before a seal that nobody could repeat without them. A
run that is killed in between leaves lines that no seal has; the next look takes the same lines, and seals them.
"""

import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import BinaryIO

from ..archive.compare_and_swap import compare_and_swap
from ..archive.object_store import ObjectStore
from ..archive.seal_chain import SealChain
from ..archive.sealed_day import (
    DayFile,
    is_erasure_mark,
    open_manifest,
    open_records,
    replace_manifest,
    replace_records,
    write_verify_page,
)
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.call_records import (
    SALT_BYTES,
    Record,
    hash_line,
    is_same_record,
    parse_manifest_line,
    parse_record,
    remarks_in,
    write_manifest_line,
    write_record,
    write_remark,
)
from ..core.clock import Clock
from ..core.digest_set import DigestSet
from ..core.errors import ArchiveError, ObjectChanged
from ..core.hash_set import HashSet
from ..core.object_keys import call_key
from ..core.seal_keys import call_key_in_path, manifest_key, record_path
from ..core.seal_text import Seal, open_lines
from ..core.verify_page import write_page
from .day_records import open_day_records

_WITHDRAWN = "withdrawn"
_NONE = HashSet()


class SealRefused(ArchiveError):
    """What the archive has of a sealed day is not what its seals say, and no erasure explains it."""


@dataclass(frozen=True)
class _NewLines:
    """What a day's files are to be: the hashes of their lines, and of those that they do not have any more."""

    records: HashSet
    audio: HashSet
    withdrawn: HashSet


@dataclass(frozen=True)
class DayFacts:
    """What the day's reconciliation says of it: the verdict, the counts, and upstream's counters."""

    verdict: str
    counts: Mapping[str, object]
    counters: Mapping[str, int]


def seal_day(
    day: date,
    state: DayFacts,
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    chain: SealChain,
    clock: Clock,
    is_signature_due: bool,
) -> Seal | None:
    """Seal a day, or what has changed of it since its last seal; None where nothing has.

    Raises `SealRefused` where a sealed call is gone without an erasure, `ChainBroken`, and `ArchiveUnavailable`.
    """

    def attempt() -> Seal | None:
        return _Attempt(day, state, store, tables, tombstones, chain, clock, is_signature_due).run()

    return compare_and_swap(manifest_key(day), attempt)


class _Attempt:
    """One try to seal a day. Where another run was first, it raises `ObjectChanged`, and all is read again."""

    def __init__(
        self,
        day: date,
        state: DayFacts,
        store: ObjectStore,
        tables: Tables,
        tombstones: Tombstones,
        chain: SealChain,
        clock: Clock,
        is_signature_due: bool,
    ):
        self._day, self._state, self._store, self._tables = day, state, store, tables
        self._tombstones, self._chain, self._clock = tombstones, chain, clock
        self._is_signature_due = is_signature_due

    def run(self) -> Seal | None:
        self._chain.catch_up()
        seals = self._chain.seals_of(self._day)
        records, audio = open_lines(seals)
        seals = [replace(seal, records=_NONE, audio=_NONE, withdrawn=_NONE) for seal in seals]  # each may have 100 MB
        with (
            open_records(self._store, self._day) as old_records,
            open_manifest(self._store, self._day) as old_manifest,
            tempfile.TemporaryFile(prefix="kros-") as new_records,
            tempfile.TemporaryFile(prefix="kros-") as new_manifest,
        ):
            # After the files were read: an erasure from now on gives them another version.
            self._erased = self._tombstones.pseudonyms()
            erased_count = len(self._tombstones.pseudonyms_of(self._day, max_age_seconds=2.0))
            new = self._write(old_records, old_manifest, new_records, new_manifest, (records, audio))
            missing = len(records - new.withdrawn - new.records)
            never_sealed = erased_count - missing
            self._refuse_losses(seals, missing, never_sealed, len(audio - new.withdrawn - new.audio))
            replace_records(old_records, new_records)
            replace_manifest(old_manifest, new_manifest)
        write_verify_page(self._store, self._day, write_page(self._day, self._store.url("")))
        last = seals[-1] if seals else None
        added_records, added_audio = new.records - records, new.audio - audio
        is_as_sealed = (
            last is not None
            and not (len(added_records) or len(added_audio) or len(new.withdrawn))
            and (last.verdict, last.never_sealed) == (self._state.verdict, never_sealed)
        )
        if is_as_sealed:
            return None
        return self._chain.append(self._maker(seals, new, added_records, added_audio, never_sealed))

    def _maker(
        self, seals: list[Seal], new: _NewLines, records: HashSet, audio: HashSet, never_sealed: int
    ) -> Callable[[int, str], Seal | None]:
        last = seals[-1] if seals else None

        def make(number: int, previous: str) -> Seal | None:
            seal = Seal(
                number=number,
                previous=previous,
                day=self._day,
                version=len(seals) + 1,
                never_sealed=never_sealed,
                follows=last.number if last is not None else None,
                verdict=self._state.verdict,
                sealed_at=self._clock.now(),
                is_signature_due=self._is_signature_due,
                records=records,
                audio=audio,
                withdrawn=new.withdrawn,
                counts=self._state.counts,
                counters=self._state.counters,
            )
            present = self._chain.seals_of(self._day)
            if len(present) == len(seals):
                return seal
            if present[-1].content == seal.content:
                return None  # another run, or this one, whose answer was lost, has put it
            raise ObjectChanged(f"{self._day}: another run has sealed it meanwhile")

        return make

    def _refuse_losses(self, seals: list[Seal], missing: int, never_sealed: int, missing_audio: int) -> None:
        sealed_before = seals[-1].never_sealed if seals else 0
        if never_sealed < sealed_before or missing_audio > missing:
            raise SealRefused(
                f"{self._day}: {missing} sealed records and {missing_audio} sealed recordings are in no line any more, "
                f"and {never_sealed + missing - sealed_before} erasures account for them. Restore "
                f"{manifest_key(self._day)} and the records beside it from a version, and the tables, too; the next "
                "look goes on"
            )

    def _write(
        self,
        old_records: DayFile,
        old_manifest: DayFile,
        new_records: BinaryIO,
        new_manifest: BinaryIO,
        sealed: tuple[HashSet, HashSet],
    ) -> _NewLines:
        """Write the new files, and return their hashes. A record that says nothing new keeps its line."""
        hashes, audio_hashes, known = bytearray(), bytearray(), DigestSet()
        new_records.writelines(line for line in old_records.remarks() if is_erasure_mark(line))
        with (
            tempfile.TemporaryFile(prefix="kros-") as audio_lines,
            tempfile.TemporaryFile(prefix="kros-") as record_lines,
            open_day_records(self._day, self._tables, self._store.full_key("")) as records,
        ):
            old = _OldRecords(old_records)
            for record in records:
                key = call_key(record["call_id"])
                if self._tombstones.matches(key, self._erased):
                    continue
                line = old.find_same(record) or write_record(record, secrets.token_bytes(SALT_BYTES))
                new_records.write(line)
                known.add(key)
                hashes += _add_line(record_lines, hash_line(line), record_path(self._day, key))
                audio = record["audio"]
                if audio["key"]:
                    audio_hashes += _add_line(audio_lines, audio["sha256"], audio["key"])
            present = HashSet.from_bytes(hashes), HashSet.from_bytes(audio_hashes)
            withdrawn = self._find_withdrawn(old_manifest, known, present, sealed)
            remarks = [line for line in old_manifest.remarks() if is_erasure_mark(line)]
            new_manifest.writelines(remarks)
            new_manifest.writelines(write_remark(_WITHDRAWN, digest) for digest in withdrawn)
            for part in (audio_lines, record_lines):
                part.seek(0)
                while piece := part.read(1 << 20):
                    new_manifest.write(piece)
        return _NewLines(*present, withdrawn)

    def _find_withdrawn(
        self, old_manifest: DayFile, known: DigestSet, present: tuple[HashSet, HashSet], sealed: tuple[HashSet, HashSet]
    ) -> HashSet:
        """Return the sealed lines that are replaced, or of a call that an earlier day keeps.

        `known` are the keys of the day's calls. The manifest keeps the lines as remarks until they are in a seal: a
        killed run must not forget them.
        """
        withdrawn = (digest for digest in remarks_in(old_manifest.remarks(), _WITHDRAWN) if _has(sealed, digest))
        hashes = bytearray().join(map(bytes.fromhex, withdrawn))
        moved: frozenset[str] | None = None
        for line in old_manifest.lines():
            parsed, digest = parse_manifest_line(line), hash_line(line)
            if parsed is None or not _has(sealed, digest) or _has(present, digest):
                continue
            key = call_key_in_path(parsed[1])
            is_known = key in known
            if not is_known and self._tombstones.matches(key, self._erased):
                continue
            if moved is None:
                moved = self._tables.moved.keys_of(self._day)
            if not (is_known or key in moved):
                raise SealRefused(
                    f"{self._day}: a sealed call is in no table any more, and was neither erased nor moved to an "
                    f"earlier day: {key}. Restore the day's tables from a version; the next look goes on"
                )
            hashes += bytes.fromhex(digest)
        return HashSet.from_bytes(hashes) - present[0] - present[1]


class _OldRecords:
    """The stored records of a day, looked up in ascending order of ids."""

    def __init__(self, file: DayFile):
        self._lines = file.lines()
        self._advance()

    def _advance(self) -> None:
        self._line = next(self._lines, b"")
        record = parse_record(self._line) if self._line else None
        self._call_id = record["call_id"] if record is not None else None

    def find_same(self, record: Record) -> bytes | None:
        """Return the stored line that says the same; None where there is none."""
        while self._line and (self._call_id is None or self._call_id < record["call_id"]):
            self._advance()
        if self._call_id == record["call_id"] and is_same_record(self._line, record):
            return self._line
        return None


def _has(hashes: tuple[HashSet, HashSet], digest: str) -> bool:
    return any(digest in some for some in hashes)


def _add_line(file: BinaryIO, sha256: str, path: str) -> bytes:
    """Write a manifest line, and return its hash."""
    line = write_manifest_line(sha256, path)
    file.write(line)
    return bytes.fromhex(hash_line(line))
