"""The text of a seal: what it says of a day, and the hashes of what the day has. It names no call and no person.

Each hash is the SHA-256 of a manifest line with its line end. A line is the hash of a record, which has 128 random
bits in it, or of a recording, and the path. So nobody can test a guess of an id or a number against a seal.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from .days import parse_time
from .hash_set import HashSet

NO_PREVIOUS = "0" * 64
FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}").fullmatch
_HASHES = re.compile(rb"(?:[0-9a-f]{64}\n)*+").fullmatch  # possessive: going back would take 120 bytes a line
_LINE_BYTES = 65
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_SECTIONS = ("records", "audio", "withdrawn")
_END = b"end\n"


class BadSeal(ValueError):
    """A text is no seal. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One seal of one day.

    `previous` is the SHA-256 of the seal before it in the chain, `follows` the number of the seal of the same day that
    this one follows, None for the day's first. `records` and `audio` are the hashes of the manifest lines that were
    added or replaced since that one, `withdrawn` those that it took out: of replaced lines, and of calls that an
    earlier day keeps. `never_sealed` counts the day's tombstones of calls that were erased before they were sealed.
    `counts` are those of the reconciliation, `counters` upstream's own.
    """

    number: int
    previous: str
    day: date
    version: int
    never_sealed: int
    follows: int | None
    verdict: str
    sealed_at: datetime
    is_signature_due: bool
    records: HashSet = field(default_factory=HashSet)
    audio: HashSet = field(default_factory=HashSet)
    withdrawn: HashSet = field(default_factory=HashSet)
    counts: Mapping[str, object] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def content(self) -> tuple[object, ...]:
        """What is compared: two seals of one day with equal content say the same of it."""
        lines = (self.records, self.audio, self.withdrawn)
        return (self.day, self.version, self.verdict, self.never_sealed, *lines)

    def pieces(self) -> Iterator[bytes]:
        """Yield the text that is stored, in pieces: that of a million calls has 130 MB.

        The first five lines are where the commands of VERIFY.txt expect them.
        """
        follows = f"{self.follows:06d}" if self.follows is not None else "none"
        lines = [
            f"seal: {self.number:06d}",
            f"previous: {self.previous}",
            f"day: {self.day.isoformat()}",
            f"version: {self.version}",
            f"never sealed: {self.never_sealed}",
            f"follows: {follows}",
            f"format: {FORMAT}",
            f"verdict: {self.verdict}",
            f"sealed at: {self.sealed_at.isoformat(timespec='seconds')}",
            f"signature: {'due' if self.is_signature_due else 'none, no key was set'}",
            *(f"count {name}: {value}" for name, value in sorted(self.counts.items())),
            *(f"counter {_safe_name(name)}: {value}" for name, value in sorted(self.counters.items())),
        ]
        yield "".join(f"{line}\n" for line in lines).encode()
        for name in _SECTIONS:
            hashes: HashSet = getattr(self, name)
            yield f"{name}: {len(hashes)}\n".encode()
            yield from hashes.lines()
        yield _END


def _safe_name(name: str) -> str:
    """Return a counter's name, which is upstream's own, without what could pass for another field."""
    return _NO_NAME.sub("_", name)[:64]


def parse_seal(body: bytes) -> Seal:
    """Read the text of a seal. Raises `BadSeal`."""
    if not body.isascii():
        raise BadSeal("it is no ASCII text")
    if not body.endswith(b"\n" + _END):
        raise BadSeal("its end is missing")
    fields, begin = _read_fields(body)
    hashes = _read_sections(body, begin)
    try:
        sealed_at = parse_time(fields["sealed at"])
        if sealed_at is None or not _HASH(fields["previous"]) or fields["format"] != str(FORMAT):
            raise ValueError
        return Seal(
            number=int(fields["seal"]),
            previous=fields["previous"],
            day=date.fromisoformat(fields["day"]),
            version=int(fields["version"]),
            never_sealed=int(fields["never sealed"]),
            follows=None if fields["follows"] == "none" else int(fields["follows"]),
            verdict=fields["verdict"],
            sealed_at=sealed_at,
            is_signature_due=fields["signature"] == "due",
            records=hashes["records"],
            audio=hashes["audio"],
            withdrawn=hashes["withdrawn"],
            counts={name[6:]: value for name, value in fields.items() if name.startswith("count ")},
            counters={name[8:]: int(value) for name, value in fields.items() if name.startswith("counter ")},
        )
    except (KeyError, ValueError):
        raise BadSeal("a field is missing, or is not what its name says") from None


def _read_fields(body: bytes) -> tuple[dict[str, str], int]:
    """Return the fields before the sections, and where the sections begin."""
    end = body.find(f"\n{_SECTIONS[0]}: ".encode())
    if end < 0:
        raise BadSeal("it has no hashes")
    lines = (line.rpartition(": ") for line in body[:end].decode().split("\n"))
    return {name: value for name, _, value in lines}, end + 1


def _read_sections(body: bytes, begin: int) -> dict[str, HashSet]:
    found: dict[str, HashSet] = {}
    for name in _SECTIONS:
        first = body.index(b"\n", begin) + 1  # there is one: the text ends with it
        label, _, count = body[begin : first - 1].decode().partition(": ")
        end = first + _LINE_BYTES * (int(count) if count.isdecimal() and len(count) < 10 else 0)
        lines = memoryview(body)[first:end]
        if label != name or end >= len(body) or not _HASHES(lines):
            raise BadSeal(f"its section {name!r} is cut, or has something else than hashes")
        found[name], begin = HashSet.from_lines(lines), end
    if body[begin:] != _END:
        raise BadSeal("it has lines behind its hashes")
    return found


def sha256_of_text(body: bytes) -> str:
    """Return the hash by which the next seal names a seal."""
    return hashlib.sha256(body).hexdigest()


def open_lines(seals: Iterable[Seal]) -> tuple[HashSet, HashSet]:
    """Return the hashes of records and of recordings that a day's seals, in their order, say that the day has."""
    records, audio = HashSet(), HashSet()
    for seal in seals:
        records = records - seal.withdrawn | seal.records
        audio = audio - seal.withdrawn | seal.audio
    return records, audio
