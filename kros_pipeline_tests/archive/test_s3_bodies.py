"""Audio is put with one hash, which signs it and is stored beside it; a lost answer is no other writer."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from kros_pipeline.archive import s3_bodies
from kros_pipeline.archive.object_store import CREATE, Replace, VersionToken
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from kros_pipeline.sandbox import LocalS3, tls
from kros_pipeline_tests.support.s3_refusals import REFUSALS, refusal_body

BODY = b"audio" * 1_000
SHA256 = hashlib.sha256(BODY).hexdigest()
CHECKSUM = base64.b64encode(hashlib.sha256(BODY).digest()).decode()


class Bucket(ThreadingHTTPServer):
    """Answers PUTs as a script says, and keeps what came; HEAD shows `checksum`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Any] = []
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.checksum = CHECKSUM
        self.stored = BODY

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        step = self.server.script.pop(0) if self.server.script else 200
        if step == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, code, headers = step if isinstance(step, tuple) else (step, "", {})
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode() if code else b"", headers)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"kept"')
        self.send_header("Content-Length", "5000")
        self.send_header("x-amz-checksum-sha256", self.server.checksum)
        self.end_headers()

    def do_GET(self) -> None:
        if "call.mp3" not in self.path:
            self._answer(200, b"<ListBucketResult></ListBucketResult>", {})
            return
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, b""))
        step = self.server.script.pop(0) if self.server.script else 200
        if step == "cut":
            self._answer(200, BODY[:100], {"Content-Length": str(len(BODY))})
            self.close_connection = True
        elif isinstance(step, tuple):
            self._answer(step[0], refusal_body(step[1]), {})
        else:
            self._answer(200, self.server.stored, {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("ETag", '"0"')
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def bucket(aws: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(s3_bodies, "pause", lambda _: 0.0)
    monkeypatch.setattr("kros_pipeline.archive.s3_store.pause", lambda _: 0.0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with Bucket() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", serving.url)
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def store(bucket: Bucket) -> Iterator[Callable[..., S3ObjectStore]]:
    opened: list[S3ObjectStore] = []

    def open_store(sse: str | None = None, kms_key_id: str | None = None) -> S3ObjectStore:
        opened.append(S3ObjectStore(ArchiveSettings("bucket", "a (b)'s", sse, kms_key_id, None, connections=4)))
        return opened[-1]

    yield open_store
    for made in opened:
        made.client.close()


def put(store: S3ObjectStore, key: str = "audio/dt=2025-01-10/call.mp3") -> str:
    metadata = {"sha256": SHA256, "channels": "1"}
    return store.put(key, memoryview(BODY), sha256=SHA256, mode=CREATE, metadata=metadata, content_type="audio/mpeg")


@pytest.mark.parametrize("token", [None, "a session's token"])
@pytest.mark.parametrize("encryption", [(None, None), ("AES256", None), ("aws:kms", "a-key")])
def test_the_signature_is_botocores_over_the_bytes_and_every_header(
    bucket: Bucket,
    store: Callable[..., S3ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    encryption: tuple[str | None, str | None],
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    made = store(*encryption)
    assert put(made) == '"0"' and made.requests_made == 1
    [(path, headers, body)] = bucket.came
    assert body == BODY and path == "/bucket/a%20%28b%29%27s/audio/dt%3D2025-01-10/call.mp3"
    signed = set(headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";"))
    assert headers["if-none-match"] == "*" and headers["x-amz-checksum-sha256"] == CHECKSUM
    assert headers["x-amz-content-sha256"] == SHA256 and headers["content-type"] == "audio/mpeg"
    assert headers["x-amz-meta-channels"] == "1" and headers.get("x-amz-security-token") == token
    sent = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    assert tuple(map(headers.get, sent)) == encryption
    assert {name for name in headers if name.startswith("x-amz-")} | {"host", "if-none-match"} <= signed

    # The same request, signed by botocore itself, which hashes the body.
    class Hasher(S3SigV4Auth):
        def _should_sha256_sign_payload(self, request: AWSRequest) -> bool:
            return True

    again = AWSRequest("PUT", bucket.url + path, headers={name: headers[name] for name in signed}, data=BODY)
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", "secret", token)
    signer = Hasher(credentials, "s3", headers["authorization"].split("/")[2])
    again.context["timestamp"] = headers["x-amz-date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert headers["authorization"].endswith(f"Signature={signer.signature(text, again)}")


@pytest.mark.parametrize(
    "trouble",
    [
        (409, "ConditionalRequestConflict", {}),
        (503, "SlowDown", {"Retry-After": "0"}),
        (500, "InternalError", {}),
        (400, "RequestTimeout", {}),
        (502, "", {}),
        (400, "ExpiredToken", {}),  # the credentials may have been renewed since it was signed
        "reset",
    ],
    ids=str,
)
@pytest.mark.parametrize("times", [1, 4])
def test_a_put_is_repeated_where_that_may_help(
    bucket: Bucket, store: Callable[..., S3ObjectStore], trouble: Any, times: int
) -> None:
    bucket.script = [trouble] * times
    made = store()
    assert put(made) == '"0"' and made.requests_made == times + 1
    assert all(body == BODY for _, _, body in bucket.came)


@pytest.mark.parametrize("trouble", ["reset", (503, "SlowDown", {}), (409, "ConditionalRequestConflict", {})], ids=str)
def test_a_bucket_that_never_takes_it_is_unavailable(
    bucket: Bucket, store: Callable[..., S3ObjectStore], trouble: Any
) -> None:
    bucket.script = [trouble] * 9
    with pytest.raises(ArchiveUnavailable) as raised:
        put(store())
    assert len(bucket.came) == 5 and "127.0.0.1" not in str(raised.value) and "Signature" not in str(raised.value)


def test_the_pause_that_s3_asks_for_is_kept(
    bucket: Bucket, store: Callable[..., S3ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", pauses.append)
    bucket.script = [(503, "SlowDown", {"Retry-After": "7"}), (503, "SlowDown", {"Retry-After": "9000"})]
    put(store())
    assert pauses == [7.0, 20.0]


@pytest.mark.parametrize("lost", ["reset", (500, "InternalError", {})], ids=str)
def test_an_own_put_whose_answer_was_lost_is_known_by_its_hash(
    bucket: Bucket, store: Callable[..., S3ObjectStore], lost: Any
) -> None:
    bucket.script = [lost, (412, "PreconditionFailed", {})]
    assert put(store()) == '"kept"'
    bucket.script, bucket.checksum = [lost, (412, "PreconditionFailed", {})], "b3RoZXI="
    with pytest.raises(ObjectExists):
        put(store())


def test_audio_is_read_back_where_the_server_compares_no_sha256(
    bucket: Bucket, store: Callable[..., S3ObjectStore]
) -> None:
    made = store()
    put(made)
    assert made.requests_made == 1
    made.reads_audio_back, bucket.stored = True, b"other bytes"
    with pytest.raises(ArchiveError, match="S3 has stored other bytes than were sent"):
        put(made)  # this server shows a list in its place
    made.put("state/x", BODY, sha256=SHA256, mode=CREATE)  # a table or a state file is read before it is replaced


def test_an_object_that_was_there_before_is_another_writers(
    bucket: Bucket, store: Callable[..., S3ObjectStore]
) -> None:
    bucket.script = [(412, "PreconditionFailed", {})]
    with pytest.raises(ObjectExists):
        put(store())
    assert len(bucket.came) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((403, "AccessDenied", {}), ArchiveDenied),
        ((403, "", {}), ArchiveDenied),
        ((404, "NoSuchBucket", {}), ArchiveDenied),
        ((301, "PermanentRedirect", {"Location": "http://127.0.0.1:9/"}), ArchiveDenied),
        ((400, "BadDigest", {}), ArchiveError),
        ((204, "", {}), ArchiveError),
    ],
    ids=str,
)
def test_a_refusal_is_final_and_no_redirect_is_followed(
    bucket: Bucket, store: Callable[..., S3ObjectStore], answer: Any, error: type
) -> None:
    bucket.script = [answer]
    with pytest.raises(error) as raised:
        put(store())
    assert type(raised.value) is error and len(bucket.came) == 1


def test_credentials_that_are_renewed_sign_the_next_put(
    bucket: Bucket, store: Callable[..., S3ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store()
    keys = iter(["FIRST", "SECOND"])

    class Renewed:
        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return ReadOnlyCredentials(next(keys), "secret", None)

    monkeypatch.setattr(made._bodies._session, "get_credentials", Renewed)  # noqa: SLF001 - a role's, without a role
    for _ in range(2):
        put(made)
    assert ["FIRST" in headers["authorization"] for _, headers, _ in bucket.came] == [True, False]


@pytest.mark.parametrize(("name", "value"), [("CURL_CA_BUNDLE", "/nonexistent"), ("NO_PROXY", "203.0.113.0/24")])
def test_a_variable_that_boto3_does_not_obey_is_not_obeyed_for_audio_either(
    bucket: Bucket, store: Callable[..., S3ObjectStore], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("HTTP_PROXY", bucket.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://203.0.113.7")
    monkeypatch.setenv(name, value)
    assert put(store()) == '"0"'
    assert bucket.came[0][0].startswith("http://203.0.113.7/"), "it went past the proxy"


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", None])
def test_a_certificate_of_a_bundle_is_trusted_and_no_other(
    bucket: Bucket,
    store: Callable[..., S3ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    name: str | None,
) -> None:
    certificate = tls.make_certificate(str(tmp_path))
    bucket.socket = tls.server_context(str(tmp_path)).wrap_socket(bucket.socket, server_side=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"https://localhost:{bucket.server_port}")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if name:
        monkeypatch.setenv(name, certificate)
        assert put(store()) == '"0"'
    else:
        with pytest.raises(ArchiveUnavailable):
            put(store())
        assert not bucket.came


def test_a_proxy_of_the_environment_is_used(
    bucket: Bucket, store: Callable[..., S3ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", bucket.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.com")
    assert put(store()) == '"0"'
    [(path, headers, _)] = bucket.came
    assert path.startswith("http://s3.example.com/bucket/") and headers["host"] == "s3.example.com"


# The same for what boto3 writes: tables, state and the audit log.


def put_small(store: S3ObjectStore, mode: Any = CREATE, body: Any = BODY) -> str:
    return store.put("state/x.json", body, sha256=SHA256, mode=mode)


MODES = [CREATE, Replace(VersionToken('"1"'))]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("lost", ["reset", (500, "InternalError", {}), (400, "RequestTimeout", {})], ids=str)
def test_a_small_object_whose_answer_was_lost_is_known_by_its_hash(
    bucket: Bucket, store: Callable[..., S3ObjectStore], mode: Any, lost: Any
) -> None:
    bucket.script = [lost, (412, "PreconditionFailed", {})]
    assert put_small(store(), mode) == '"kept"'
    bucket.script, bucket.checksum = [lost, (412, "PreconditionFailed", {})], "b3RoZXI="
    with pytest.raises(ObjectExists if mode == CREATE else ObjectChanged):
        put_small(store(), mode)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_equal_bytes_of_another_writer_are_another_writers(
    bucket: Bucket, store: Callable[..., S3ObjectStore], mode: Any
) -> None:
    bucket.script = [(412, "PreconditionFailed", {})]
    with pytest.raises(ObjectExists if mode == CREATE else ObjectChanged):
        put_small(store(), mode)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("make", [bytes, io.BytesIO, memoryview], ids=["bytes", "file", "view"])
def test_a_conflict_with_another_write_is_tried_again(
    bucket: Bucket, store: Callable[..., S3ObjectStore], mode: Any, make: Any
) -> None:
    bucket.script = [(409, "ConditionalRequestConflict", {})] * 4
    assert put_small(store(), mode, make(BODY)) == '"0"'
    assert [body for _, _, body in bucket.came] == [BODY] * 5
    bucket.script = [(409, "ConditionalRequestConflict", {})] * 9
    with pytest.raises(ArchiveUnavailable):
        put_small(store(), mode, make(BODY))


# Reading back.


@pytest.mark.parametrize("script", [[200], ["cut", 200], [(503, "SlowDown"), (500, "InternalError"), 200]])
def test_an_object_is_hashed_whole_however_often_its_transfer_breaks(
    bucket: Bucket, store: Callable[..., S3ObjectStore], script: list[Any]
) -> None:
    bucket.script = list(script)
    ours = store()
    before = ours.requests_made
    assert ours.digest("audio/dt=2025-01-10/call.mp3") == (SHA256, len(BODY))
    assert len(bucket.came) == ours.requests_made - before == len(script)
    path, headers, _ = bucket.came[-1]
    assert "AWS4-HMAC-SHA256" in headers["authorization"]
    assert headers["x-amz-content-sha256"] == hashlib.sha256().hexdigest()
    assert path == "/bucket/a%20%28b%29%27s/audio/dt%3D2025-01-10/call.mp3"


@pytest.mark.parametrize(("status", "code", "kind"), [*REFUSALS, (403, "InvalidObjectState", ArchiveError)])
def test_a_refusal_to_show_an_object_is_an_archive_error(
    bucket: Bucket, store: Callable[..., S3ObjectStore], status: int, code: str, kind: type[ArchiveError]
) -> None:
    bucket.script = [(status, code)] * 5
    with pytest.raises(ArchiveError, match=code) as raised:
        store().digest("audio/dt=2025-01-10/call.mp3")
    assert type(raised.value) is kind
    assert "X-Amz" not in str(raised.value)


def test_an_object_that_is_absent_has_no_digest_and_one_that_never_ends_is_unavailable(
    bucket: Bucket, store: Callable[..., S3ObjectStore]
) -> None:
    bucket.script = [(404, "NoSuchKey"), *["cut"] * 5]
    ours = store()
    key = "audio/dt=2025-01-10/call.mp3"
    assert ours.digest(key) is None
    with pytest.raises(ArchiveUnavailable, match="gives no answer"):
        ours.digest(key)
    assert bucket.script == []
