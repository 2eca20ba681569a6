"""Draw the calls of each day from a seed: the same configuration gives the same calls in the same order.

Most calls are ordinary. With variety, a minority has what an archive must handle: calls at the edges of the day,
unfinished and unrecorded calls, recordings and transcripts that exist although the list does not show them (or shows
a part), and fields that are absent instead of null.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from .config import SandboxConfig
from .hostile_ids import hostile_id
from .mp3 import frames_in
from .transcripts import Script, draw_script

ListedRecording = Literal["url", "null", "absent"]
ListedTranscript = Literal["whole", "shortened", "shortened…", "unlabelled", "null", "absent"]

_STATUSES = ("completed",) * 88 + ("failed",) * 4 + ("in_progress",) * 2 + ("busy",) * 3 + ("no_answer",) * 3
_LISTED_RECORDINGS: tuple[ListedRecording, ...] = ("url",) * 94 + ("null",) * 4 + ("absent",) * 2
_LISTED_TRANSCRIPTS: tuple[ListedTranscript, ...] = (
    ("whole",) * 82 + ("shortened",) * 4 + ("shortened…",) * 2 + ("unlabelled",) * 6 + ("null",) * 4 + ("absent",) * 2
)
_LISTED_NOTHING: tuple[Literal["null", "absent"], ...] = ("null", "null", "null", "absent")
_ENDPOINTS = ("ep_sales01", "ep_support", "ep_billing")
_PHONES = (("pn_lagos1", "+2348012345678"), ("pn_abuja1", "+2349087654321"), ("pn_sfo415", "+14155551234"))
_EDGES_SECONDS = (0.0, 1.0, 86_399.0, 86_399.5)
"""The first and the last moments of a day. A filter that ends at 23:59:59 misses the last one."""
_REMARKABLE_CALLS = len(_EDGES_SECONDS) + 2


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is, and how the list shows it."""

    id: str
    status: str
    direction: str
    from_number: str
    to_number: str
    endpoint_id: str
    phone_number_id: str
    created_at: datetime
    answered_at: datetime | None
    completed_at: datetime | None
    duration_seconds: int
    recorded: bool
    audio_frames: int
    listed_recording: ListedRecording
    script: Script | None
    """None if there is no transcript."""
    listed_transcript: ListedTranscript
    late: bool = False
    hidden: bool = False
    """The list leaves it out, with its total; every other route has it."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields beyond the documented ones."""


def draw_calls(config: SandboxConfig, day: str, count: int, *, batch: int = 0) -> Iterator[Call]:
    """Draw `count` calls created on `day`. Another `batch` gives other calls of the same day."""
    rng = random.Random(f"{config.seed}/{day}/{batch}")
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    is_first_batch = batch == 0 and day == next(iter(config.calls_by_day))
    for number in range(count):
        call_id = _draw_id(config, rng, number, is_first_batch=is_first_batch)
        call = _draw_call(config, rng, call_id, midnight + timedelta(seconds=int(rng.random() * 86_400)))
        if config.variety and batch == 0 and count >= _REMARKABLE_CALLS + 2 and number < _REMARKABLE_CALLS:
            call = _make_remarkable(config, call, number, midnight)
        elif config.variety and call_id != "..":  # no client can ask for /calls/.., so the list shows it whole
            call = _vary_call(config, rng, call)
        if call.status == "completed" and rng.random() < config.late_share:
            call = replace(call, late=True)
        yield call


def place_call(
    config: SandboxConfig,
    created_at: datetime,
    batch: int,
    *,
    status: str,
    duration_seconds: int | None,
    recorded: bool,
) -> Call:
    """Draw one ordinary call that begins exactly at `created_at`. Raises ValueError for a negative duration."""
    plain = replace(config, variety=False, late_share=0.0)
    [call] = draw_calls(plain, created_at.date().isoformat(), 1, batch=batch)
    call = move_call(call, created_at)
    if duration_seconds is not None and call.answered_at:
        if duration_seconds < 0:
            raise ValueError(f"duration_seconds must not be negative, but is {duration_seconds}")
        completed_at = call.answered_at + timedelta(seconds=duration_seconds)
        frames = frames_in(duration_seconds)
        call = replace(call, completed_at=completed_at, duration_seconds=duration_seconds, audio_frames=frames)
    if not recorded:
        call = replace(call, recorded=False, audio_frames=0, listed_recording="null")
    return _end_with(call, status)


def replace_call(call: Call, call_id: str) -> Call:
    """Return another call in the same place: with its own id, audio and text, but equal in every other field."""
    return replace(call, id=call_id, script=call.script and replace(call.script, seed=f"{call.script.seed}/{call_id}"))


