"""Downloads: what an answer of the storage comes to, and that the very bytes of a recording come whole."""

from __future__ import annotations

import errno
import gzip
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from kros_pipeline.core.errors import AudioGone, DownloadBroken, InvalidAudio, LocalFault, UrlExpired, UrlRefused
from kros_pipeline.source import downloads, transfer_progress
from kros_pipeline.source.call_source import Body
from kros_pipeline.source.downloads import RecordingDownloads
from kros_pipeline.steps.run_context import SYSTEM_CLOCK
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.clocks import clock_without_waits, hurried_clock
from kros_pipeline_tests.support.raw_server import RESET, Piece, chunk, head, sized
from kros_pipeline_tests.support.storage_server import Answer, Request, StorageServer

AUDIO = random.Random(1).randbytes(300_000)
QUICK = clock_without_waits(SYSTEM_CLOCK.now)
ETAG, RANGES = 'ETag: "a1"', "Accept-Ranges: bytes"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def open_storage() -> Iterator[Callable[[Answer], StorageServer]]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(StorageServer(answer))


@pytest.fixture
def make_downloads() -> Iterator[Callable[..., RecordingDownloads]]:
    with ExitStack() as stack:

        def make(clock: Any = QUICK, workers: int = 4, hosts: str = "127.0.0.1") -> RecordingDownloads:
            settings = {
                "KROSAI_API_KEY": "secret-key",
                "KROS_ARCHIVE_URL": "s3://bucket",
                "KROSAI_BASE_URL": "http://127.0.0.1:9/v1",
                "KROS_RECORDING_HOSTS": hosts,
                "KROS_DOWNLOAD_WORKERS": str(workers),
            }
            made = RecordingDownloads(parse_settings(settings).source, clock)
            stack.callback(made.close)
            return made

        yield make


OpenStorage = Callable[[Answer], StorageServer]
MakeDownloads = Callable[..., RecordingDownloads]


def fetch(ours: RecordingDownloads, url: str) -> bytes:
    with ours.open(url) as body:
        assert body.size_bytes == len(body.data)
        return bytes(body.data)


def answer_with(pieces: list[Piece]) -> Answer:
    return lambda _: pieces


# Status and framing.


