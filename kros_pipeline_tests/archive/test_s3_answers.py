"""AWS's answers, injected before a real server: what is tried again, what is one sentence, and what is never shown."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.archive import s3_bodies
from kros_pipeline.archive.governance import versions_at
from kros_pipeline.archive.object_store import CREATE, Replace, VersionToken
from kros_pipeline.archive.s3_governance import S3Governance
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import (
    ArchiveDenied,
    ArchiveError,
    ArchiveUnavailable,
    ObjectChanged,
    ObjectExists,
    UnfitStore,
)
from kros_pipeline_tests.support.s3_credentials import short_lived_credentials
from kros_pipeline_tests.support.s3_proxy import Answer, LoseAnswer, Request, Reset, S3Proxy, s3_proxy
from kros_pipeline_tests.support.s3_servers import SeaweedFS

OpenStore = Callable[[], S3ObjectStore]
BODIES: dict[str, Callable[[bytes], Any]] = {"boto3": bytes, "pyreqwest": memoryview}
every_client = pytest.mark.parametrize("client", BODIES)


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    seaweedfs.create_bucket("answers", "plain")
    return "answers"


@pytest.fixture
def proxy(aws: Any, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """A proxy before SeaweedFS; the environment leads to it, and nothing waits before it tries again."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setattr(s3_bodies, "pause", lambda _: 0.0)
    monkeypatch.setattr("kros_pipeline.archive.s3_store.pause", lambda _: 0.0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with s3_proxy(seaweedfs.endpoint_url) as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", started.url)
        yield started


@pytest.fixture
def open_store(bucket: str) -> Iterator[OpenStore]:
    opened: list[S3ObjectStore] = []

    def open_one() -> S3ObjectStore:
        settings = ArchiveSettings(bucket, f"p{time.monotonic_ns()}", None, None, None, connections=4)
        opened.append(S3ObjectStore(settings))
        return opened[-1]

    yield open_one
    for store in opened:
        store.client.close()


def put(store: S3ObjectStore, client: str, body: bytes = b"abc", mode: Any = CREATE, key: str = "audio/x") -> str:
    return store.put(key, BODIES[client](body), sha256=hashlib.sha256(body).hexdigest(), mode=mode)


def answering(proxy: S3Proxy, *answers: Any, method: str = "PUT") -> None:
    """Give these answers to the next requests of a method, and pass on what follows."""
    left = list(answers)
    proxy.script = lambda request: left.pop(0) if left and request.method == method else None


TROUBLES = {
    "lost": LoseAnswer(),
    "reset": Reset(),
    "409": Answer(409, "ConditionalRequestConflict"),
    "OperationAborted": Answer(409, "OperationAborted"),
    "RequestTimeout": Answer(400, "RequestTimeout"),
    "500": Answer(500, "InternalError"),
    "503 without a body": Answer(503),
    "SlowDown": Answer(503, "SlowDown"),
    "ExpiredToken": Answer(400, "ExpiredToken"),
}


@every_client
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_write_that_meets_trouble_is_stored_once_and_known_as_our_own(
    proxy: S3Proxy, open_store: OpenStore, client: str, trouble: str
) -> None:
    store = open_store()
    # A lost answer behind a conflict counts as ours, too.
    answering(proxy, TROUBLES[trouble], TROUBLES[trouble])
    version = put(store, client)
    answering(proxy, TROUBLES[trouble], Answer(409, "ConditionalRequestConflict"))
    new = store.put("audio/x", b"new", sha256=hashlib.sha256(b"new").hexdigest(), mode=Replace(VersionToken(version)))
    assert store.read("audio/x") == b"new" and new != version


@every_client
def test_audio_that_is_read_back_costs_one_request_more(proxy: S3Proxy, open_store: OpenStore, client: str) -> None:
    store = open_store()
    store.reads_audio_back = True
    put(store, client)
    assert store.requests_made == 2


@every_client
def test_what_another_writer_wrote_is_not_taken_for_our_own(proxy: S3Proxy, open_store: OpenStore, client: str) -> None:
    store = open_store()
    put(store, "boto3", b"theirs")
    answering(proxy, Answer(503, "SlowDown"))
    with pytest.raises(ObjectExists):
        put(store, client, b"ours")
    answering(proxy, Answer(503, "SlowDown"))
    with pytest.raises(ObjectChanged):
        put(store, "boto3", b"ours", Replace(VersionToken('"00000000000000000000000000000000"')))
    assert store.read("audio/x") == b"theirs"


REFUSALS: dict[str, tuple[Answer, type[ArchiveError], str]] = {
    "throttled for good": (Answer(503, "SlowDown", "Please reduce your request rate."), ArchiveUnavailable,
        r"SlowDown \(Please reduce your request rate\.\)\. .*KROS_DOWNLOAD_WORKERS"),
    "token": (Answer(400, "ExpiredToken", "The provided token has expired."), ArchiveDenied,
        r"ExpiredToken \(The provided token has expired\.\)\. Renew .*aws sso login"),
    "KMS by message": (Answer(403, "AccessDenied", "User: arn:aws:iam::1:role/x is not authorized to perform: "
        "kms:GenerateDataKey on this resource"), ArchiveDenied, r"kms:GenerateDataKey on this .*KROS_KMS_KEY_ID"),
    "KMS by code": (Answer(400, "KMS.DisabledException", "The key is disabled."), ArchiveDenied,
        r"KMS\.DisabledException .*KROS_KMS_KEY_ID"),
    "denied": (Answer(403, "AccessDenied", "Access Denied"), ArchiveDenied, r"AccessDenied .*what the bucket allows"),
    "not implemented": (Answer(501, "NotImplemented", "A header implies ..."), UnfitStore, r"NotImplemented .*servers"),
    "no bucket": (Answer(404, "NoSuchBucket", "The specified bucket does not exist"), ArchiveDenied,
        r"NoSuchBucket .*KROS_ARCHIVE_URL"),
    "skewed": (Answer(403, "RequestTimeTooSkewed"), ArchiveDenied, r"Set the clock"),
    "region": (Answer(301, "PermanentRedirect", "Use http://x.example/?X-Amz-Signature=abc"), ArchiveDenied,
        r"(PermanentRedirect|redirects without end).*AWS_REGION"),
}  # fmt: skip


@every_client
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_one_sentence_that_says_what_s3_said_and_what_to_do(
    proxy: S3Proxy, open_store: OpenStore, client: str, refusal: str
) -> None:
    answer, kind, sentence = REFUSALS[refusal]
    store = open_store()
    proxy.script = lambda _: answer
    with pytest.raises(kind, match=sentence) as raised:
        put(store, client)
    assert type(raised.value) is kind
    assert "X-Amz" not in str(raised.value) and "127.0.0.1" not in str(raised.value)


@every_client
@pytest.mark.parametrize(
    "redirect",
    [
        Answer(301, "PermanentRedirect", "elsewhere", {"x-amz-bucket-region": "eu-west-9"}),
        Answer(400, "AuthorizationHeaderMalformed", "the region is another", region="eu-west-9"),
    ],
    ids=str,
)
def test_the_region_that_s3_names_signs_the_next_request(
    proxy: S3Proxy, open_store: OpenStore, client: str, redirect: Answer
) -> None:
    def want_region(request: Request) -> Answer | None:
        return None if "/eu-west-9/s3/" in request.headers["authorization"] else redirect

    store = open_store()
    proxy.script = want_region
    for number in range(2):
        put(store, client, key=f"audio/{number}")
    assert store.read("audio/1") == b"abc"


# Each variable on its own.


@every_client
def test_no_proxy_for_all_hosts_wins_over_a_proxy(
    proxy: S3Proxy, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    assert put(open_store(), client)


@every_client
def test_a_profile_gives_both_clients_their_credentials(
    proxy: S3Proxy, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    profile = "[ours]\naws_access_key_id = sandbox\naws_secret_access_key = sandbox-secret\n"
    (tmp_path / "credentials").write_text(profile)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    assert put(open_store(), client)


SSO = """\
[profile ours]
sso_session = ours
sso_account_id = 123456789012
sso_role_name = r
region = us-east-1
[sso-session ours]
sso_region = us-east-1
sso_start_url = https://x.example/start
"""
CONFIGURATIONS = {
    "SSO without a session": (SSO, r"no AWS credentials: .*sign in again, by `aws sso login`"),
    "a process that fails": ("[profile ours]\ncredential_process = false\n", r"no AWS credentials: .*AWS_PROFILE"),
    "a process that is not there": (
        "[profile ours]\ncredential_process = /nonexistent/program\n",
        r"no AWS credentials|AWS cannot be used",
    ),
    "a source that is not there": (
        "[profile ours]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nobody\n",
        r"AWS cannot be used: .*nobody",
    ),
    "no such profile": ("", r"AWS cannot be used: .*ours.*AWS_PROFILE"),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_credentials_that_only_a_person_can_mend_are_one_sentence(
    proxy: S3Proxy,
    open_store: OpenStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    configuration: str,
) -> None:
    text, sentence = CONFIGURATIONS[configuration]
    (tmp_path / "config").write_text(text)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    with pytest.raises(ArchiveDenied, match=f"(?i){sentence}"):
        open_store().read("state/x")


def test_an_endpoint_that_is_no_url_is_one_sentence(
    proxy: S3Proxy, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "minio.example.com:9000")
    with pytest.raises(ArchiveDenied, match="AWS_ENDPOINT_URL_S3"):
        open_store()


def test_a_page_of_a_gateway_is_no_unforeseen_error(proxy: S3Proxy, open_store: OpenStore) -> None:
    store = open_store()
    proxy.script = lambda _: Answer(200, "not", "what S3 sends")
    with pytest.raises(ArchiveError):
        list(store.list("state/"))


@every_client
def test_tokens_that_expire_in_the_middle_leave_no_gap(
    proxy: S3Proxy, open_store: OpenStore, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with short_lived_credentials(seaweedfs, 1.0) as (variables, issued):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        store = open_store()
        failures: list[Exception] = []

        def write(thread: int) -> None:
            ends_at, number = time.monotonic() + 3.5, 0
            while time.monotonic() < ends_at:
                try:
                    put(store, client, key=f"audio/{thread}-{number}")
                except Exception as error:
                    failures.append(error)
                number += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures and len(issued) >= 3


# Governance.


def test_deletions_holds_and_tags_have_the_md5_that_older_servers_want(proxy: S3Proxy, open_store: OpenStore) -> None:
    def want_md5(request: Request) -> Answer | None:
        is_about = request.method in ("POST", "PUT") and "?" in request.target
        return Answer(400, "MissingContentMD5") if is_about and "content-md5" not in request.headers else None

    store = open_store()
    put(store, "boto3")
    proxy.script = want_md5
    governance = S3Governance(store)
    governance.tag_as_flagged("audio/x")
    with pytest.raises(ArchiveError, match="InvalidRequest"):  # the bucket has no Object Lock
        governance.place_legal_hold("audio/x")
    governance.delete(versions_at(governance, "audio/x"))
    assert store.head("audio/x") is None


@pytest.mark.parametrize("code", ["NotImplemented", "NoSuchObjectLegalHold", "MethodNotAllowed"])
def test_a_server_without_holds_has_none(proxy: S3Proxy, open_store: OpenStore, code: str) -> None:
    store = open_store()
    put(store, "boto3")
    governance = S3Governance(store)
    proxy.script = lambda request: Answer(404, code) if request.target.endswith(("lock", "hold")) else None
    assert not governance.has_object_lock() and not governance.has_default_retention()
    [version] = versions_at(governance, "audio/x")
    proxy.script = lambda request: Answer(501, code) if "legal-hold" in request.target else None
    assert not governance.has_legal_hold(version)
