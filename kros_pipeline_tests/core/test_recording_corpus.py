"""Recordings as they come: what plays is kept with its very bytes, and what is provably cut does not pass for whole.

The files are real encoders' output (speech of a synthesizer), with tags and cuts made by hand. Generated variants come
of them. Where ffmpeg and mpg123 are installed, they are asked, too.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core.audio import NotAudio
from kros_pipeline.core.audio_check import Stated, decide, examine
from kros_pipeline.core.audio_formats import inspect_audio
from kros_pipeline.core.errors import InvalidAudio
from kros_pipeline_tests.core.test_mp3 import ID3V1, ape, id3v2

AUDIO = Path(__file__).parents[1] / "data" / "audio"
FRAME_SECONDS = 0.024

# The seconds that play, and a part of the defects; None: there is nothing to name.
PLAYS: dict[str, tuple[float, str | None]] = {
    "14-free-format-90k": (3.048, None),
    "22-two-id3v2-tags-in-front": (3.024, None),
    "25-id3v2-size-off-by-10-short": (3.024, "10 bytes at byte 50, in front of the frames"),
    "28-two-id3v1": (3.024, None),
    "31b-mutagen-apev2-on-id3v1": (3.024, None),
    "33-lyrics3v2-id3v1": (3.024, None),
    "40-truncated-last-frame": (3.0, "the last frame is cut: 188 of its 288 bytes are there"),
    "44-newline-behind": (3.024, "1 byte at byte 36288, behind the frames"),
    "61-concat-two-ffmpeg-files-id3-between": (5.112, "a tag of 45 bytes at byte 36621, between frames"),
    "64-sample-rate-change-48k-44k": (5.088, "the sample rate changes at byte 36288 from 48000 to 44100 Hz"),
    "66-encoder-restart-truncated-frame-between": (3.552, "a frame at byte 18144 is cut: 150 of its 288 bytes"),
    "73-ogg-opus": (3.0, "upstream's format changed: Ogg, Opus"),
}
CUT = {"80-info-says-126-frames-87-came": "its Info header says 126 frames, and 87 came"}


@cache
def body_of(name: str) -> bytes:
    return (AUDIO / f"{name}.mp3").read_bytes()


@cache
def speech() -> bytes:
    """Plain frames of real speech, 288 bytes each, without a tag."""
    return body_of("44-newline-behind")[:-1]


def test_every_file_has_its_outcome() -> None:
    assert {path.stem for path in AUDIO.iterdir()} == {*PLAYS, *CUT}


@pytest.mark.parametrize(("name", "expected"), PLAYS.items(), ids=list(PLAYS))
def test_a_file_that_plays_is_accepted_and_its_defects_are_named(name: str, expected: tuple[float, str | None]) -> None:
    seconds, defect = expected
    found = decide(examine(body_of(name)), None)
    assert found.audio.duration_seconds == pytest.approx(seconds, abs=0.001)
    assert (defect in "; ".join(found.defects)) if defect else not found.defects


@pytest.mark.parametrize(("name", "proof"), CUT.items())
def test_a_file_that_says_how_it_is_cut_is_refused(name: str, proof: str) -> None:
    candidate = examine(body_of(name))
    assert candidate.is_doubtful
    with pytest.raises(InvalidAudio, match=proof) as cut:
        decide(candidate, None)
    assert cut.value.check == "counts"
    with pytest.raises(InvalidAudio, match=f"cut at the source: {proof}") as at_source:
        decide(candidate, Stated(candidate.size_bytes))
    assert at_source.value.check == "source"


# Variants: what may stand in front, between and behind, how often, and where the file ends.


def lyrics3(*, version: int) -> bytes:
    if version == 1:
        return b"LYRICSBEGIN" + b"[00:01] la la" + b"LYRICSEND"
    fields = b"LYRICSBEGIN" + b"IND00003110" + b"LYR00005la la"
    return fields + f"{len(fields):06}".encode() + b"LYRICS200"


def appended_id3v2(size: int) -> bytes:
    tag = id3v2(size, flags=0x10)
    return tag + b"3DI" + tag[3:10]


TAGS = {
    "ID3v2.4": id3v2(75),
    "ID3v2.4 with a footer": appended_id3v2(40),
    "ID3v2.3": b"ID3\3" + id3v2(300)[4:],
    "ID3v2.2": b"ID3\2" + id3v2(12)[4:],
    "ID3v1": ID3V1,
    "TAG+ and ID3v1": b"TAG+" + bytes(223) + ID3V1,
    "APEv2": ape(60, header=True),
    "Lyrics3v1": lyrics3(version=1) + ID3V1,
    "Lyrics3v2": lyrics3(version=2) + ID3V1,
}
BEHIND_ONLY = {"APEv1": ape(60, header=False)}
PADDING = (b"", b"\n", b"\r\n", bytes(1), bytes(100), b" " * 7)
MARKS = (b"", b"\xef\xbb\xbf")

tags = st.lists(st.sampled_from(sorted(TAGS)), max_size=3).map(lambda names: b"".join(TAGS[name] for name in names))
behind_tags = st.lists(st.sampled_from(sorted(TAGS | BEHIND_ONLY)), max_size=3).map(
    lambda names: b"".join((TAGS | BEHIND_ONLY)[name] for name in names)
)
padding = st.sampled_from(PADDING)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MARKS), tags, padding, st.integers(0, 2), tags, padding, behind_tags, padding)
def test_no_tag_or_padding_anywhere_refuses_a_recording(
    mark: bytes, front: bytes, first: bytes, joined: int, between: bytes, inner: bytes, behind: bytes, last: bytes
) -> None:
    body = mark + front + first + speech() + (between + inner + speech()) * joined + behind + last
    found = decide(examine(body), None)
    assert found.audio.duration_seconds == pytest.approx(3.024 * (1 + joined))
    assert found.is_mp3


@settings(max_examples=40, deadline=None)
@given(tags, st.integers(288, 126 * 288 - 1), behind_tags)
def test_a_recording_that_ends_anywhere_keeps_its_whole_frames_and_says_how_it_ends(
    front: bytes, end: int, behind: bytes
) -> None:
    whole, rest = divmod(end, 288)
    body = front + speech()[:end] + behind
    found = decide(examine(body), None)
    # The first bytes of a tag may fill up the last frame, so that nobody sees that it is cut.
    assert found.audio.duration_seconds == pytest.approx(whole * FRAME_SECONDS, abs=FRAME_SECONDS + 1e-6)
    if rest and not behind:
        assert found.defects == (f"the last frame is cut: {rest} of its 288 bytes are there",) or rest < 4


@settings(max_examples=30, deadline=None)
@given(tags, st.integers(0, 126), behind_tags, st.sampled_from([b"Xing", b"Info"]))
def test_a_recording_that_states_its_frames_is_never_whole_with_fewer(
    front: bytes, frames: int, behind: bytes, name: bytes
) -> None:
    counts = (speech()[:4] + bytes(17) + name + struct.pack(">II", 1, 126)).ljust(288, b"\0")
    body = front + counts + speech()[: frames * 288] + behind
    if frames >= 125:
        assert decide(examine(body), None).is_counted
    else:
        with pytest.raises(InvalidAudio, match=f"says 126 frames, and {frames} came"):
            decide(examine(body), None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 125), st.integers(1, 60))
def test_overwritten_frames_are_lost_audio_beyond_two_percent(first: int, count: int) -> None:
    body = bytearray(speech() * 4)
    last = min(first + count, 126)
    body[first * 288 : last * 288] = bytes((last - first) * 288)
    try:
        found = inspect_audio(body)
    except NotAudio as lost:
        assert last - first > 0.02 * 504 and "audio is lost" in str(lost)
        return
    assert last - first <= 0.02 * 504
    assert found.audio.duration_seconds == pytest.approx((504 - last + first) * FRAME_SECONDS) and found.defects


# Exact facts, and questions.


@pytest.mark.parametrize(
    ("call", "stated", "is_length_known", "outcome"),
    [
        # the call's duration is another unit, ring time, or paused: upstream's answer settles it
        (0.0, Stated(36_288, 3.0), True, ""),
        (30.0, Stated(36_288, 3.0), True, ""),
        (30.0, Stated(36_288, None), True, ""),
        (30.0, Stated(None, 3.0), True, ""),
        (3_000.0, Stated(36_288, 3.0), True, ""),
        (None, None, True, ""),
        (4.9, None, True, ""),
        # nobody answers
        (30.0, None, True, "3.0 s of audio for a call of 30 s (upstream did not say)"),
        (0.0, Stated(), True, "3.0 s of audio for a call of 0 s (upstream did not say)"),
        (6.0, Stated(), True, "3.0 s of audio for a call of 6 s (upstream did not say)"),
        (None, Stated(None, 3.0), False, "nothing says how many bytes it must have (upstream did not say)"),
        # other numbers than came
        (3.0, Stated(36_000, 3.0), True, "upstream says 36,000 bytes, and 36,288 came"),
        (
            30.0,
            Stated(36_288, 30.0),
            True,
            "3.0 s of audio for a call of 30 s, and upstream says 30 s of its recording",
        ),
        (1.0, Stated(None, 0.5), True, "3.0 s of audio for a call of 1 s, and upstream says 0.5 s of its recording"),
        # a cut
        (3.0, Stated(36_289, 3.0), True, "size"),
        (3.0, Stated(96_288, None), False, "size"),
        (None, Stated(None, 60.0), False, "duration"),
        (30.0, Stated(None, 30.0), True, "duration"),
    ],
)
def test_exact_facts_decide_and_a_duration_only_asks(
    call: float | None, stated: Stated | None, is_length_known: bool, outcome: str
) -> None:
    candidate = examine(speech(), is_length_known=is_length_known, call_seconds=call)
    if outcome in ("size", "duration"):
        with pytest.raises(InvalidAudio) as refused:
            decide(candidate, stated)
        assert refused.value.check == outcome
    else:
        assert "; ".join(decide(candidate, stated).defects) == outcome


@pytest.mark.parametrize(
    ("call", "is_length_known", "is_doubtful"),
    [(3.0, True, False), (None, True, False), (3.0, False, True), (0.0, True, True), (6.0, True, True)],
)
def test_upstream_is_asked_only_where_a_fact_is_missing_or_odd(
    call: float | None, is_length_known: bool, is_doubtful: bool
) -> None:
    assert examine(speech(), is_length_known=is_length_known, call_seconds=call).is_doubtful == is_doubtful


@pytest.mark.parametrize(
    ("size_bytes", "is_accepted"), [(11_786, True), (None, True), (11_000, False), (12_000, False)]
)
def test_another_format_is_the_recording_unless_upstreams_size_contradicts_it(
    size_bytes: int | None, is_accepted: bool
) -> None:
    candidate = examine(body_of("73-ogg-opus"), call_seconds=3.0)
    assert candidate.is_doubtful
    if is_accepted:
        assert not decide(candidate, Stated(size_bytes, 3.0)).is_mp3
    else:
        with pytest.raises(InvalidAudio, match=r"upstream says 1[12],000"):
            decide(candidate, Stated(size_bytes, 3.0))


def test_an_empty_body_is_a_recording_of_a_call_of_no_time_only() -> None:
    empty = examine(b"", call_seconds=0.0)
    assert empty.is_doubtful
    assert decide(empty, Stated(0, 0.0)).defects == ("the body of a call of 0 s is empty",)
    with pytest.raises(InvalidAudio, match="0 bytes came"):
        decide(empty, Stated(288, None))
    for call in (None, 3.0):
        with pytest.raises(InvalidAudio, match="the body is empty"):
            decide(examine(b"", call_seconds=call), None)


# Independent decoders.


def variants() -> dict[str, bytes]:
    """The files, and a few variants: each costs a decoder's start."""
    made = {name: body_of(name) for name in (*PLAYS, *CUT)}
    made["every tag behind"] = speech() + b"".join((TAGS | BEHIND_ONLY).values())
    made["every ID3v2 in front"] = b"".join(tag for name, tag in TAGS.items() if name.startswith("ID3v2")) + speech()
    made["a tag between"] = speech() + TAGS["ID3v2.3"] + speech()
    made["padding behind"] = speech() + bytes(4_096)
    made["destroyed frames"] = speech() + bytes(288 * 2) + speech()
    made["cut in the middle"] = speech()[:10_000] + speech()
    return made


