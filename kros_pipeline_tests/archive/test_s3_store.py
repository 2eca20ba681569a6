"""The bucket: every write under a condition, every byte the one that was meant, every refusal in our own words."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kros_pipeline.archive.s3_store import ObjectStore
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from kros_pipeline.steps.run_context import open_run_context
from kros_pipeline_tests.support.accounts import Account, MakeAccount


@pytest.fixture
def our(account: MakeAccount) -> Account:
    return account()


def put(store: ObjectStore, key: str, body: Any, only_if: str = "absent") -> None:
    data = body if isinstance(body, bytes) else body.getvalue()
    store.put(key, body, sha256=hashlib.sha256(data).hexdigest(), only_if=only_if)


# Bytes: what is put is what is there, read back and compared; a server may accept a checksum that is wrong.
@pytest.mark.parametrize("size", [0, 1, 1 << 16, (5 << 20) + 3])
def test_bytes_and_files_arrive_as_they_are(our: Account, size: int) -> None:
    body = bytes(number % 251 for number in range(1_000)) * (size // 1_000 + 1)
    body = body[:size]
    put(our.ctx.store, "state/bytes", body)
    with tempfile.TemporaryFile() as file:
        file.write(body)  # and so it stands at its end
        our.ctx.store.put("state/file", file, sha256=hashlib.sha256(body).hexdigest(), only_if="absent")
    our.ctx.store.put_audio("audio/dt=2025-01-10/a.mp3", memoryview(body), metadata={"sha256": "x"})
    for key in ("state/bytes", "state/file", "audio/dt=2025-01-10/a.mp3"):
        assert our.archive.read(key) == body, key
        assert our.ctx.store.read(key) == body


class _Wire(BaseHTTPRequestHandler):
    """Takes every PUT and notes what came: moto forgets the checksum that obstore sends."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_every_put_is_a_create_with_the_sha256_of_its_bytes(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Wire) as server:
        server.came = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        store = our.open().store
        put(store, "state/x", b"abc")
        store.put_audio("audio/x.mp3", b"abc", metadata={"sha256": "00ff"})
        store.client.close()
        server.shutdown()
    for path, headers, body in server.came:  # type: ignore[attr-defined]
        assert path.startswith(f"/{our.archive.bucket}/{our.archive.prefix}/"), path
        assert body == b"abc" and headers["if-none-match"] == "*"
        assert headers["x-amz-checksum-sha256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    assert len(server.came) == 2  # type: ignore[attr-defined]


# Conditions.


def test_a_create_never_overwrites(our: Account) -> None:
    put(our.ctx.store, "state/x", b"first")
    our.ctx.store.put_audio("audio/x.mp3", b"first", metadata={})
    with pytest.raises(ObjectExists, match="state/x"):
        put(our.ctx.store, "state/x", b"second")
    with pytest.raises(ObjectExists, match=r"audio/x\.mp3"):
        our.ctx.store.put_audio("audio/x.mp3", b"second", metadata={})
    assert our.archive.read("state/x") == our.archive.read("audio/x.mp3") == b"first"


def test_a_replacement_is_of_the_version_that_was_read(our: Account) -> None:
    store = our.ctx.store
    put(store, "state/x", b"one")
    head = store.head("state/x")
    assert head is not None
    put(store, "state/x", b"two", only_if=head.etag)
    with pytest.raises(ObjectChanged):
        put(store, "state/x", b"three", only_if=head.etag)
    our.archive.delete("state/x")
    with pytest.raises(ObjectChanged):
        put(store, "state/x", b"three", only_if=head.etag)
    assert store.head("state/x") is None


def test_of_many_creates_at_once_one_wins(our: Account) -> None:
    store, won, lost = our.ctx.store, [], []

    def create(number: int) -> None:
        try:
            put(store, "state/raced", f"{number}".encode())
            won.append(number)
        except ObjectExists:
            lost.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 5
    assert our.archive.read("state/raced") == f"{won[0]}".encode()


# Reading.


def test_absent_is_none_and_only_absent_is(our: Account) -> None:
    store = our.ctx.store
    assert store.head("no") is None and store.read("no") is None and store.read_json("no") is None
    assert store.copy_into("no", io.BytesIO()) is None
    assert list(store.list("no/")) == []


def test_a_listing_is_whole_sorted_and_of_its_prefix(our: Account) -> None:
    keys = [f"audio/dt=2025-01-10/{number:04}.mp3" for number in range(25)]
    for key in reversed(keys):
        put(our.ctx.store, key, b"x" * int(key[-6]))
    put(our.ctx.store, "audio/dt=2025-01-100/other.mp3", b"")
    found = list(our.ctx.store.list("audio/dt=2025-01-10/"))
    assert [entry.key for entry in found] == keys
    assert all(entry.size_bytes == int(entry.key[-6]) for entry in found)


def test_a_head_shows_what_the_writer_said(our: Account) -> None:
    our.ctx.store.put_audio("audio/x.mp3", b"abc", metadata={"sha256": "00ff", "duration-seconds": "12.5"})
    head = our.ctx.store.head("audio/x.mp3")
    assert head is not None and head.size_bytes == 3
    assert dict(head.metadata) == {"sha256": "00ff", "duration-seconds": "12.5"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_should_be_our_json_and_is_not_is_said(our: Account, body: bytes) -> None:
    our.archive.write("state/x.json", body)
    with pytest.raises(ArchiveError, match="does not hold the JSON"):
        our.ctx.store.read_json("state/x.json")


# Refusals: named, in one sentence, and told apart by what to do about them.


def test_a_bucket_that_is_not_there_is_for_a_human(our: Account) -> None:
    with pytest.raises(ArchiveDenied, match="NoSuchBucket"):
        open_run_context(our.environment | {"KROS_ARCHIVE_URL": "s3://no-such-bucket/x"})


def test_no_credentials_are_for_a_human(our: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ArchiveDenied, match="no AWS credentials were found"):
        open_run_context(our.environment)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", ArchiveDenied),
        (403, "InvalidAccessKeyId", ArchiveDenied),
        (403, "SignatureDoesNotMatch", ArchiveDenied),
        (400, "ExpiredToken", ArchiveDenied),
        (404, "NoSuchBucket", ArchiveDenied),
        (409, "ConditionalRequestConflict", ArchiveUnavailable),
        (503, "SlowDown", ArchiveUnavailable),
        (500, "InternalError", ArchiveUnavailable),
        (400, "BadDigest", ArchiveError),
    ],
)
@pytest.mark.parametrize("action", ["put", "read", "head", "list", "copy_into"])
def test_s3s_words_become_our_errors(our: Account, status: int, code: str, kind: type, action: str) -> None:
    """What S3 says is put in its answer's place, so that no server has to be found that says it."""
    store = our.ctx.store
    spoken = f"<Error><Code>{code}</Code><Message>https://s3/x?X-Amz-Signature=abc is not allowed</Message></Error>"

    def answer(**_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        class Raw(io.BytesIO):
            def stream(self, **_: Any) -> Any:
                yield self.read()

        return AWSResponse("http://s3/", status, {}, Raw(spoken.encode()))

    store.client.meta.events.register("before-send.s3", answer)
    store.client.meta.events.unregister("needs-retry.s3", unique_id="retry-config-s3")
    act = {
        "put": lambda: put(store, "state/x", b"abc"),
        "read": lambda: store.read("state/x"),
        "head": lambda: store.head("state/x"),
        "list": lambda: list(store.list("state/")),
        "copy_into": lambda: store.copy_into("state/x", io.BytesIO()),
    }[action]
    with pytest.raises(ArchiveError) as raised:
        act()
    assert type(raised.value) is kind
    assert "X-Amz" not in str(raised.value)


def test_a_server_that_is_not_there_is_said_without_its_url(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with pytest.raises(ArchiveUnavailable, match="EndpointConnectionError"):
        open_run_context(our.environment)
