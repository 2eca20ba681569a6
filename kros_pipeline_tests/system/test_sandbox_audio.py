"""The recordings are valid MP3 files with different bytes, behind presigned URLs that expire."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from kros_pipeline.sandbox.mp3 import FRAME_BYTES, frames_in, mp3_audio
from kros_pipeline.sandbox.presigning import Signer
from kros_pipeline_tests.support.sandbox_client import read_mp3


@pytest.mark.parametrize("seconds", [1, 5, 180.2, 600])
def test_audio_is_constant_bitrate_mp3_as_documented(seconds: float) -> None:
    audio = bytes(mp3_audio(7, "call_1", frames_in(seconds)))
    info = read_mp3(audio)
    assert (info.bitrate, info.sample_rate, info.channels, info.layer) == (96_000, 48_000, 1, 3)
    assert abs(info.length - seconds) < 0.1
    assert {audio[at : at + 4] for at in range(0, len(audio), FRAME_BYTES)} == {b"\xff\xfb\x74\xc0"}


def test_all_recordings_and_all_frames_of_a_recording_differ() -> None:
    audio = bytes(mp3_audio(7, "call_1", 20_000))
    assert len({audio[at : at + FRAME_BYTES] for at in range(0, len(audio), FRAME_BYTES)}) == 20_000
    others = {bytes(mp3_audio(seed, call_id, 5)) for seed in (7, 8) for call_id in ("call_1", "call_2")}
    assert len(others) == 4 and bytes(mp3_audio(7, "call_1", 5)) in others


def test_a_presigned_url_expires_and_cannot_be_altered() -> None:
    signer = Signer(b"secret")
    parts = urlsplit(signer.presign("http://host", "/recordings/a%2Fb.mp3", now=1000.9, seconds=0.5))
    query = dict(pair.split("=") for pair in parts.query.replace("%2F", "/").split("&"))
    names = ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]
    assert list(query) == [f"X-Amz-{name}" for name in names]
    assert signer.find_refusal(parts.path, query, now=1001.39) is None
    assert signer.find_refusal(parts.path, query, now=1001.41) == "Request has expired"
    assert "signature" in str(signer.find_refusal("/recordings/other.mp3", query, now=1001))
    assert "signature" in str(signer.find_refusal(parts.path, query | {"X-Amz-Expires": "9999"}, now=1001))
    assert signer.find_refusal(parts.path, {}, now=1001) == "Access Denied"