def decoded_seconds(command: list[str], body: bytes, bytes_per_second: int) -> float:
    decoded = subprocess.run(command, input=body, capture_output=True, timeout=60, check=False).stdout
    return len(decoded) / bytes_per_second


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_what_ffmpeg_plays_is_accepted_with_the_same_length() -> None:
    command = ["ffmpeg", "-v", "quiet", "-i", "-", "-f", "s16le", "-ac", "1", "-ar", "8000", "-"]
    for name, body in variants().items():
        if name.startswith("14-"):
            continue  # ffmpeg does not play free format
        compare_with_decoder(name, body, decoded_seconds(command, body, 16_000))


@pytest.mark.skipif(shutil.which("mpg123") is None, reason="mpg123 is not installed")
def test_what_mpg123_plays_is_accepted_with_the_same_length() -> None:
    command = ["mpg123", "-q", "-s", "-e", "s16", "-m", "-r", "8000", "--resync-limit", "-1", "-"]
    for name, body in variants().items():
        if name.startswith("73-"):
            continue  # it plays MPEG audio only
        compare_with_decoder(name, body, decoded_seconds(command, body, 16_000))


def compare_with_decoder(name: str, body: bytes, seconds: float) -> None:
    """Compare within five frames: decoders leave out the frame that states counts, and what an encoder put in front."""
    assert seconds > 1, name
    ours = inspect_audio(body)
    if name in CUT:
        assert ours.cut
    else:
        assert not ours.cut and ours.audio.duration_seconds == pytest.approx(seconds, abs=5 * FRAME_SECONDS), name
