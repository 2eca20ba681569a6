"""An S3 for benchmarks, in a process of its own: as little of S3 as the pipeline and its rivals use, and fast.

moto's server takes several milliseconds an object, and would be all that is measured. This one reads a body into one
buffer again and again, keeps an object's size, ETag and headers, and its bytes only where they are no audio. It looks
at no signature and hashes nothing large: so does no S3 on the client's own cores.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import ssl
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from kros_pipeline.sandbox import tls
from kros_pipeline.sandbox.processes import ChildServer, tell_parent, told_by_parent

BUCKET = "bench"
_BUFFER_BYTES = 1 << 18
_KEPT_HEADERS = ("content-type", "x-amz-checksum-sha256")


class Sink:
    """The handle. `delay_seconds` pass before each answer."""

    def __init__(self, tls_folder: str | None = None) -> None:
        self._tls_folder = tls_folder
        self._child = ChildServer("benchmarks.sink")
        self.endpoint_url = ""

    def __enter__(self) -> Sink:
        self._child.start({"tls_folder": self._tls_folder})
        self.endpoint_url = self._child.wait_until_ready()["endpoint_url"]
        return self

    def __exit__(self, *reason: object) -> None:
        self._child.stop()

    def set_delay(self, seconds: float) -> None:
        """Before each answer."""
        self._command("delay", {"seconds": seconds})

    def forget(self) -> None:
        """No object, and counters at zero."""
        self._command("forget", {})

    def counters(self) -> dict[str, Any]:
        """`requests` by method, `objects`, and `bytes` of bodies that came."""
        return self._command("counters", {})

    def _command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        parts = urlsplit(self.endpoint_url)
        connection: http.client.HTTPConnection = http.client.HTTPConnection(parts.netloc, timeout=60)
        if self._tls_folder:
            context = ssl.create_default_context(cafile=f"{self._tls_folder}/certificate.pem")
            connection = http.client.HTTPSConnection(parts.netloc, timeout=60, context=context)
        connection.request("POST", f"/__control__/{name}", json.dumps(arguments))
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer


@dataclass(slots=True)
class _Object:
    size_bytes: int
    etag: str
    headers: dict[str, str]
    body: bytes | None
    modified: str = field(default_factory=lambda: formatdate(usegmt=True))


class _Bucket:
    """What is stored, and what has been asked."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.requests: Counter[str] = Counter()
        self.bytes = 0
        self.delay_seconds = 0.0
        self._puts = 0

    def control(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name == "delay":
            self.delay_seconds = arguments["seconds"]
        if name == "forget":
            self.objects, self.requests, self.bytes = {}, Counter(), 0
        return {"requests": dict(self.requests), "objects": len(self.objects), "bytes": self.bytes}

    def answer(self, head: _Head, size_bytes: int, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.requests[head.method] += 1
        _, _, key = head.path.lstrip("/").partition("/")
        if not key:
            return self._list(parse_qs(head.query)) if head.method == "GET" else (200, {}, b"")
        key = unquote(key)
        found = self.objects.get(key)
        if head.method == "PUT":
            return self._put(key, found, head, size_bytes, body)
        if found is None:
            return _error(404, "NoSuchKey")
        headers = {"ETag": found.etag, "Last-Modified": found.modified, "Accept-Ranges": "bytes", **found.headers}
        if head.method == "HEAD":
            return 200, headers | {"Content-Length": str(found.size_bytes)}, b""
        return 200, headers, found.body or b""

    def _put(
        self, key: str, found: _Object | None, head: _Head, size_bytes: int, body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        must_match = head.headers.get("if-match")
        if found is not None and head.headers.get("if-none-match") == "*":
            return _error(412, "PreconditionFailed")
        if must_match and (found is None or found.etag.strip('"') != must_match.strip('"')):
            return _error(412 if found else 404, "PreconditionFailed" if found else "NoSuchKey")
        self._puts += 1
        self.bytes += size_bytes
        etag = f'"{hashlib.md5(body).hexdigest() if body is not None else f"{self._puts:032x}"}"'
        headers = {name: value for name, value in head.headers.items() if name.startswith("x-amz-meta-")}
        headers |= {name: head.headers[name] for name in _KEPT_HEADERS if name in head.headers}
        self.objects[key] = _Object(size_bytes, etag, headers, body)
        return 200, {"ETag": etag}, b""

    def _list(self, query: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page, is_cut = keys[:1000], len(keys) > 1000
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{self.objects[key].size_bytes}</Size>"
            f"<ETag>{escape(self.objects[key].etag)}</ETag>"
            "<LastModified>2025-01-11T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if is_cut else ""
        return (
            200,
            {"Content-Type": "application/xml"},
            (
                f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
                f"<KeyCount>{len(page)}</KeyCount><MaxKeys>1000</MaxKeys>"
                f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{more}{items}</ListBucketResult>"
            ).encode(),
        )


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode()


@dataclass(slots=True)
class _Head:
    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def is_audio(self) -> bool:
        return self.path.endswith(".mp3")


class _Connection(asyncio.BufferedProtocol):
    """One connection. Bodies are read into one small buffer: nothing of audio is ever held."""

    def __init__(self, bucket: _Bucket) -> None:
        self._bucket = bucket
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._pending = bytearray()  # of a head, or of a body's framing
        self._head: _Head | None = None
        self._left: int | None = None  # bytes of the body still to come; None where it comes in chunks
        self._size_bytes = 0
        self._kept: bytearray | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client is there."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio: where to put what comes."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: so much came."""
        data = self._view[:nbytes]
        if self._head is not None and self._left is not None and nbytes <= self._left and not self._pending:
            self._take(data)  # the middle of a plain body: the one path that must be fast
            if self._left == 0:
                self._answer()
            return
        self._pending += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Goes on with what is pending; False where more must come."""
        if self._head is None:
            return self._read_head()
        if self._left is None:
            return self._read_chunk()
        piece = self._pending[: self._left]
        del self._pending[: len(piece)]
        self._take(memoryview(piece))
        if self._left == 0:
            self._answer()
            return bool(self._pending)
        return False

    def _read_head(self) -> bool:
        end = self._pending.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._pending[:end].decode("latin-1").split("\r\n")
        del self._pending[: end + 4]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, _, query = target.partition("?")
        self._head = _Head(method, path, query, headers)
        self._size_bytes, self._kept = 0, None if self._head.is_audio else bytearray()
        is_chunked = "chunked" in headers.get("transfer-encoding", "")
        self._left = None if is_chunked else int(headers.get("content-length", "0"))
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _read_chunk(self) -> bool:
        line_end = self._pending.find(b"\r\n")
        if line_end < 0:
            return False
        size = int(self._pending[:line_end].split(b";")[0], 16)
        if len(self._pending) < line_end + 2 + size + 2:
            return False
        if size:
            self._take(memoryview(bytes(self._pending[line_end + 2 : line_end + 2 + size])))
        del self._pending[: line_end + 2 + size + 2]
        if size == 0:
            self._answer()
        return True

    def _take(self, data: memoryview) -> None:
        self._size_bytes += len(data)
        if self._left is not None:
            self._left -= len(data)
        if self._kept is not None:
            self._kept += data

    def _answer(self) -> None:
        head = cast(_Head, self._head)
        body = None if self._kept is None else bytes(self._kept)
        size_bytes = int(head.headers.get("x-amz-decoded-content-length", self._size_bytes))
        self._head, self._left, self._kept = None, 0, None
        if head.path.startswith("/__control__/"):
            said = self._bucket.control(head.path.rsplit("/", 1)[1], json.loads(body or b"{}"))
            self._send("POST", 200, {}, json.dumps(said).encode())
            return
        status, headers, answer = self._bucket.answer(head, size_bytes, body)
        delay = self._bucket.delay_seconds
        if delay:
            asyncio.get_running_loop().call_later(delay, self._send, head.method, status, headers, answer)
        else:
            self._send(head.method, status, headers, answer)

    def _send(self, method: str, status: int, headers: dict[str, str], body: bytes) -> None:
        if self._transport.is_closing():
            return
        lines = [f"HTTP/1.1 {status} {http.client.responses[status]}", "Connection: keep-alive"]
        if "Content-Length" not in headers:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._transport.write(head if method == "HEAD" else head + body)


async def _serve(tls_folder: str | None) -> None:
    bucket = _Bucket()
    context = tls.server_context(tls_folder) if tls_folder else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(bucket), "127.0.0.1", 0, ssl=context, backlog=1024)
    scheme = "https" if context else "http"
    tell_parent({"endpoint_url": f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    await asyncio.Event().wait()


def main() -> None:
    """The child's side of `Sink`."""
    asyncio.run(_serve(told_by_parent()["tls_folder"]))


if __name__ == "__main__":
    main()
