"""Every byte of a recording is accounted for. The frames here are built from the standard's tables."""

import io
import struct
from itertools import accumulate, cycle, islice
from typing import Any

import mutagen.mp3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kros_pipeline.core import mp3
from kros_pipeline.core.audio import Audio, NotAudio


def inspect(body: Any) -> Audio:
    return mp3.inspect(body).audio


# One of the documented recordings' frames: 96 kbit/s, 48 kHz, mono, 24 ms.
FRAME = bytes.fromhex("fffb74c0") + bytes(284)


def frame(header: str, size: int, fill: bytes = b"\0") -> bytes:
    return (bytes.fromhex(header) + fill * size)[:size]


def id3v2(size: int, *, flags: int = 0, footer: bytes = b"") -> bytes:
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\4\0" + bytes([flags]) + synchsafe + bytes(size) + footer


def ape(size: int, *, header: bool) -> bytes:
    def block(is_header: bool) -> bytes:
        flags = header << 31 | is_header << 29
        return struct.pack("<8sIIII8x", b"APETAGEX", 2000, size + 32, 0, flags)

    return (block(True) if header else b"") + bytes(size) + block(False)


ID3V1 = b"TAG" + bytes(125)
# 44.1 kHz does not divide: 128 kbit/s are 417 bytes and 45/49 of one, so that most frames are padded.
PADDED = b"".join(
    frame("fffb92c0", 418) if whole else frame("fffb90c0", 417)
    for whole in (before // 49 < after // 49 for before, after in ((45 * n, 45 * n + 45) for n in range(98)))
)
VARIABLE = list(islice(cycle([FRAME, frame("fffb94c0", 384), frame("fffb94c0", 384), frame("fffb54c0", 192)]), 400))


def xing(frames: list[bytes]) -> bytes:
    """The frame in which a file of variable bitrate states its length for other readers."""
    header = b"Xing" + struct.pack(">III", 3, len(frames), sum(map(len, frames)) + 384)
    return (bytes.fromhex("fffb94c0") + bytes(17) + header).ljust(384, b"\0")


# Good files.

GOOD = {
    "the documented form": (FRAME * 1_000, 24.0, 48_000, 1, 96_000),
    "one frame": (FRAME, 0.024, 48_000, 1, 96_000),
    "frames full of what looks like headers": (
        frame("fffb74c0", 288, bytes.fromhex("fffb74c0")) * 99,
        2.376,
        48_000,
        1,
        96_000,
    ),
    "stereo": (frame("fffb9404", 384) * 500, 12.0, 48_000, 2, 128_000),
    "joint stereo": (frame("fffb9464", 384) * 500, 12.0, 48_000, 2, 128_000),
    "with checksums": (frame("fffa74c0", 288) * 500, 12.0, 48_000, 1, 96_000),
    "44.1 kHz with padding": (PADDED, 98 * 1152 / 44_100, 44_100, 1, 128_000),
    "32 kHz": (frame("fffb98c0", 576) * 100, 3.6, 32_000, 1, 128_000),
    "320 kbit/s": (frame("fffbe404", 960) * 100, 2.4, 48_000, 2, 320_000),
    "32 kbit/s": (frame("fffb14c0", 96) * 1_000, 24.0, 48_000, 1, 32_000),
    "MPEG 2, 24 kHz": (frame("fff384c0", 192) * 500, 12.0, 24_000, 1, 64_000),
    "MPEG 2, 16 kHz": (frame("fff348c0", 144) * 500, 18.0, 16_000, 1, 32_000),
    "MPEG 2.5, 8 kHz": (frame("ffe318c0", 72) * 500, 36.0, 8_000, 1, 8_000),
    "a variable bitrate that states its length": (xing(VARIABLE) + b"".join(VARIABLE), 401 * 0.024, 48_000, 1, 104_055),
    "ID3v2 in front": (id3v2(300) + FRAME * 500, 12.0, 48_000, 1, 96_000),
    "a large ID3v2 in front": (id3v2(70_000) + FRAME * 500, 12.0, 48_000, 1, 96_000),
    "ID3v2 with a footer": (id3v2(300, flags=0x10, footer=b"3DI" + bytes(7)) + FRAME * 500, 12.0, 48_000, 1, 96_000),
    "ID3v1 behind": (FRAME * 500 + ID3V1, 12.0, 48_000, 1, 96_000),
    "APE behind": (FRAME * 500 + ape(40, header=False), 12.0, 48_000, 1, 96_000),
    "every tag there is": (id3v2(10) + FRAME * 500 + ape(40, header=True) + ID3V1, 12.0, 48_000, 1, 96_000),
}


@pytest.mark.parametrize(("body", "seconds", "rate", "channels", "bitrate"), GOOD.values(), ids=list(GOOD))
def test_a_whole_mp3_is_measured_over_its_frames(
    body: bytes, seconds: float, rate: int, channels: int, bitrate: int
) -> None:
    audio = inspect(body)
    assert audio.duration_seconds == pytest.approx(seconds, abs=1e-9)
    assert (audio.sample_rate_hz, audio.channels) == (rate, channels)
    assert audio.bitrate_bps == pytest.approx(bitrate, rel=0.001)


@pytest.mark.parametrize(
    "body", [body for body, *_ in GOOD.values() if len(body) > 5_000], ids=lambda body: f"{len(body)} bytes"
)
def test_mutagen_measures_the_same(body: bytes) -> None:
    ours = inspect(body)
    theirs: Any = mutagen.mp3.MP3(io.BytesIO(body)).info  # type: ignore[no-untyped-call]
    one_frame = 0.072
    assert ours.duration_seconds == pytest.approx(theirs.length, abs=one_frame)
    assert (ours.sample_rate_hz, ours.channels) == (theirs.sample_rate, theirs.channels)
    assert ours.bitrate_bps == pytest.approx(theirs.bitrate, rel=0.01)


BITRATES = {
    "fffb": [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    "fff3": [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    "ffe3": [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
RATES = {"fffb": [44_100, 48_000, 32_000], "fff3": [22_050, 24_000, 16_000], "ffe3": [11_025, 12_000, 8_000]}


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("rate_index", range(3))
@pytest.mark.parametrize("sync", BITRATES)
def test_every_bitrate_has_the_frame_size_of_the_standard(sync: str, rate_index: int, padding: int) -> None:
    rate, samples = RATES[sync][rate_index], 1152 if sync == "fffb" else 576
    for index, kbps in enumerate(BITRATES[sync], start=1):
        size = samples * kbps * 125 // rate + padding
        body = frame(f"{sync}{index << 4 | rate_index << 2 | padding << 1:02x}c0", size) * 3
        assert inspect(body) == Audio(3 * samples / rate, rate, 1, round(size * 8 * rate / samples))


@given(st.lists(st.sampled_from(VARIABLE[:4]), min_size=1, max_size=300))
def test_the_duration_is_the_sum_of_all_frames_in_any_order(frames: list[bytes]) -> None:
    assert inspect(b"".join(frames)).duration_seconds == pytest.approx(len(frames) * 0.024)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_may_be_bytes_bytearray_or_memoryview(kind: type) -> None:
    assert inspect(kind(FRAME * 10)).duration_seconds == pytest.approx(0.24)


# A recorder that was stopped: the last frame is cut. All whole frames play.

FRONT = id3v2(20)


@pytest.mark.parametrize(
    ("frames", "behind"),
    [
        ([FRAME] * 4, b""),
        (VARIABLE[:4], b""),
        ([PADDED[:417], PADDED[417:835]], b""),
        ([FRAME] * 2, ID3V1),
        ([FRAME] * 2, ape(9, header=True)),
    ],
    ids=["constant", "variable", "padded", "with ID3v1", "with APE"],
)
def test_a_body_that_ends_anywhere_has_the_frames_before_and_is_refused_without_one(
    frames: list[bytes], behind: bytes
) -> None:
    body = FRONT + b"".join(frames) + behind
    borders = list(accumulate(map(len, frames), initial=len(FRONT)))
    for end in range(len(body) + 1):
        whole = max((count for count, border in enumerate(borders) if border <= end), default=0)
        if whole:
            found = mp3.inspect(body[:end])
            assert found.audio.duration_seconds == pytest.approx(whole * seconds_of(frames[0]))
            assert bool(found.defects) == (end not in (*borders, len(body))), end
        else:
            with pytest.raises(NotAudio):
                inspect(body[:end])


def seconds_of(body: bytes) -> float:
    seconds = inspect(body).duration_seconds
    assert seconds is not None
    return seconds


@pytest.mark.parametrize("missing", [1, 100, 284])
def test_a_cut_frame_is_named_with_the_number_of_its_bytes(missing: int) -> None:
    found = mp3.inspect((FRAME * 100)[:-missing])
    assert found.defects == (f"the last frame is cut: {288 - missing} of its 288 bytes are there",)
    assert found.audio.duration_seconds == pytest.approx(99 * 0.024)


# Bodies that are no MP3.

WAV = struct.pack(
    "<4sI8sIHHIIHH4sI", b"RIFF", 10_036, b"WAVEfmt ", 16, 1, 1, 8_000, 16_000, 2, 16, b"data", 10_000
) + bytes(10_000)
PAGE = b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "the body is empty"),
        # an answer in place of audio
        (PAGE, "an HTML or JSON answer at byte 0 of"),
        (b'{"error": "expired", "code": "EXPIRED"}', "an HTML or JSON answer at byte 0 of"),
        (b"  \n<?xml version='1.0'?><Error/>", "an HTML or JSON answer at byte 0 of"),
        (WAV, "no MP3 frame at byte 0 of 10044"),
        *(
            (body, "no MP3 frame at byte 0 of")
            for body in (b"OggS" + bytes(500), b"fLaC" + bytes(500), b"\x1f\x8b" + bytes(500), b"\xff")
        ),
        *(
            (body, "no MP3 frame at byte 0 of")
            for body in (bytes(500), b"\xff" * 500, b"ID3", b"TAG" + bytes(40), b"hello")
        ),
        # only tags
        *(
            (body, "there is no audio in it, only tags")
            for body in (id3v2(20), ID3V1, id3v2(0) + ape(9, header=True) + ID3V1)
        ),
        (id3v2(2_000)[:1_500], "no MP3 frame at byte 0 of 1500"),
        # headers that no frame has
        *(
            (frame(header, 288) * 9, "no MP3 frame at byte 0 of")
            for header in ("ffff74c0", "fff974c0", "ffeb74c0", "fffbf4c0", "fffb7cc0", "ff7b74c0", "fefb74c0")
        ),
        # lost audio
        ((FRAME * 4 + b"noise" * 9) * 9, "no 10 consistent frames in a row: the most are 4"),
        (FRAME * 500 + bytes(288 * 11) + FRAME * 30, "audio is lost: 11 of 541 expected frames are missing"),
        (
            FRAME * 500 + bytes(288 * 11),
            "audio is lost: 11 of 511 expected frames are missing; there is no MP3 frame at byte 144000",
        ),
        (PADDED[:20_000] + b"\1" * 3_000 + PADDED[23_000:], "audio is lost: 8 of 98 expected frames are missing"),
        (b"".join(VARIABLE[:100]) + b"\1" * 3_500 + b"".join(VARIABLE[100:]), "audio is lost: 11 of 411 expected"),
    ],
    ids=lambda value: ascii(value[:24]) if isinstance(value, bytes) else "",
)
def test_any_other_body_is_refused_with_the_byte_where_it_differs(body: bytes, what: str) -> None:
    with pytest.raises(NotAudio) as refused:
        inspect(body)
    assert str(refused.value).startswith(what)


# What players pass over: it is named, and refuses nothing.
PLAYED = {
    "a page behind": (FRAME * 7 + PAGE, 7, "64 bytes at byte 2016, behind the frames, are no audio"),
    "a newline behind": (FRAME * 700 + b"\n", 700, "1 byte at byte 201600, behind the frames, is no audio"),
    "zeros behind": (FRAME * 700 + bytes(4_096), 700, "4096 bytes at byte 201600, behind the frames, are no audio"),
    "a byte order mark": (b"\xef\xbb\xbf" + FRAME * 9, 9, "3 bytes at byte 0, in front of the frames, are no audio"),
    "bytes between": (
        FRAME * 20 + b"\xff\xfb" + FRAME * 20,
        40,
        "2 bytes at byte 5760, between the frames, are no audio",
    ),
    "many bytes between": (
        FRAME * 20 + b"<p>Error</p>" * 301 + FRAME * 20,
        40,
        "3612 bytes at byte 5760, between the frames, are no audio",
    ),
    "one destroyed frame of 100": (
        FRAME * 50 + bytes(288) + FRAME * 49,
        99,
        "288 bytes at byte 14400, between the frames, are no audio",
    ),
    "a footer without its tag": (
        FRAME * 30 + ape(40, header=True)[40:] + FRAME * 30,
        60,
        "64 bytes at byte 8640, between the frames, are no audio",
    ),
    "a tag between": (FRAME * 30 + id3v2(300) + FRAME * 30, 60, "a tag of 310 bytes at byte 8640, between frames"),
    "a frame cut by the next file": (
        FRAME * 30 + FRAME[:100] + FRAME * 30,
        60,
        "a frame at byte 8640 is cut: 100 of its 288 bytes are there",
    ),
    "another kind of frames": (
        FRAME * 30 + frame("fff384c0", 192) * 30,
        60,
        "the sample rate changes at byte 8640 from 48000 to 24000 Hz",
    ),
    "another number of channels": (
        FRAME * 30 + frame("fffb7404", 288) * 30,
        60,
        "the number of channels changes from 1 to 2",
    ),
}


@pytest.mark.parametrize(("body", "frames", "defect"), PLAYED.values(), ids=list(PLAYED))
def test_what_players_pass_over_is_named_and_all_frames_count(body: bytes, frames: int, defect: str) -> None:
    found = mp3.inspect(body)
    assert found.audio.duration_seconds == pytest.approx(frames * 0.024)
    assert defect in found.defects


@pytest.mark.parametrize(
    ("size", "wrong"),
    [(50, -10), (50, 10), (5_000, -3_000), (50, 288), (50, 2_880), (50, 2_881), (50, 100_000_000)],
)
def test_a_tag_of_a_wrong_size_hides_no_frame(size: int, wrong: int) -> None:
    tag = bytearray(id3v2(size))
    tag[6:10] = bytes((size + wrong) >> shift & 0x7F for shift in (21, 14, 7, 0))
    found = mp3.inspect(bytes(tag) + FRAME * 100)
    assert found.audio.duration_seconds == pytest.approx(2.4)


@pytest.mark.parametrize("at", [0, 1, 2, 63, 64, 65, 255, 256, 511, 512, 576, 577, 998, 999])
def test_one_broken_header_among_a_thousand_frames_is_found(at: int) -> None:
    body = bytearray(FRAME * 1_000)
    body[at * 288 : at * 288 + 4] = b"\0\0\0\0"
    found = mp3.inspect(body)
    assert found.audio.duration_seconds == pytest.approx(999 * 0.024)
    [defect] = found.defects
    assert f"288 bytes at byte {at * 288}, " in defect


# The counts that a file states of itself.


def with_counts(frames: int, size: int = 0, name: bytes = b"Info") -> bytes:
    flags = bool(frames) | bool(size) << 1
    counts = b"".join(struct.pack(">I", number) for number in (frames, size) if number)
    return (FRAME[:4] + bytes(17) + name + struct.pack(">I", flags) + counts).ljust(288, b"\0")


VBRI = (FRAME[:4] + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 75, 0, 100)).ljust(288, b"\0")


@pytest.mark.parametrize(
    ("body", "is_cut", "is_counted"),
    [
        (with_counts(100) + FRAME * 100, False, True),
        (with_counts(101) + FRAME * 100, False, True),
        (with_counts(102) + FRAME * 100, True, False),
        (with_counts(100, name=b"Xing") + FRAME * 200, False, True),
        (VBRI + FRAME * 100, False, True),
        (VBRI + FRAME * 98, True, False),
        (with_counts(0) + FRAME * 100, False, False),
        (with_counts(0, 289 * 100) + FRAME * 100, False, True),
        (with_counts(0, 289 * 100) + FRAME * 98, True, False),
        (FRAME * 100, False, False),
        # the cut comes before the lack of audio
        (with_counts(100) + FRAME * 4, True, False),
        # each of several joined files states its own
        ((with_counts(100) + FRAME * 100) * 2, False, True),
        (with_counts(100) + FRAME * 100 + with_counts(100) + FRAME * 60, True, False),
        (with_counts(100) + FRAME * 60 + ID3V1 + with_counts(100) + FRAME * 100, True, False),
        # a destroyed frame is no cut
        (with_counts(100) + FRAME * 50 + bytes(288 * 2) + FRAME * 48, False, True),
    ],
)
def test_fewer_frames_than_a_file_states_by_more_than_one_are_a_cut(
    body: bytes, is_cut: bool, is_counted: bool
) -> None:
    found = mp3.inspect(body)
    assert (bool(found.cut), found.is_counted) == (is_cut, is_counted), found.cut


# Other layers, and frames whose header does not say their size.


def test_layer_ii_is_measured() -> None:
    assert inspect(frame("fffd74c0", 336) * 100) == Audio(2.4, 48_000, 1, 112_000)


@pytest.mark.parametrize("size", [270, 271, 96, 1_440])
def test_free_format_is_measured_by_the_distance_of_its_frames(size: int) -> None:
    padded = frame("fffb06c0", size + 1)
    body = (frame("fffb04c0", size) * 3 + padded) * 25
    found = mp3.inspect(id3v2(30) + body + b"\n")
    assert found.audio.duration_seconds == pytest.approx(2.4) and len(found.defects) == 1


@pytest.mark.parametrize(("stated", "is_cut"), [(20, False), (99, False), (110, True)])
def test_the_counts_of_a_free_format_file_are_read(stated: int, is_cut: bool) -> None:
    counts = (b"\xff\xfb\x04\xc0" + bytes(17) + b"Info" + struct.pack(">II", 1, stated)).ljust(270, b"\0")
    found = mp3.inspect(counts + frame("fffb04c0", 270) * 99)
    assert bool(found.cut) == is_cut


@settings(max_examples=25)
@given(st.binary(max_size=2_000))
def test_random_bytes_after_audio_are_never_taken_for_audio(rubbish: bytes) -> None:
    try:
        found = mp3.inspect(FRAME * 3 + b"\0" + rubbish)
    except NotAudio as refused:
        assert "audio is lost" in str(refused)
        return
    assert found.audio.duration_seconds == pytest.approx(0.072) and found.defects


@given(st.binary(max_size=500))
def test_any_bytes_are_audio_or_refused(body: bytes) -> None:
    try:
        assert seconds_of(body) > 0
    except NotAudio as refused:
        assert str(refused)
