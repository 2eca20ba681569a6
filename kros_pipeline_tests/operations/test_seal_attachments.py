"""Signatures and time-stamps: objects of their own, which openssl accepts, and whose absence fails no day."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from kros_pipeline.archive.seal_chain import SealChain
from kros_pipeline.archive.seal_signers import KmsSigner, PemSigner, open_signer, sign_and_verify
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import SigningFailed, TimestampFailed
from kros_pipeline.core.seal_keys import PUBLIC_KEYS, seal_key
from kros_pipeline.operations.seal_attachments import complete_seals
from kros_pipeline.operations.sealing import SealingReport, seal_days_of
from kros_pipeline.operations.timestamping import Timestamp, ask_for_timestamp
from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.memory_store import open_memory_run
from kros_pipeline_tests.support.sealed_days import BODIES, check_copy, copy_day, tools
from kros_pipeline_tests.support.time_authority import TimeAuthority, time_authority, wait_until, with_status_text


def write_key(path: Path, key: Any = None, password: bytes | None = None) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return str(path)


def seal(day: FakeDay, **settings: str) -> SealingReport:
    return seal_days_of(open_memory_run(day.archive, day.source, day.clock, **settings))


@pytest.fixture
def day() -> FakeDay:
    made = FakeDay(BODIES)
    made.run()
    return made


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tools(tmp_path_factory.mktemp("only") / "bin")


@pytest.fixture(scope="module")
def authority() -> Iterator[TimeAuthority]:
    with time_authority() as started:
        yield started


@pytest.fixture
def check(day: FakeDay, bin_folder: Path, tmp_path: Path) -> Callable[..., tuple[bool, str]]:
    def run(*settings: str, without: str = "") -> tuple[bool, str]:
        copy = copy_day(day.archive, DAY, tmp_path / "copy")
        if without:
            (copy / without).unlink()
        return check_copy(copy, bin_folder, settings=settings)

    return run


def test_a_key_in_a_file_signs_what_openssl_verifies(
    day: FakeDay, check: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    report = seal(day, KROS_SEAL_KEY=write_key(tmp_path / "key.pem"))
    assert (report.sealed, report.owed, report.attachments.unsigned) == ([DAY], [], 0)
    (key,) = day.archive.objects(PUBLIC_KEYS)
    is_verified, said = check()
    assert is_verified and f"signed by the key {key.removeprefix(PUBLIC_KEYS).removesuffix('.pem')}" in said, said
    assert b"first used: 2025-01-20T00:00:00+00:00" in day.archive.read(key)


def test_a_seal_whose_signature_was_removed_or_is_of_another_key_is_not_verified(
    day: FakeDay, check: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    seal(day, KROS_SEAL_KEY=write_key(tmp_path / "key.pem"))
    assert "its signature is missing" in check(without=seal_key(1, "sig"))[1]
    (key,) = day.archive.objects(PUBLIC_KEYS)
    assert "no key in seals/keys made its signature" in check(without=key)[1]


def test_seals_that_were_made_anew_with_another_key_or_none_are_noticed_by_the_key_or_the_head(
    day: FakeDay, check: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    """The custodian's best try: everything below `seals/` is his own. Only what left the bucket earlier shows it."""
    report = seal(day, KROS_SEAL_KEY=write_key(tmp_path / "key.pem"))
    (key,) = day.archive.objects(PUBLIC_KEYS)
    fingerprint = key.removeprefix(PUBLIC_KEYS).removesuffix(".pem")
    known = (f"SEAL_KEY={'0' * 64} {fingerprint}", f"HEAD={report.head}")
    is_verified, said = check(*known)
    assert is_verified and "not compared with anything" not in said, said
    for settings in ({"KROS_SEAL_KEY": write_key(tmp_path / "other.pem")}, {}):
        for name in [*day.archive.objects("seals/"), "state/seals.json"]:
            day.archive.delete(name)
        shutil.rmtree(tmp_path / "copy")
        seal(day, **settings)
        is_verified, said = check()
        assert is_verified and "not compared with anything from outside the bucket" in said, said
        for one, why in zip(known, ("SEAL_KEY", f"it never had the head {report.head}"), strict=True):
            is_verified, said = check(one)
            assert not is_verified and why in said, said


