"""Downloads connect to the address that was checked, whatever the name resolves to a moment later."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from urllib3.connection import HTTPConnection

from kros_pipeline.core.errors import DownloadBroken, UrlRefused
from kros_pipeline.sandbox import tls
from kros_pipeline.source.downloads import RecordingDownloads
from kros_pipeline.steps.run_context import SYSTEM_CLOCK
from kros_pipeline.steps.settings import parse_settings

NAME = "storage.krosai.com"
PUBLIC, OTHER_PUBLIC = "93.184.215.14", "93.184.215.15"


class Server(ThreadingHTTPServer):
    """A server that answers every GET with three bytes, refuses every tunnel, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hosts: list[str] = []
        self.tunnels: list[str] = []
        self.names_indicated: list[str] = []

    def with_tls(self, folder: Path) -> str:
        """Use TLS from now on, with a certificate for localhost and 127.0.0.1; return the file that trusts it."""
        certificate = tls.make_certificate(str(folder))
        context = tls.server_context(str(folder))
        context.sni_callback = lambda _, name, __: self.names_indicated.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        return certificate


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"abc")

    def do_CONNECT(self) -> None:
        self.server.tunnels.append(self.path)
        self.send_error(502)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


class Network:
    """A network whose names resolve as a script says, and whose addresses all lead to a server of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
        self.answers: list[list[str]] = []
        self.resolved: list[str] = []
        self.connected: list[str] = []
        self.unreachable: set[str] = set()
        resolve, connect = socket.getaddrinfo, socket.socket.connect

        def resolved(host: str, port: int, *rest: Any) -> Any:
            if host.replace(".", "").isdecimal() or ":" in host:
                return resolve(host, port, *rest)
            self.resolved.append(host)
            return [entry for address in self.answers.pop(0) for entry in resolve(address, port, *rest)]

        def connected(sock: socket.socket, place: Any) -> None:
            self.connected.append(place[0])
            if place[0] in self.unreachable:
                raise ConnectionRefusedError
            connect(sock, ("127.0.0.1", server.server_port))

        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        monkeypatch.setattr(socket.socket, "connect", connected)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, server: Server) -> Network:
    return Network(monkeypatch, server)


@pytest.fixture
def storage() -> Iterator[Callable[..., RecordingDownloads]]:
    opened = []

    def open_storage(api: str = "https://api.krosai.com/v1", hosts: str = NAME) -> RecordingDownloads:
        settings = {"KROSAI_API_KEY": "k", "KROS_ARCHIVE_URL": "s3://bucket", "KROS_DOWNLOAD_WORKERS": "1"}
        made = RecordingDownloads(
            parse_settings(settings | {"KROSAI_BASE_URL": api, "KROS_RECORDING_HOSTS": hosts}).source, SYSTEM_CLOCK
        )
        opened.append(made)
        return made

    yield open_storage
    for made in opened:
        made.close()


def fetch(storage: RecordingDownloads, url: str) -> bytes:
    with storage.open(url) as body:
        return bytes(body.data)


MakeStorage = Callable[..., RecordingDownloads]


def test_the_name_is_resolved_once_and_kept_in_host_header_sni_and_certificate(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    network.answers = [[PUBLIC], ["127.0.0.1"]]
    ours = storage(hosts="localhost")  # the name that the certificate is for
    assert fetch(ours, "https://localhost/a.mp3") == fetch(ours, "https://localhost/b.mp3") == b"abc"
    assert (network.resolved, network.connected) == (["localhost"], [PUBLIC]), "one connection, kept alive"
    assert server.hosts == ["localhost", "localhost"] and server.names_indicated == ["localhost"]


def test_a_certificate_of_another_name_is_refused(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    network.answers = [[PUBLIC]]
    with pytest.raises(DownloadBroken, match="SSLError"):
        fetch(storage(), f"https://{NAME}/a.mp3")
    assert network.connected == [PUBLIC] and server.names_indicated == [NAME] and server.hosts == []


def test_a_certificate_that_is_not_trusted_is_refused(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path
) -> None:
    server.with_tls(tmp_path)
    network.answers = [[PUBLIC]]
    with pytest.raises(DownloadBroken, match="SSLError"):
        fetch(storage(hosts="localhost"), "https://localhost/a.mp3")
    assert network.connected == [PUBLIC] and server.hosts == []


def test_the_bundle_of_certificates_is_read_once_for_all_connections(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    network.answers = [[PUBLIC], [PUBLIC]]
    read: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def loaded(context: ssl.SSLContext, *files: Any, **named: Any) -> None:
        read.extend(files)
        load(context, *files, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", loaded)
    ours = storage(hosts="localhost")
    for _ in range(2):
        assert fetch(ours, "https://localhost/a.mp3") == b"abc"
        ours.close()  # so that the next one connects anew
    assert len(network.connected) == len(server.names_indicated) == 2 and len(read) == 1


# A resolver that answers first with a public address, then with one that is not, gains nothing.
def test_a_name_that_is_rebound_is_refused_before_anything_is_connected_to(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    network.answers = [[PUBLIC], ["127.0.0.1"], ["10.0.0.7"], [PUBLIC, "169.254.169.254"], [OTHER_PUBLIC]]
    ours = storage(hosts="localhost")
    assert fetch(ours, "https://localhost/a.mp3") == b"abc"
    ours.close()  # so that the next request connects anew
    for address in ("127.0.0.1", "10.0.0.7", "169.254.169.254"):
        # Three in a row with room for one connection: a refusal gives its room back.
        with pytest.raises(UrlRefused, match=f"localhost resolves to {address}, which is not a public address"):
            fetch(ours, "https://localhost/a.mp3?X-Amz-Signature=abc")
    assert network.connected == [PUBLIC]
    assert fetch(ours, "https://localhost/a.mp3") == b"abc"
    assert network.connected == [PUBLIC, OTHER_PUBLIC]


def test_the_first_of_several_addresses_that_answers_is_used(
    network: Network, server: Server, storage: MakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    network.answers = [[OTHER_PUBLIC, PUBLIC]] * 2
    network.unreachable = {OTHER_PUBLIC}
    ours = storage(hosts="localhost")
    assert fetch(ours, "https://localhost/a.mp3") == b"abc"
    assert network.connected == [OTHER_PUBLIC, PUBLIC] and server.hosts == ["localhost"]
    ours.close()
    network.unreachable |= {PUBLIC}
    with pytest.raises(DownloadBroken, match="no answer"):
        fetch(ours, "https://localhost/a.mp3")


def test_a_name_that_does_not_resolve_is_no_answer(monkeypatch: pytest.MonkeyPatch, storage: MakeStorage) -> None:
    def unknown(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadBroken, match="no answer"):
        fetch(storage(), f"https://{NAME}/a.mp3")


# With the machine's own resolver, which reads forms that Python does not; it does not help that the host is allowed.
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[64:ff9b::10.0.0.1]", "[2002:7f00:1::]", "169.254.169.254",
     "100.64.0.1", "10.0.0.1"],
)  # fmt: skip
def test_an_allowed_host_at_an_address_that_is_not_public_is_refused(storage: MakeStorage, host: str) -> None:
    with pytest.raises(UrlRefused, match="which is not a public address"):
        fetch(storage(hosts=host), f"https://{host}/a.mp3")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
def test_this_machine_is_allowed_where_the_api_itself_is_here(
    server: Server, storage: MakeStorage, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.with_tls(tmp_path))
    ours = storage(api="https://localhost:8443/v1", hosts=host)
    if host == "2130706433":
        with pytest.raises(DownloadBroken, match="SSLError"):  # connected, and not what the certificate is for
            fetch(ours, f"https://{host}:{server.server_port}/a.mp3")
    else:
        assert fetch(ours, f"https://{host}:{server.server_port}/a.mp3") == b"abc"


def test_through_a_proxy_nothing_is_resolved_here(
    server: Server, storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def record_and_resolve(host: str, *rest: Any) -> Any:
        asked.append(host)
        return resolve(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", record_and_resolve)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(DownloadBroken, match="ProxyError"):
        fetch(storage(), f"https://{NAME}/a.mp3")
    assert server.tunnels == [f"{NAME}:443"]
    assert set(asked) == {"127.0.0.1"}


def test_a_host_that_is_not_allowed_is_refused_before_its_name_is_resolved(
    storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(UrlRefused, match="is not in KROS_RECORDING_HOSTS"):
        fetch(storage(), "https://recordings.example.com/a.mp3")


# urllib3 may change its private methods: then nothing may be fetched from an address that was not checked.


def test_without_urllib3s_private_method_nothing_is_connected_to(
    network: Network, storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(HTTPConnection, "_new_conn")
    with pytest.raises(UrlRefused, match="without the check of the address"):
        fetch(storage(), f"https://{NAME}/a.mp3")
    assert network.resolved == network.connected == []


def test_a_connection_that_bypassed_the_check_is_refused(
    network: Network, server: Server, storage: MakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(connection: HTTPConnection) -> None:
        connection.sock = socket.create_connection(("127.0.0.1", server.server_port))

    monkeypatch.setattr(HTTPConnection, "connect", connect)
    ours = storage(api="http://localhost:8000/v1", hosts="localhost")
    for _ in range(2):  # with room for one connection: a refusal gives its room back
        with pytest.raises(UrlRefused, match="without the check of the address"):
            fetch(ours, "http://localhost/a.mp3")
    assert server.hosts == []