@pytest.mark.parametrize(
    "pieces",
    [
        sized(AUDIO),
        sized(AUDIO, status="203 Non-Authoritative Information"),
        sized(AUDIO, f"Content-Range: bytes 0-{len(AUDIO) - 1}/{len(AUDIO)}", status="206 Partial Content"),
        [b"HTTP/1.1 100 Continue\r\n\r\n", *sized(AUDIO)],
        [b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", *sized(AUDIO)],
        sized(AUDIO, "X-Long: " + "x" * 70_000),
        sized(AUDIO, "Content-Disposition: attachment; filename=Gespräch.mp3"),
        sized(AUDIO, length="many"),
        sized(AUDIO, length=-1),
        [head(), AUDIO],
        [head("Transfer-Encoding: chunked"), chunk(AUDIO), chunk(b"")],
        [head(f"Content-Length: {len(AUDIO)}"), AUDIO[:1000], 0.05, AUDIO[1000:]],
        *[
            sized(AUDIO, f"Content-Encoding: {label}")
            for label in ("aws-chunked", "base64", "UTF-8", "binary", "none", "gzip", "identity", "br")
        ],
        sized(gzip.compress(AUDIO), "Content-Encoding: gzip"),
        sized(gzip.compress(AUDIO[:9]) + gzip.compress(AUDIO[9:])),
        sized(gzip.compress(AUDIO) + b"\r\n"),
        sized(gzip.compress(AUDIO[:9]) + bytes(600) + gzip.compress(AUDIO[9:]) + bytes(600)),
        [head("Content-Encoding: gzip", "Transfer-Encoding: chunked"), chunk(gzip.compress(AUDIO)), chunk(b"")],
    ],
)
def test_a_whole_body_comes_whatever_stands_around_it(
    open_storage: OpenStorage, make_downloads: MakeDownloads, pieces: list[Piece]
) -> None:
    assert fetch(make_downloads(), f"{open_storage(answer_with(pieces)).origin}/a.mp3") == AUDIO


@pytest.mark.parametrize(
    ("pieces", "error", "words"),
    [
        (sized(b"", status="400 Bad Request"), UrlExpired, "status 400"),
        (sized(b"", status="401 Unauthorized"), UrlExpired, "status 401"),
        (sized(b"", status="403 Forbidden"), UrlExpired, "status 403"),
        (sized(b"", status="404 Not Found"), AudioGone, "status 404"),
        (sized(b"", status="410 Gone"), AudioGone, "status 410"),
        (sized(b"", status="408 Request Timeout"), DownloadBroken, "answered 408"),
        (sized(b"", status="500 Internal Server Error"), DownloadBroken, "answered 500"),
        (sized(b"", status="503 Service Unavailable"), DownloadBroken, "answered 503"),
        (sized(b"", status="204 No Content"), InvalidAudio, "answered 204"),
        (sized(b"", status="416 Range Not Satisfiable"), InvalidAudio, "answered 416"),
        (sized(b"", status="302 Found"), InvalidAudio, "answered 302"),
        (sized(AUDIO, status="206 Partial Content"), InvalidAudio, "answered 206"),
        (sized(AUDIO, f"Content-Range: bytes 1-{len(AUDIO)}/{len(AUDIO) + 1}", status="206 P"), InvalidAudio, "206"),
        (sized(AUDIO, f"Content-Range: bytes 0-{len(AUDIO) - 1}/*", status="206 P"), InvalidAudio, "206"),
        (sized(AUDIO, length=1 << 50), InvalidAudio, "which no call's audio has"),
        (sized(AUDIO, length=len(AUDIO) + 1), DownloadBroken, "broke off after 300,000 bytes"),
        ([head(f"Content-Length: {len(AUDIO)}"), AUDIO[:5_000], 0.05, RESET], DownloadBroken, "broke off after 5,000"),
        ([head("Transfer-Encoding: chunked"), chunk(AUDIO)], DownloadBroken, "broke off after 300,000 bytes"),
        ([head("Transfer-Encoding: chunked"), chunk(AUDIO)[:-9]], DownloadBroken, "broke off"),
        (sized(AUDIO, f"Content-Length: {len(AUDIO) // 2}"), DownloadBroken, "no answer|broke off"),
        ([RESET], DownloadBroken, "no answer from the storage"),
        ([b"220 ftp ready\r\n"], DownloadBroken, "no answer from the storage"),
        ([b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 900_000], DownloadBroken, "no answer from the storage"),
        ([head("Content-Encoding: gzip"), gzip.compress(AUDIO)[:-200]], DownloadBroken, "gzip body ends early"),
    ],
)
def test_any_other_answer_is_an_error_that_says_what_came(
    open_storage: OpenStorage, make_downloads: MakeDownloads, pieces: list[Piece], error: type[Exception], words: str
) -> None:
    url = f"{open_storage(answer_with(pieces)).origin}/call-7.mp3?X-Amz-Signature=secret"
    with pytest.raises(error, match=words) as raised:
        fetch(make_downloads(), url)
    assert "secret" not in str(raised.value) and "call-7" not in str(raised.value)


def test_a_gzip_that_is_whole_and_cannot_be_decoded_is_given_as_it_came(
    open_storage: OpenStorage, make_downloads: MakeDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = gzip.compress(AUDIO)[:1_000] + b"rubbish"
    storage = open_storage(answer_with(sized(broken, "Content-Encoding: gzip")))
    assert fetch(make_downloads(), f"{storage.origin}/a.mp3") == broken
    bomb = gzip.compress(bytes(3 << 20))
    storage = open_storage(answer_with(sized(bomb)))
    assert fetch(make_downloads(), f"{storage.origin}/a.mp3") == bomb  # decoded, it is a thousand times as large
    other = b"\x1f\x8b\x08" + AUDIO
    storage = open_storage(answer_with([head("Transfer-Encoding: chunked"), chunk(other), chunk(b"")]))
    assert fetch(make_downloads(), f"{storage.origin}/a.mp3") == other
    monkeypatch.setattr(downloads, "MAX_BYTES", 200_000)
    small = gzip.compress(AUDIO[:100] * 2_500)
    assert fetch(make_downloads(), f"{open_storage(answer_with(sized(small))).origin}/a.mp3") == small


def test_a_length_is_known_where_the_storage_declares_it(
    open_storage: OpenStorage, make_downloads: MakeDownloads
) -> None:
    def is_known(pieces: list[Piece]) -> tuple[bool, bool]:
        with make_downloads().open(f"{open_storage(answer_with(pieces)).origin}/a") as body:
            return body.is_length_known, body.file is None

    assert is_known(sized(AUDIO)) == (True, True)
    assert is_known([head(), AUDIO]) == (False, False)
    assert is_known([head("Transfer-Encoding: chunked"), chunk(AUDIO), chunk(b"")]) == (False, False)
    assert is_known(sized(gzip.compress(AUDIO))) == (False, False)  # of other bytes than the audio's


def test_interim_answers_are_passed_over_by_the_verbatim_client_too(
    open_storage: OpenStorage, make_downloads: MakeDownloads
) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    storage = open_storage(answer_with([interim, *sized(AUDIO)]))
    assert fetch(make_downloads(), f"{storage.origin}/a.mp3?quoted='1'") == AUDIO
    storage = open_storage(answer_with([interim * 100, *sized(AUDIO)]))
    with pytest.raises(DownloadBroken, match="no answer"):
        fetch(make_downloads(), f"{storage.origin}/a.mp3?quoted='1'")


# URLs are sent as given.


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("/a%7Eb.mp3?X-Amz-Signature=1%2f2", "/a%7Eb.mp3?X-Amz-Signature=1%2f2"),
        ("/a~b%2Fc%2fd.mp3", "/a~b%2Fc%2fd.mp3"),
        ("/[1].mp3?x[0]=[2]", "/[1].mp3?x[0]=[2]"),
        ("/a b.mp3?c d", "/a%20b.mp3?c%20d"),
        ("/a/../b/./c//d", "/a/../b/./c//d"),
        ("/a/%2e%2e/b", "/a/%2e%2e/b"),
        ("/a?x='1'&y=\"2\"", "/a?x='1'&y=\"2\""),
        ("/a\\b?c\\d", "/a\\b?c\\d"),
        ("/a{1}^|`<2>?b{3}", "/a{1}^|`<2>?b{3}"),
        ("/é?ü=名", "/%C3%A9?%C3%BC=%E5%90%8D"),
        ("/a\tb\r\nX-Injected: 1", "/a%09b%0D%0AX-Injected:%201"),
        ("/a#fragment", "/a"),
        ("/a/..#fragment", "/a/.."),
        ("/%zz%", "/%zz%"),
        ("/a+b;c=1,2@3:4!$&'()*", "/a+b;c=1,2@3:4!$&'()*"),
        ("?only=query", "/?only=query"),
        ("", "/"),
    ],
)
def test_path_and_query_are_sent_as_given(
    open_storage: OpenStorage, make_downloads: MakeDownloads, given: str, sent: str
) -> None:
    storage = open_storage(answer_with(sized(AUDIO)))
    assert fetch(make_downloads(), f"{storage.origin}{given}") == AUDIO
    [request] = storage.requests
    assert request.target == sent
    assert request.headers["Host"] == f"127.0.0.1:{storage.port}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["User-Agent"].startswith("kros-pipeline/") and "http" in request.headers["User-Agent"]
    assert not {"Authorization", "X-Api-Key", "Cookie", "Referer", "X-Injected"} & set(request.headers)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["{origin}/b%2f?sig='1'", "/b%2f?sig='1'", "//{netloc}/b%2f?sig='1'"])
