"""Other formats than MP3 are recognized and measured, and their own sizes prove a cut. Built from their standards."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import wave
from pathlib import Path

import pytest

from kros_pipeline.core.audio import FORMAT_CHANGED, Audio, NotAudio
from kros_pipeline.core.audio_formats import inspect_audio
from kros_pipeline.sandbox.mp3 import wav_audio

OGG = (Path(__file__).parents[1] / "data" / "audio" / "73-ogg-opus.mp3").read_bytes()


def wav(codec: int = 1, size: int | None = None, data: bytes = bytes(16_000)) -> bytes:
    stated = len(data) if size is None else size
    facts = struct.pack("<HHIIHH", codec, 1, 8_000, 8_000, 1, 8)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + facts + b"data" + struct.pack("<I", stated) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def mp4(seconds: int = 4, data: bytes = bytes(5_000)) -> bytes:
    entry = box(b"mp4a", bytes(16) + struct.pack(">HHIHH", 1, 16, 0, 16_000, 0))
    table = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1) + entry))
    media = box(b"mdhd", struct.pack(">IIIII", 0, 0, 0, 16_000, seconds * 16_000) + bytes(4))
    media += box(b"hdlr", bytes(8) + b"soun" + bytes(12)) + box(b"minf", table)
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", box(b"trak", box(b"mdia", media))) + box(b"mdat", data)


def element(name: str, content: bytes) -> bytes:
    return bytes.fromhex(name) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def webm(*, has_duration: bool = True, duration: float = 5_000.0, rate: float = 48_000.0) -> bytes:
    info = element("2ad7b1", b"\x0f\x42\x40") + (element("4489", struct.pack(">d", duration)) if has_duration else b"")
    audio = element("b5", struct.pack(">d", rate)) + element("9f", b"\1")
    tracks = element("ae", element("86", b"A_OPUS") + element("e1", audio))
    blocks = b"".join(element("a3", b"\x81" + struct.pack(">h", at) + bytes(60)) for at in range(0, 5_000, 20))
    cluster = element("1f43b675", element("e7", b"\0") + blocks)
    segment = element("1549a966", info) + element("1654ae6b", tracks) + cluster
    return element("1a45dfa3", element("4282", b"webm")) + element("18538067", segment)


def adts(frames: int) -> bytes:
    size = 100
    header = bytes([0xFF, 0xF1, 1 << 6 | 8 << 2, 1 << 6 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC])
    return (header + bytes(size - 7)) * frames


def au(encoding: int = 1) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, 16_000, encoding, 8_000, 1) + bytes(16_000)


FORMATS = {
    "WAV": (wav_audio(2), "WAV, PCM", "audio/wav", Audio(2.0, 8_000, 1, 128_000)),
    "µ-law in WAV": (wav(7), "WAV, µ-law", "audio/wav", Audio(2.0, 8_000, 1, 64_000)),
    "A-law in WAV": (wav(6), "WAV, A-law", "audio/wav", Audio(2.0, 8_000, 1, 64_000)),
    "µ-law in AU": (au(), "AU, µ-law", "audio/basic", Audio(2.0, 8_000, 1, 64_000)),
    "Opus in Ogg": (OGG, "Ogg, Opus", "audio/ogg", Audio(3.0, 48_000, 1, 31_429)),
    "AAC in M4A": (mp4(), "MP4, mp4a", "audio/mp4", Audio(4.0, 16_000, 1, 10_530)),
    "Opus in WebM": (webm(), "WebM, Opus", "audio/webm", Audio(5.0, 48_000, 1, 29_082)),
    "AAC in ADTS": (adts(50), "AAC (ADTS)", "audio/aac", Audio(50 * 1_024 / 16_000, 16_000, 1, 12_500)),
}


@pytest.mark.parametrize(("body", "name", "content_type", "audio"), FORMATS.values(), ids=list(FORMATS))
def test_another_format_is_measured_and_named(body: bytes, name: str, content_type: str, audio: Audio) -> None:
    found = inspect_audio(body)
    assert (found.format, found.content_type, found.is_mp3, found.cut) == (name, content_type, False, "")
    assert found.audio._replace(bitrate_bps=0) == audio._replace(bitrate_bps=0)
    assert found.audio.bitrate_bps == pytest.approx(audio.bitrate_bps, rel=0.02)
    assert found.defects == (f"{FORMAT_CHANGED}: {name}",)


@pytest.mark.parametrize("name", [name for name in FORMATS if "ADTS" not in name])
@pytest.mark.parametrize("missing", [1, 300])
def test_its_own_sizes_prove_a_cut(name: str, missing: int) -> None:
    assert inspect_audio(FORMATS[name][0][:-missing]).cut


@pytest.mark.parametrize("name", FORMATS)
def test_a_body_that_ends_anywhere_or_is_damaged_raises_nothing_else(name: str) -> None:
    body = FORMATS[name][0]
    for end in {*range(200), *range(0, len(body), 997)}:
        try:
            found = inspect_audio(body[:end])
        except NotAudio:
            continue
        assert found.cut or found.defects


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (wav(size=0), "its header does not say how long it is"),
        (wav(size=0xFFFFFFFF), "its header does not say how long it is"),
        (webm(has_duration=False), "its header does not say how long it is"),
        (OGG + b"rubbish", "7 bytes at byte 11786 belong to no page"),
        (adts(50) + b"\n", "1 bytes at byte 5000, behind the frames, are no whole frame"),
    ],
)
def test_what_a_player_passes_over_is_named(body: bytes, words: str) -> None:
    assert words in inspect_audio(body).defects


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\x1f\x8b\x08" + bytes(100), "gzip data, no audio"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive, no audio"),
        (wav(data=b"", size=0), "a WAV file without audio"),
        (b"OggS\0" + bytes(22), "an Ogg file without audio"),
        (box(b"ftyp", b"M4A ") + box(b"free", b""), "an MP4 file without audio"),
        (b"fLaC" + bytes(500), "a FLAC file without stream information"),
    ],
)
def test_a_container_without_audio_is_no_recording(body: bytes, words: str) -> None:
    with pytest.raises(NotAudio, match=words):
        inspect_audio(body)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 0.0, 5e-324, 1e308])
def test_a_number_that_nothing_has_counts_as_unknown(number: float) -> None:
    found = inspect_audio(webm(duration=number))
    assert found.audio.duration_seconds == pytest.approx(4.98)
    assert "its header does not say how long it is" in found.defects
    assert inspect_audio(webm(rate=number)).audio.sample_rate_hz is None


def test_elements_inside_each_other_without_end_are_no_audio() -> None:
    tracks = b""
    for _ in range(2_000):
        tracks = element("ae", tracks)
    with pytest.raises(NotAudio, match="a WebM file without audio"):
        inspect_audio(element("1a45dfa3", b"") + element("18538067", element("1654ae6b", tracks)))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_what_ffmpeg_writes_is_measured_and_a_cut_of_it_is_proved() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        writer.writeframes(b"".join(struct.pack("<h", (n * 37) % 20_000 - 10_000) for n in range(48_000)))
    for arguments in (["-f", "flac"], ["-f", "ogg"], ["-f", "webm", "-c:a", "libopus"], ["-f", "mp3"]):
        command = ["ffmpeg", "-v", "quiet", "-i", "-", *arguments, "-"]
        body = subprocess.run(command, input=file.getvalue(), capture_output=True, timeout=60, check=True).stdout
        found = inspect_audio(body)
        assert found.audio.duration_seconds == pytest.approx(3.0, abs=0.2), arguments
        if "flac" not in arguments and "webm" not in arguments:  # piped, these state no length
            assert inspect_audio(body[:-3_000]).cut or inspect_audio(body[:-3_000]).defects, arguments
