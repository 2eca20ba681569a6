"""Downloads connect to an address that was checked, whatever the name resolves to a moment later, by either client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import DownloadBroken, LocalFault, UrlRefused
from kros_pipeline.sandbox import tls
from kros_pipeline.source.downloads import RecordingDownloads
from kros_pipeline.steps.run_context import SYSTEM_CLOCK
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.raw_server import Piece, head, sized
from kros_pipeline_tests.support.storage_server import Request, StorageServer

NAME = "storage.krosai.com"
HERE, ELSEWHERE = "127.0.0.2", "127.0.0.3"  # addresses of this machine, which count as public where the API is here
PATHS = ["/a.mp3?sig=secret", "/a.mp3?sig='secret'"]  # the kept client sends the first as given, and not the second
LOCAL_API = "https://localhost:8443/v1"

by_either_client = pytest.mark.parametrize("path", PATHS, ids=["kept client", "verbatim client"])


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Names:
    """Names resolve as a script says, one answer after the other, and the last one for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.resolved: list[str] = []
        resolve = socket.getaddrinfo

        def resolved(host: str, *rest: Any, **named: Any) -> Any:
            if host.replace(".", "").isdecimal() or ":" in host:
                return resolve(host, *rest, **named)
            self.resolved.append(host)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return [entry for address in answer for entry in resolve(address, *rest, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


OpenServer = Callable[..., StorageServer]
MakeStorage = Callable[..., RecordingDownloads]


@pytest.fixture
def open_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenServer]:
    """A server with TLS, whose certificate is for localhost and 127.0.0.1."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls.make_certificate(str(tmp_path)))
    with ExitStack() as stack:

        def open_one(
            address: str = HERE, answer: Callable[[Request], list[Piece]] = lambda _: sized(b"abc"), port: int = 0
        ) -> StorageServer:
            server = StorageServer(answer, address, port)
            server.use_tls(tls.server_context(str(tmp_path)))
            return stack.enter_context(server)

        yield open_one


@pytest.fixture
def storage() -> Iterator[MakeStorage]:
    with ExitStack() as stack:

        def open_storage(
            api: str = LOCAL_API, hosts: str = "localhost", clock: Clock = SYSTEM_CLOCK
        ) -> RecordingDownloads:
            settings = {"KROSAI_API_KEY": "k", "KROS_ARCHIVE_URL": "s3://bucket", "KROS_DOWNLOAD_WORKERS": "2"}
            parsed = parse_settings(settings | {"KROSAI_BASE_URL": api, "KROS_RECORDING_HOSTS": hosts})
            made = RecordingDownloads(parsed.source, clock)
            stack.callback(made.close)
            return made

        yield open_storage


def fetch(storage: RecordingDownloads, url: str) -> bytes:
    with storage.open(url) as body:
        return bytes(body.data)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@by_either_client
def test_the_name_is_kept_in_host_header_sni_and_certificate(
    names: Names, open_server: OpenServer, storage: MakeStorage, path: str
) -> None:
    names.answers = [[HERE], ["127.0.0.1"]]
    server = open_server()
    assert fetch(storage(), f"https://localhost:{server.port}{path}") == b"abc"
    assert names.resolved == ["localhost"] and server.names_indicated == ["localhost"]
    assert server.requests[0].headers["Host"] == f"localhost:{server.port}"


def test_a_name_is_resolved_once_for_many_requests(names: Names, open_server: OpenServer, storage: MakeStorage) -> None:
    names.answers = [[HERE], [ELSEWHERE]]
    server, ours = open_server(), storage()
    for name in ("localhost", "LOCALHOST", "localhost"):
        assert fetch(ours, f"https://{name}:{server.port}/a.mp3") == b"abc"
    assert names.resolved == ["localhost"] and len(server.requests) == 3


@by_either_client
def test_a_certificate_of_another_name_is_refused(
    names: Names, open_server: OpenServer, storage: MakeStorage, path: str
) -> None:
    names.answers = [[HERE]]
    server = open_server()
    with pytest.raises(DownloadBroken, match=r"no answer.*([Cc]ertificate|SSLCertVerification)") as raised:
        fetch(storage(hosts=f"{NAME}:{server.port}"), f"https://{NAME}:{server.port}{path}")
    assert server.names_indicated == [NAME] and server.requests == []
    assert "secret" not in str(raised.value)


@by_either_client
def test_a_certificate_that_is_not_trusted_is_refused(
    names: Names, open_server: OpenServer, storage: MakeStorage, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.answers = [[HERE]]
    server = open_server()
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(DownloadBroken, match=r"no answer.*([Cc]ertificate|SSLCertVerification)"):
        fetch(storage(), f"https://localhost:{server.port}{path}")
    assert server.requests == []


# A resolver that answers first with a public address, then with one that is not, gains nothing.
@by_either_client
def test_a_name_that_is_rebound_is_refused_before_anything_is_connected_to(
    names: Names, open_server: OpenServer, storage: MakeStorage, path: str
) -> None:
    names.answers = [[HERE], ["10.0.0.7"], [HERE, "169.254.169.254"], ["100.64.0.1"], [HERE]]
    server, ours = open_server(), storage()
    url = f"https://localhost:{server.port}{path}"
    assert fetch(ours, url) == b"abc"
    ours.close()  # so that the next request resolves anew
    for address in ("10.0.0.7", "169.254.169.254", "100.64.0.1"):
        with pytest.raises(UrlRefused, match=f"localhost resolves to {address}, which is not a public address"):
            fetch(ours, url)
    assert len(server.requests) == 1
    assert fetch(ours, url) == b"abc"


@by_either_client
def test_the_first_of_several_addresses_that_answers_is_used(
    names: Names, open_server: OpenServer, storage: MakeStorage, path: str
) -> None:
    names.answers = [["127.0.0.7", ELSEWHERE, HERE]]
    server, ours = open_server(), storage()
    for _ in range(2):
        assert fetch(ours, f"https://localhost:{server.port}{path}") == b"abc"
    names.answers = [["127.0.0.7", ELSEWHERE]]
    ours.close()
    with pytest.raises(DownloadBroken, match="no answer"):
        fetch(ours, f"https://localhost:{server.port}{path}")


def test_a_client_is_replaced_after_five_minutes_and_its_transfers_finish(
    names: Names, open_server: OpenServer, storage: MakeStorage
) -> None:
    names.answers = [[HERE], [ELSEWHERE]]
    goes_on, now = threading.Event(), [0.0]

    def slowly(_: Request) -> list[Piece]:
        goes_on.wait(timeout=20)
        return [head("Content-Length: 3"), b"old"]

    old = open_server(answer=slowly)
    new = open_server(ELSEWHERE, answer=lambda _: sized(b"new"), port=old.port)
    ours = storage(clock=replace(SYSTEM_CLOCK, monotonic=lambda: now[0]))
    url, came = f"https://localhost:{old.port}/a.mp3", []
    first = threading.Thread(target=lambda: came.append(fetch(ours, url)))
    first.start()
    wait_for(lambda: len(old.requests) == 1)
    now[0] = 299.0
    second = threading.Thread(target=lambda: came.append(fetch(ours, url)))
    second.start()
    wait_for(lambda: len(old.requests) == 2)
    now[0] = 301.0
    ours._concurrency._limit = 3.0  # noqa: SLF001 - two wait, and a third is to run
    assert fetch(ours, url) == b"new" and names.resolved == ["localhost"] * 2
    goes_on.set()
    for waiting in (first, second):
        waiting.join()
    assert came == [b"old", b"old"] and len(new.requests) == 1


@by_either_client
def test_a_name_that_does_not_resolve_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, storage: MakeStorage, path: str
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadBroken, match=rf"no answer.*{NAME} does not resolve"):
        fetch(storage(hosts=NAME), f"https://{NAME}{path}")


# With the machine's own resolver, which reads forms that Python does not; it does not help that the host is allowed.
@by_either_client
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[64:ff9b::10.0.0.1]", "[2002:7f00:1::]", "169.254.169.254",
     "100.64.0.1", "10.0.0.1"],
)  # fmt: skip
def test_an_allowed_host_at_an_address_that_is_not_public_is_refused(
    storage: MakeStorage, host: str, path: str
) -> None:
    with pytest.raises(UrlRefused, match="which is not a public address"):
        fetch(storage(api="https://api.krosai.com/v1", hosts=host), f"https://{host}{path}")


@by_either_client
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
def test_this_machine_is_allowed_where_the_api_itself_is_here(
    open_server: OpenServer, storage: MakeStorage, host: str, path: str
) -> None:
    server = open_server("127.0.0.1")
    ours = storage(hosts=host)
    if host == "2130706433":  # connected to by that name, which the certificate is not for
        with pytest.raises(DownloadBroken, match="no answer"):
            fetch(ours, f"https://{host}:{server.port}{path}")
        assert server.requests == []
    else:
        assert fetch(ours, f"https://{host}:{server.port}{path}") == b"abc"


@by_either_client
@pytest.mark.parametrize("user", ["", "user:p%40ss@"])
def test_through_a_proxy_nothing_is_resolved_here(
    storage: MakeStorage, monkeypatch: pytest.MonkeyPatch, path: str, user: str
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def record_and_resolve(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return resolve(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", record_and_resolve)
    with StorageServer(lambda _: [head(status="502 Bad Gateway")]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{proxy.port}")
        with pytest.raises(DownloadBroken, match="no answer"):
            fetch(storage(api="https://api.krosai.com/v1", hosts=NAME), f"https://{NAME}{path}")
        assert [request.target for request in proxy.requests] == [f"{NAME}:443"]
        sent = proxy.requests[0].headers.get("Proxy-Authorization")
        assert sent == ("Basic dXNlcjpwQHNz" if user else None)
    assert set(asked) <= {"127.0.0.1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("REQUESTS_CA_BUNDLE", "/nowhere.pem"), ("REQUESTS_CA_BUNDLE", "/"), ("HTTPS_PROXY", "http://[u:p")],
)
def test_an_environment_that_no_client_can_be_built_with_is_a_local_fault(
    storage: MakeStorage, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(LocalFault, match="that the environment names cannot be used") as raised:
        fetch(storage(), "https://localhost:9/a.mp3")
    assert value not in str(raised.value)


def test_a_host_without_a_proxy_is_pinned_though_others_have_one(
    names: Names, open_server: OpenServer, storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    names.answers = [[HERE]]
    server = open_server()
    assert fetch(storage(), f"https://localhost:{server.port}/a.mp3") == b"abc"


def test_a_host_that_is_not_allowed_is_refused_before_its_name_is_resolved(
    storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    for host in ("recordings.example.com", f"{NAME}.", f"{NAME}.evil.example"):
        with pytest.raises(UrlRefused, match="is not in KROS_RECORDING_HOSTS"):
            fetch(storage(hosts=NAME), f"https://{host}/a.mp3")