def test_a_redirect_is_followed_as_given(
    open_storage: OpenStorage, make_downloads: MakeDownloads, status: int, where: str
) -> None:
    def answer(request: Request) -> list[Piece]:
        if request.target.startswith("/b"):
            return sized(AUDIO)
        host = request.headers["Host"]
        return sized(b"", f"Location: {where.format(origin=f'http://{host}', netloc=host)}", status=f"{status} R")

    storage = open_storage(answer)
    assert fetch(make_downloads(), f"{storage.origin}/a?sig=secret") == AUDIO
    assert [request.target for request in storage.requests] == ["/a?sig=secret", "/b%2f?sig='1'"]
    assert "Referer" not in storage.requests[1].headers


@pytest.mark.parametrize("start", ["/d/a?sig=1", "/d/a?sig='1'", "?sig=1"])
@pytest.mark.parametrize(
    ("where", "sent"),
    [
        ("/b/é", "/b/%C3%A9"),
        ("/b/\u2026", "/b/%E2%80%A6"),
        ("/b/https://c/d", "/b/https://c/d"),
        ("/b?to=https://c/d", "/b?to=https://c/d"),
        ("/b/%2e%2e/c#there", "/b/%2e%2e/c"),
    ],
)
def test_a_location_is_read_as_it_is_written(
    open_storage: OpenStorage, make_downloads: MakeDownloads, start: str, where: str, sent: str
) -> None:
    line = b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: " + where.encode() + b"\r\n\r\n"
    storage = open_storage(lambda request: sized(AUDIO) if request.target.startswith("/b") else [line])
    assert fetch(make_downloads(), f"{storage.origin}{start}") == AUDIO
    assert storage.requests[-1].target == sent


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("https://evil.example/a?sig=secret", UrlRefused, "evil.example.* is not in KROS_RECORDING_HOSTS"),
        ("http://169.254.169.254/latest/meta-data", UrlRefused, "not https"),
        ("file:///etc/passwd", UrlRefused, "file, not https"),
        ("http://user@127.0.0.1/a", UrlRefused, "user name"),
        ("/again", DownloadBroken, "more than 3 times"),
    ],
)
def test_each_redirect_is_judged_as_the_first_url_is(
    open_storage: OpenStorage, make_downloads: MakeDownloads, where: str, error: type[Exception], words: str
) -> None:
    storage = open_storage(answer_with(sized(b"", f"Location: {where}", status="302 Found")))
    with pytest.raises(error, match=words) as raised:
        fetch(make_downloads(), f"{storage.origin}/a?sig=secret")
    assert "secret" not in str(raised.value)
    assert len(storage.requests) == (4 if where == "/again" else 1)