def test_a_rotated_key_signs_what_comes_later_and_earlier_signatures_hold(
    day: FakeDay, check: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    seal(day, KROS_SEAL_KEY=write_key(tmp_path / "old.pem"))
    day.source.calls["call_b"].transcript = "[Agent]: Hello, and more"
    day.run()
    assert seal(day, KROS_SEAL_KEY=write_key(tmp_path / "new.pem")).sealed == [DAY]
    assert len(day.archive.objects(PUBLIC_KEYS)) == 2
    is_verified, said = check()
    assert is_verified and said.count("signed by the key") == 2, said


def test_a_day_without_a_key_says_so_and_a_later_run_signs_it(
    day: FakeDay, check: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    assert seal(day).attachments.unsigned == 1
    assert b"signature: none, no key was set" in day.archive.read(seal_key(1))
    before = day.archive.read(seal_key(1))
    assert seal(day, KROS_SEAL_KEY=write_key(tmp_path / "key.pem")).attachments.unsigned == 0
    assert day.archive.read(seal_key(1)) == before and check()[0]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: str(path), "cannot be read (No such file"),
        (lambda path: path.write_text("no key") and str(path), "no private key in PEM"),
        (lambda path: write_key(path, password=b"secret"), "without a passphrase"),
        (lambda path: write_key(path, ec.generate_private_key(ec.SECP384R1())), "no key of the elliptic curve P-256"),
    ],
)
def test_a_key_that_cannot_sign_leaves_the_signature_owed_and_the_day_sealed(
    make: Callable[[Path], str], why: str, day: FakeDay, tmp_path: Path
) -> None:
    report = seal(day, KROS_SEAL_KEY=make(tmp_path / "key.pem"))
    assert report.sealed == [DAY] and report.attachments.unsigned == 1
    (sentence,) = report.owed
    assert why in sentence and "The next look signs again" in sentence
    good = seal(day, KROS_SEAL_KEY=write_key(tmp_path / "good.pem"))
    assert (good.owed, good.attachments.unsigned) == ([], 0)


# AWS KMS.


