"""What only S3 can show: the headers that travel, and every refusal as one of our errors."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from kros_pipeline.archive.object_store import CREATE, ObjectStore
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable
from kros_pipeline.sandbox import LocalS3
from kros_pipeline.steps.run_context import open_run_context
from kros_pipeline_tests.support.accounts import Account, MakeAccount
from kros_pipeline_tests.support.s3_refusals import REFUSALS, refusal_body


@pytest.fixture
def our(account: MakeAccount) -> Account:
    return account()


def put(store: ObjectStore, key: str, body: bytes | memoryview) -> None:
    store.put(key, body, sha256=hashlib.sha256(body).hexdigest(), mode=CREATE, metadata={"sha256": "00ff"})


class _Wire(BaseHTTPRequestHandler):
    """An empty bucket that accepts every PUT and keeps what came: moto forgets the checksum that obstore sends."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        is_list = "list-type=2" in self.path
        body = b"<ListBucketResult></ListBucketResult>" if is_list else b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(200 if is_list else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_every_create_sends_its_condition_and_the_sha256_of_its_bytes(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Wire) as server:
        server.came = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = our.open().store
        assert isinstance(store, S3ObjectStore)
        put(store, "state/x", b"abc")
        put(store, "audio/x.mp3", memoryview(b"abc"))
        store.client.close()
        server.shutdown()
    for path, headers, body in server.came:  # type: ignore[attr-defined]
        assert path.startswith(f"/{our.archive.bucket}/{our.archive.prefix}/"), path
        assert body == b"abc" and headers["if-none-match"] == "*"
        assert headers["x-amz-checksum-sha256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    assert len(server.came) == 2  # type: ignore[attr-defined]


# Refusals: one sentence each, and a type that says what to do about it.


def test_a_missing_bucket_needs_a_person(our: Account) -> None:
    with pytest.raises(ArchiveDenied, match="NoSuchBucket"):
        open_run_context(our.environment | {"KROS_ARCHIVE_URL": "s3://no-such-bucket/x"})


def test_a_bucket_that_vanished_needs_a_person_whichever_client_writes(aws: LocalS3) -> None:
    gone = S3ObjectStore(ArchiveSettings("vanished-bucket", "x", None, None, None, connections=4))
    for body in (b"abc", memoryview(b"abc")):
        with pytest.raises(ArchiveDenied, match="NoSuchBucket"):
            put(gone, "audio/x.mp3", body)
    gone.client.close()


def test_missing_credentials_need_a_person(our: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ArchiveDenied, match="no AWS credentials were found"):
        open_run_context(our.environment)


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
@pytest.mark.parametrize("action", ["put", "read", "head", "list", "folders", "copy_into"])
def test_every_error_code_of_s3_becomes_an_archive_error_without_the_url(
    our: Account, status: int, code: str, kind: type, action: str
) -> None:
    """S3's answer is replaced, so that no server is needed that gives it."""
    store = our.ctx.store
    assert isinstance(store, S3ObjectStore)

    def answer(**_: Any) -> Any:
        class Raw(io.BytesIO):
            def stream(self, **_: Any) -> Any:
                yield self.read()

        return AWSResponse("http://s3/", status, HTTPHeaders(), Raw(refusal_body(code)))

    store.client.meta.events.register("before-send.s3", answer)
    store.client.meta.events.unregister("needs-retry.s3", unique_id="retry-config-s3")
    actions: dict[str, Callable[[], object]] = {
        "put": lambda: put(store, "state/x", b"abc"),
        "read": lambda: store.read("state/x"),
        "head": lambda: store.head("state/x"),
        "list": lambda: list(store.list("state/")),
        "folders": lambda: list(store.folders("state/")),
        "copy_into": lambda: store.copy_into("state/x", io.BytesIO()),
    }
    with pytest.raises(ArchiveError) as raised:
        actions[action]()
    assert type(raised.value) is kind
    assert "X-Amz" not in str(raised.value)


def test_a_server_that_does_not_answer_is_named_without_its_url(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with pytest.raises(ArchiveUnavailable, match="EndpointConnectionError"):
        open_run_context(our.environment)