# Transfers that break.


def resumable(piece_bytes: int, *headers: str, body: bytes = AUDIO) -> Answer:
    """Send so many bytes of the rest each time, and then reset the connection."""

    def answer(request: Request) -> list[Piece]:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        rest = body[start:]
        status = "206 Partial Content" if start else "200 OK"
        lines = [f"Content-Length: {len(rest)}", RANGES, *headers]
        lines += [f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"] if start else []
        end: list[Piece] = [] if len(rest) <= piece_bytes else [0.05, RESET]
        return [head(*lines, status=status), rest[:piece_bytes], *end]

    return answer


@pytest.mark.parametrize("validator", [ETAG, "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"])
@pytest.mark.parametrize("in_memory_bytes", [32 << 20, 1_000])
def test_a_broken_transfer_is_resumed_where_it_broke(
    open_storage: OpenStorage,
    make_downloads: MakeDownloads,
    validator: str,
    in_memory_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", in_memory_bytes)
    storage = open_storage(resumable(100_000, validator))
    assert fetch(make_downloads(), f"{storage.origin}/a.mp3") == AUDIO
    assert [request.headers.get("Range") for request in storage.requests] == [None, "bytes=100000-", "bytes=200000-"]
    assert {request.headers.get("If-Range") for request in storage.requests[1:]} == {validator.partition(": ")[2]}


@pytest.mark.parametrize(
    ("headers", "words"),
    [((), "broke off after 100,000"), (('ETag: W/"a1"',), "broke off after 100,000")],
    ids=["no validator", "a weak one only"],
)
def test_what_cannot_be_told_to_be_the_same_bytes_is_not_resumed(
    open_storage: OpenStorage, make_downloads: MakeDownloads, headers: tuple[str, ...], words: str
) -> None:
    storage = open_storage(resumable(100_000, *headers))
    with pytest.raises(DownloadBroken, match=words):
        fetch(make_downloads(), f"{storage.origin}/a.mp3")
    assert len(storage.requests) == 1


def test_a_transfer_that_makes_no_progress_ends(open_storage: OpenStorage, make_downloads: MakeDownloads) -> None:
    storage = open_storage(resumable(10, ETAG))
    with pytest.raises(DownloadBroken, match="broke off after 30 bytes"):
        fetch(make_downloads(), f"{storage.origin}/a.mp3")
    assert len(storage.requests) == 3


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (sized(AUDIO, ETAG), "does not continue"),  # the whole again
        (sized(AUDIO[100:], ETAG, "Content-Range: bytes 100-299999/300000", status="206 P"), "does not continue"),
        (sized(AUDIO[5_000:], ETAG, "Content-Range: bytes 5000-299999/300001", status="206 P"), "does not continue"),
        (sized(AUDIO[5_000:], 'ETag: "b"', "Content-Range: bytes 5000-299999/300000", status="206 P"), "changed"),
        (sized(b"", status="500 Internal Server Error"), "answered 500"),
    ],
)
def test_a_rest_of_other_bytes_is_not_appended(
    open_storage: OpenStorage, make_downloads: MakeDownloads, second: list[Piece], words: str
) -> None:
    first: list[Piece] = [head(f"Content-Length: {len(AUDIO)}", RANGES, ETAG), AUDIO[:5_000], 0.05, RESET]
    storage = open_storage(lambda request: first if request.number == 1 else second)
    with pytest.raises(DownloadBroken, match=words):
        fetch(make_downloads(), f"{storage.origin}/a.mp3")