def openssl_verifies(signer: KmsSigner, body: bytes, folder: Path) -> bool:
    key = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, content in (("key", key), ("sig", sign_and_verify(signer, body)), ("body", body)):
        (folder / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "sig", "body"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


def test_kms_signs_what_openssl_verifies(aws: LocalS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", aws.endpoint_url)
    kms = boto3.client("kms", endpoint_url=aws.endpoint_url, region_name="eu-west-1")
    made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    signer = open_signer(made["Arn"])
    assert isinstance(signer, KmsSigner) and openssl_verifies(signer, b"a seal\n" * 100, tmp_path)
    other = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    rsa = open_signer(other["Arn"])
    assert rsa is not None
    with pytest.raises(SigningFailed, match="P-256"):
        rsa.public_key()
    gone = open_signer(made["Arn"].replace(made["KeyId"], "0" * 8 + made["KeyId"][8:]))
    assert gone is not None
    with pytest.raises(SigningFailed, match="NotFoundException"):
        gone.sign(b"x")


class DigestingKms:
    """KMS as AWS documents it: it refuses long messages, and signs the digest of one as it is. moto has no DIGEST."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def get_public_key(self, **_: str) -> dict[str, bytes]:
        return {"PublicKey": self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}

    def sign(self, **asked: Any) -> dict[str, bytes]:
        message, kind = asked["Message"], asked["MessageType"]
        assert asked["SigningAlgorithm"] == "ECDSA_SHA_256" and len(message) <= 4_096
        digest = message if kind == "DIGEST" else hashlib.sha256(message).digest()
        return {"Signature": self.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))}


@pytest.mark.parametrize("size", [0, 4_096, 4_097, 200_000])
def test_a_seal_of_any_size_is_signed_by_kms(size: int, tmp_path: Path) -> None:
    client: Any = DigestingKms()
    assert openssl_verifies(KmsSigner("alias/seals", lambda: client), b"x" * size, tmp_path)


def test_a_signature_that_is_not_of_the_seal_is_not_kept() -> None:
    lying: Any = DigestingKms()
    lying.sign = lambda **_: {"Signature": lying.key.sign(b"another text", ec.ECDSA(hashes.SHA256()))}
    with pytest.raises(SigningFailed, match="not of the seal"):
        sign_and_verify(KmsSigner("alias/seals", lambda: lying), b"a seal")


def test_a_key_is_opened_by_what_its_name_is() -> None:
    assert open_signer(None) is None
    assert isinstance(open_signer("/run/secrets/seal.pem"), PemSigner)
    assert isinstance(open_signer("alias/seals"), KmsSigner)


# Time-stamps.


def test_a_time_stamp_is_kept_with_its_request_and_certificates_and_openssl_verifies_it(
    day: FakeDay, check: Callable[..., tuple[bool, str]], authority: TimeAuthority
) -> None:
    report = seal(day, KROS_TIMESTAMP_URL=authority.url)
    assert (report.sealed, report.owed, report.attachments.unstamped) == ([DAY], [], 0)
    assert day.archive.read(seal_key(1, "tsq")) == authority.asked[-1]
    assert day.archive.read(seal_key(1, "tsa.pem")).count(b"BEGIN CERTIFICATE") == 2
    is_verified, said = check()
    assert is_verified and "seal-000001.txt: time-stamped" in said and "signer of the tests" in said, said
    assert check(f"TSA_ROOT={authority.root}")[0]


def test_a_time_stamp_of_an_authority_that_is_not_trusted_or_of_another_seal_is_not_verified(
    day: FakeDay, check: Callable[..., tuple[bool, str]], authority: TimeAuthority, tmp_path: Path
) -> None:
    seal(day, KROS_TIMESTAMP_URL=authority.url)
    with time_authority() as other:
        is_verified, said = check(f"TSA_ROOT={other.root}")
        assert not is_verified and "its time-stamp is not of this seal, or its certificates" in said, said
    day.archive.write(seal_key(1, "tsr"), authority.token_for(authority.query_for(b"another text")))
    assert "its time-stamp is not of this seal" in check()[1]


def test_the_time_is_that_of_the_signed_token_whatever_the_answer_around_it_says(
    day: FakeDay, check: Callable[..., tuple[bool, str]], authority: TimeAuthority
) -> None:
    """A custodian could otherwise show an older time, and move the moment at which certificates must hold."""
    seal(day, KROS_TIMESTAMP_URL=authority.url)
    forged = with_status_text(day.archive.read(seal_key(1, "tsr")), "x\nTime stamp: Jan  1 00:00:00 2020 GMT (")
    day.archive.write(seal_key(1, "tsr"), forged)
    is_verified, said = check(f"TSA_ROOT={authority.root}")
    assert is_verified and f" {datetime.now(UTC).year} GMT by an authority" in said and "2020" not in said, said


def test_a_time_stamp_that_was_removed_is_missed_by_whoever_knows_the_authority(
    day: FakeDay, check: Callable[..., tuple[bool, str]], authority: TimeAuthority
) -> None:
    seal(day, KROS_TIMESTAMP_URL=authority.url)
    is_verified, said = check(f"TSA_ROOT={authority.root}", without=seal_key(1, "tsr"))
    assert not is_verified and "it is not time-stamped" in said, said


def test_a_time_stamp_holds_after_its_authority_has_expired(
    day: FakeDay, check: Callable[..., tuple[bool, str]]
) -> None:
    lives_for = timedelta(seconds=2)
    with time_authority(certificates_end_in=lives_for) as authority:
        expires_at = datetime.now(UTC) + lives_for
        assert seal(day, KROS_TIMESTAMP_URL=authority.url).attachments.unstamped == 0
        wait_until(expires_at + timedelta(seconds=0.5))
        copy = copy_day(day.archive, DAY, authority.folder)
        plain = ["openssl", "ts", "-verify", "-data", seal_key(1), "-in", seal_key(1, "tsr"), "-CAfile", "root.pem"]
        assert b"expired" in subprocess.run(plain, cwd=copy, capture_output=True).stderr
        is_verified, said = check(f"TSA_ROOT={authority.root}")
        assert is_verified and "time-stamped" in said, said


@pytest.mark.parametrize("fault", ["html", "nothing", "error", "another"])
def test_an_authority_that_lies_or_fails_leaves_the_time_stamp_owed_and_the_day_sealed(
    fault: str, day: FakeDay, authority: TimeAuthority
) -> None:
    authority.answers = fault
    try:
        report = seal(day, KROS_TIMESTAMP_URL=authority.url)
    finally:
        authority.answers = "token"
    assert report.sealed == [DAY] and report.attachments.unstamped == 1 and not report.refused
    (sentence,) = report.owed
    assert "time-stamps are owed: " in sentence and "127.0.0.1" in sentence and "/tsa" not in sentence
    assert seal_key(1, "tsr") not in day.archive.objects("seals/")
    assert seal(day, KROS_TIMESTAMP_URL=authority.url).attachments.unstamped == 0


def test_of_two_runs_at_once_one_keeps_the_request_and_its_own_answer(day: FakeDay) -> None:
    seal(day)
    ctx = day.open()

    def stamp(*_: object) -> Timestamp:
        day.archive.write(seal_key(1, "tsq"), b"of another run")
        return Timestamp(b"own", b"reply", b"certificates")

    chain = SealChain(ctx.store, ctx.clock)
    found = complete_seals(
        store=ctx.store,
        governance=ctx.governance,
        chain=chain,
        signer=None,
        stamp=stamp,
        retain_days=None,
        clock=ctx.clock,
    )
    assert found.unstamped == 1 and "another run asks" in found.owed[0]
    assert seal_key(1, "tsr") not in day.archive.objects("seals/")


def test_an_authority_that_never_ends_its_answer_is_left(day: FakeDay, authority: TimeAuthority) -> None:
    seconds = iter(range(0, 10_000, 10))
    hurried = Clock(now=day.clock.now, monotonic=lambda: float(next(seconds)), sleep=day.clock.sleep)
    authority.answers = "slowly"
    try:
        with pytest.raises(TimestampFailed, match="has no end"):
            ask_for_timestamp(authority.url, b"a seal", None, hurried)
    finally:
        authority.answers = "token"


def test_an_authority_that_cannot_be_reached_is_named_by_its_host(day: FakeDay) -> None:
    (sentence,) = seal(day, KROS_TIMESTAMP_URL="http://127.0.0.1:9/secret-path").owed
    assert "gave no answer" in sentence and "secret-path" not in sentence
