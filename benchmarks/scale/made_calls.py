"""Make the calls of a day of any size, each from its number: nothing of them is kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

import numpy as np

from benchmarks.transcript_tables import make_texts
from kros_pipeline.core.calls import Call
from kros_pipeline.core.days import start_of
from kros_pipeline.sandbox.mp3 import FRAME_BYTES, FRAME_MILLISECONDS, mp3_audio

_DAY_MICROSECONDS = 86_400_000_000
_ID_BITS = 48
_FACTOR = 0x9E3779B97F4B | 1  # odd, so that every number has an id of its own, in no order
_INVERSE = pow(_FACTOR, -1, 1 << _ID_BITS)
_TEXT_CHARACTERS = 560  # about 600 with the sentence that is added
_FRAMES = 210  # five seconds: bodies that are shorter are not compared with each other
_NUMBER_AT, _NUMBER_BYTES = FRAME_BYTES - 4, 4  # bytes that decoders skip, below 0x80 each

AUDIO_BYTES = _FRAMES * FRAME_BYTES
AUDIO_SECONDS = _FRAMES * FRAME_MILLISECONDS / 1000
FLAGGED_PATTERN = r"\breference is \d+00\b"
"""The pattern of a rule that flags one call in a hundred."""


@dataclass(frozen=True)
class MadeCalls:
    """The calls of one day: all completed, recorded, listed with their whole transcripts, at equal distances."""

    day: date
    count: int
    listed_at: datetime

    @property
    def _step_microseconds(self) -> int:
        return _DAY_MICROSECONDS // self.count

    @cached_property
    def _texts(self) -> list[str]:
        """Texts of very different lengths, so that none looks cut."""
        return ["\n".join(_whole_turns(text)) for text in make_texts()]

    @cached_property
    def _audio(self) -> bytes:
        return bytes(mp3_audio(0, "any call", _FRAMES))

    @property
    def flagged_count(self) -> int:
        """How many calls the rule with `FLAGGED_PATTERN` flags."""
        return -(-self.count // 100)

    def call_id(self, number: int) -> str:
        """Return the id of a call."""
        return f"call_{number * _FACTOR % (1 << _ID_BITS):012x}"

    def number_of(self, call_id: str) -> int:
        """Return the number of the call with this id."""
        return int(call_id.removeprefix("call_"), 16) * _INVERSE % (1 << _ID_BITS)

    def sorted_ids(self) -> Iterator[str]:
        """Yield all ids in ascending order, as the tables have them. It takes 8 bytes a call."""
        ids = np.arange(self.count, dtype=np.uint64) * np.uint64(_FACTOR) & np.uint64((1 << _ID_BITS) - 1)
        ids.sort()
        for begin in range(0, self.count, 1_000):
            yield from (f"call_{number:012x}" for number in ids[begin : begin + 1_000].tolist())

    def created_at(self, number: int) -> datetime:
        """Return when a call was created."""
        return start_of(self.day) + timedelta(microseconds=number * self._step_microseconds)

    def between(self, start: datetime, end: datetime) -> range:
        """Return the numbers of the calls of a window; both ends belong to it."""
        first, last = ((moment - start_of(self.day)) // timedelta(microseconds=1) for moment in (start, end))
        begin = max(0, -(-first // self._step_microseconds))
        return range(begin, max(begin, min(self.count, last // self._step_microseconds + 1)))

    def text(self, number: int) -> str:
        """Return the transcript of a call. One text is longer than all others: equal longest ones look cut."""
        text = f"{self._texts[number % len(self._texts)]}\n[Caller]: My reference is {number:07d}."
        return text if number else f"{text}\n[Agent]: Thank you. {'I have written it down. ' * 40}"

    def audio(self, number: int) -> bytes:
        """Return the recording of a call: no two are equal."""
        own = bytes(number >> 7 * place & 0x7F for place in range(_NUMBER_BYTES))
        return b"".join((self._audio[:_NUMBER_AT], own, self._audio[_NUMBER_AT + _NUMBER_BYTES :]))

    def sha256(self, number: int) -> str:
        """Return the SHA-256 of a call's recording, in hexadecimal."""
        return hashlib.sha256(self.audio(number)).hexdigest()

    def call(self, number: int) -> Call:
        """Return a call as the list shows it."""
        created_at = self.created_at(number)
        return Call(
            call_id=self.call_id(number),
            call_date=self.day,
            organization_id="org_of_the_benchmark",
            status="completed",
            direction="inbound",
            from_number=f"+23480{number:08d}",
            to_number="+2348012345678",
            duration_seconds=AUDIO_SECONDS,
            cost_cents=4.0,
            endpoint_id="ep_of_the_benchmark",
            phone_number_id="pn_of_the_benchmark",
            created_at=created_at,
            answered_at=created_at + timedelta(seconds=2),
            completed_at=created_at + timedelta(seconds=AUDIO_SECONDS + 2),
            has_recording=True,
            listed_transcript=self.text(number),
            extra=None,
            listed_at=self.listed_at,
        )


def _whole_turns(text: str) -> Iterator[str]:
    """Yield the first turns of a text, until they have enough characters."""
    characters = 0
    for turn in text.split("\n"):
        yield turn
        characters += len(turn) + 1
        if characters >= _TEXT_CHARACTERS:
            return
