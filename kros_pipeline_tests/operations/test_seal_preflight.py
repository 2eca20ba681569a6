"""The preflight tries the key and the authority of seals, and says what a stranger needs from the operator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kros_pipeline.archive.seal_signers import fingerprint_of
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.operations.seal_preflight import check_seals
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.time_authority import time_authority

CLOCK = clock_without_waits(lambda: datetime.now(UTC))


def settings_of(**texts: str) -> ArchiveSettings:
    return parse_settings({"KROS_ARCHIVE_URL": "s3://bucket/prefix", "KROSAI_API_KEY": "x", **texts}).archive


def lines(**texts: str) -> dict[str, str]:
    return {result.check: str(result) for result in check_seals(settings_of(**texts), CLOCK)}


def test_a_key_that_signs_is_shown_by_its_fingerprint(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    found = lines(KROS_SEAL_KEY=str(path))
    assert found["seal key"].startswith("ok") and found["seal key"].endswith(fingerprint_of(key.public_key()))
    assert found["time-stamps"].startswith("skipped")


def test_a_key_that_cannot_sign_fails(tmp_path: Path) -> None:
    said = lines(KROS_SEAL_KEY=str(tmp_path / "none.pem"))["seal key"]
    assert said.startswith("FAILED") and "none.pem cannot be read" in said


@pytest.mark.parametrize(("answers", "said"), [("token", "ok"), ("html", "FAILED"), ("error", "FAILED")])
def test_an_authority_is_asked_for_a_time_stamp_of_something_that_is_no_seal(answers: str, said: str) -> None:
    with time_authority() as authority:
        authority.answers = answers
        line = lines(KROS_TIMESTAMP_URL=authority.url)["time-stamps"]
    assert line.startswith(said) and "127.0.0.1" in line and "/tsa" not in line and len(authority.asked) == 1