def test_a_url_that_expires_between_two_parts_is_reported_as_expired(
    open_storage: OpenStorage, make_downloads: MakeDownloads
) -> None:
    first: list[Piece] = [head(f"Content-Length: {len(AUDIO)}", RANGES, ETAG), AUDIO[:5_000], 0.05, RESET]
    storage = open_storage(lambda request: first if request.number == 1 else sized(b"", status="403 Forbidden"))
    with pytest.raises(UrlExpired):
        fetch(make_downloads(), f"{storage.origin}/a.mp3")


def test_a_slow_body_comes_whole_and_a_stalled_one_is_dropped(
    open_storage: OpenStorage, make_downloads: MakeDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_progress, "_WINDOW_SECONDS", 0.1)
    monkeypatch.setattr(transfer_progress, "_LEAST_BYTES", 1_000)
    slow = [part for start in range(0, 20_000, 1_000) for part in (AUDIO[start : start + 1_000], 0.02)]
    storage = open_storage(answer_with([head("Content-Length: 20000"), *slow]))
    assert fetch(make_downloads(SYSTEM_CLOCK), f"{storage.origin}/a.mp3") == AUDIO[:20_000]
    drip = [part for _ in range(200) for part in (b"x", 0.02)]
    storage = open_storage(answer_with([head("Content-Length: 20000"), *drip]))
    with pytest.raises(DownloadBroken, match=r"bytes came in 0\.1 seconds"):
        fetch(make_downloads(SYSTEM_CLOCK), f"{storage.origin}/a.mp3")


def test_a_body_that_stops_is_dropped_though_the_connection_stays(
    open_storage: OpenStorage, make_downloads: MakeDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.2)
    for target in ("/a.mp3", "/a.mp3?quoted='1'"):  # by either client
        for pieces in ([head("Content-Length: 20000"), b"x", 2.0], [2.0]):
            storage = open_storage(answer_with([*pieces]))
            with pytest.raises(DownloadBroken, match=r"broke off after 1 bytes|no answer"):
                fetch(make_downloads(SYSTEM_CLOCK), f"{storage.origin}{target}")


def test_resumed_downloads_do_not_wait_for_those_that_wait_for_their_memory(
    open_storage: OpenStorage, make_downloads: MakeDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "IN_FLIGHT_BYTES", len(AUDIO))
    monkeypatch.setattr(downloads, "_FIRST_WAIT_SECONDS", 0.05)
    storage, ours = open_storage(resumable(200_000, ETAG)), make_downloads(SYSTEM_CLOCK, workers=1)
    pool = ThreadPoolExecutor(2)
    found = [pool.submit(fetch, ours, f"{storage.origin}/{number}.mp3") for number in range(4)]
    assert [future.result(timeout=20) for future in found] == [AUDIO] * 4
    pool.shutdown()