def as_in_progress(call: Call) -> Call:
    """Return the same call before it ended."""
    return replace(
        call, status="in_progress", completed_at=None, duration_seconds=0, recorded=False, audio_frames=0,
        listed_recording="null", script=None, listed_transcript="null",
    )  # fmt: skip


def _draw_id(config: SandboxConfig, rng: random.Random, number: int, *, is_first_batch: bool) -> str:
    match config.id_style:
        case "uuid":
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        case "hostile":
            return hostile_id(number, f"{rng.getrandbits(40):010x}", is_bare=is_first_batch)
        case _:
            return f"call_{rng.getrandbits(56):014x}"


def _draw_call(config: SandboxConfig, rng: random.Random, call_id: str, created_at: datetime) -> Call:
    shortest, longest = config.audio_seconds
    duration = shortest + int((longest - shortest + 1) * rng.random() ** 2)
    answered_at = created_at + timedelta(seconds=1 + int(12 * rng.random()))
    phone_id, own_number = _PHONES[int(rng.random() * 3)]
    customer = f"+234{7010000000 + int(rng.random() * 2_000_000_000)}"
    if rng.random() < 0.4:
        customer = f"+1{2010000000 + int(rng.random() * 7_000_000_000)}"
    is_inbound = rng.random() < 0.7
    return Call(
        id=call_id,
        status="completed",
        direction="inbound" if is_inbound else "outbound",
        from_number=customer if is_inbound else own_number,
        to_number=own_number if is_inbound else customer,
        endpoint_id=_ENDPOINTS[int(rng.random() * 3)],
        phone_number_id=phone_id,
        created_at=created_at,
        answered_at=answered_at,
        completed_at=answered_at + timedelta(seconds=duration),
        duration_seconds=duration,
        recorded=True,
        audio_frames=frames_in(duration + 0.4 * (2 * rng.random() - 1)),
        listed_recording="url",
        script=Script(f"{config.seed}/{call_id}", turns=6 + int(25 * rng.random() ** 1.6)),
        listed_transcript="whole",
    )


def _vary_call(config: SandboxConfig, rng: random.Random, call: Call) -> Call:
    """Change the call at random: status, extra fields, recording, transcript, and what the list shows of them."""
    extra: dict[str, Any] = {}
    if rng.random() < 0.2:
        extra["metadata"] = {"campaign": rng.choice(("renewal", "onboarding", "àpẹẹrẹ")), "crm_id": rng.getrandbits(24)}
    if rng.random() < 0.1:
        extra["sentiment"] = {"label": rng.choice(("positive", "neutral", "negative")), "score": round(rng.random(), 3)}
    status = rng.choice(_STATUSES)
    if status != "completed":
        return replace(_end_with(call, status), extra=extra)
    recorded = rng.random() < 0.92
    script = draw_script(rng, f"{config.seed}/{call.id}", hostile=config.hostile_text) if rng.random() < 0.94 else None
    return replace(
        call,
        recorded=recorded,
        audio_frames=call.audio_frames if recorded else 0,
        listed_recording=rng.choice(_LISTED_RECORDINGS if recorded else _LISTED_NOTHING),
        script=script,
        listed_transcript=rng.choice(_LISTED_TRANSCRIPTS if script else _LISTED_NOTHING),
        extra=extra,
    )


def _make_remarkable(config: SandboxConfig, call: Call, number: int, midnight: datetime) -> Call:
    """Place the first calls at the edges of the day; the next runs past midnight; the last has a long transcript."""
    if number < len(_EDGES_SECONDS):
        return move_call(call, midnight + timedelta(seconds=_EDGES_SECONDS[number]))
    if number == len(_EDGES_SECONDS):
        next_day = midnight + timedelta(days=1)
        completed_at = next_day + timedelta(seconds=call.duration_seconds)
        return replace(
            call, created_at=next_day - timedelta(seconds=9), answered_at=next_day, completed_at=completed_at
        )
    length = config.longest_transcript_characters
    return replace(call, script=call.script and replace(call.script, at_least_characters=length))


def _end_with(call: Call, status: str) -> Call:
    """Return the completed call as one with another status; if it is not `in_progress`, nobody answered it."""
    if status in ("completed", "in_progress"):
        return call if status == "completed" else as_in_progress(call)
    return replace(as_in_progress(call), status=status, answered_at=None, completed_at=call.answered_at)


def move_call(call: Call, created_at: datetime) -> Call:
    """Return the same call at another time."""
    offset = created_at - call.created_at
    return replace(
        call,
        created_at=created_at,
        answered_at=call.answered_at and call.answered_at + offset,
        completed_at=call.completed_at and call.completed_at + offset,
    )