# A storage that throttles.


@pytest.mark.parametrize("status", ["503 Slow Down", "429 Too Many Requests"])
@pytest.mark.parametrize("retry_after", ["Retry-After: 1", "Retry-After: 0.5", "X-Nothing: 1"])
def test_a_storage_that_takes_eight_at_once_gets_eight_and_gives_everything(
    open_storage: OpenStorage, make_downloads: MakeDownloads, status: str, retry_after: str
) -> None:
    body = AUDIO[:20_000]
    refusal = b"<Error><Code>SlowDown</Code></Error>"
    storage: StorageServer

    def answer(_: Request) -> list[Piece]:
        return sized(refusal, retry_after, status=status) if storage.running > 8 else [*sized(body), 0.01]

    storage = open_storage(answer)
    ours = make_downloads(hurried_clock(SYSTEM_CLOCK.now), workers=32)
    with ThreadPoolExecutor(48) as pool:
        bodies = list(pool.map(lambda number: fetch(ours, f"{storage.origin}/{number}.mp3"), range(80)))
    assert bodies == [body] * 80
    assert len(storage.requests) > 80 and storage.most_at_once > 8


@pytest.mark.parametrize(
    ("pieces", "most_requests"),
    [
        (sized(b"", status="429 Too Many Requests"), 20),
        (sized(b"", "Retry-After: 0", status="503 Service Unavailable"), 20),
        (sized(b"", "Retry-After: 3600", status="503 Service Unavailable"), 1),
        (sized(b"<Code>InternalError</Code>", status="503 Service Unavailable"), 1),
    ],
)
def test_a_storage_that_only_throttles_is_given_up(
    open_storage: OpenStorage, make_downloads: MakeDownloads, pieces: list[Piece], most_requests: int
) -> None:
    storage = open_storage(answer_with(pieces))
    with pytest.raises(DownloadBroken, match="the storage answered"):
        fetch(make_downloads(), f"{storage.origin}/a.mp3")
    assert 1 <= len(storage.requests) <= most_requests


# Memory.


def test_large_bodies_lie_in_files_and_small_ones_in_memory_bounded_for_all(
    open_storage: OpenStorage, make_downloads: MakeDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "IN_FLIGHT_BYTES", 3 * len(AUDIO))
    storage, lock, held, peaks = open_storage(answer_with(sized(AUDIO))), threading.Lock(), [0], [0]
    ours = make_downloads(workers=16)

    def fetch_and_hold(number: int) -> None:
        with ours.open(f"{storage.origin}/{number}") as body:
            with lock:
                held[0] += body.size_bytes
                peaks.append(held[0])
            assert body.data == AUDIO and body.file is None
            time.sleep(0.01)
            with lock:
                held[0] -= body.size_bytes

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(fetch_and_hold, range(40)))
    assert len(AUDIO) < max(peaks) <= 3 * len(AUDIO)

    monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", len(AUDIO) - 1)
    body: Body
    with ours.open(f"{storage.origin}/large") as body:
        assert body.file is not None and body.data == AUDIO
        body.file.seek(0)
        assert body.file.read() == AUDIO
    assert body.file.closed


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "the disk of .* is full"), (errno.EMFILE, "too many files and connections")]
)
def test_what_this_machine_lacks_is_not_blamed_on_the_storage(
    open_storage: OpenStorage,
    make_downloads: MakeDownloads,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    def lacking(*_: Any, **__: Any) -> Any:
        raise OSError(number, "this machine")

    origin = open_storage(answer_with(sized(AUDIO))).origin
    if number == errno.EMFILE:
        monkeypatch.setattr("socket.create_connection", lacking)
    else:
        monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", 1_000)
        monkeypatch.setattr("tempfile.TemporaryFile", lacking)
    with pytest.raises(LocalFault, match=words):
        fetch(make_downloads(), f"{origin}/a.mp3?quoted='1'")
