"""Serve a fast S3 for benchmarks, in its own process, with only the requests that the contestants send.

moto's server takes several milliseconds for each object, which would dominate every result. This server reads all
bodies into one reused buffer. It keeps an object's size, ETag and headers, and the bytes of what is not audio. It
checks no signature and hashes no audio, because a real S3 does not do that on the client's CPU either.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from kros_pipeline.sandbox import tls
from kros_pipeline.sandbox.processes import ServerProcess, receive_config, report_ready

BUCKET = "bench"
_BUFFER_BYTES = 1 << 18
_KEPT_HEADERS = ("content-type", "x-amz-checksum-sha256")


class Sink(ServerProcess):
    """A fast S3 on 127.0.0.1."""

    module: ClassVar[str] = "benchmarks.sink"

    def __init__(self, tls_folder: str | None = None) -> None:
        super().__init__()
        self.endpoint_url = ""
        self._tls_folder = tls_folder

    def _prepare(self) -> Mapping[str, Any]:
        return {"tls_folder": self._tls_folder}

    def _connect(self, ready: Mapping[str, Any]) -> None:
        self.endpoint_url = ready["endpoint_url"]

    def set_delay(self, seconds: float) -> None:
        """Delay each answer by this many seconds."""
        self._command("delay", {"seconds": seconds})

    def clear(self) -> None:
        """Remove all objects, and set the counters to zero."""
        self._command("clear", {})

    def counters(self) -> dict[str, Any]:
        """Return `requests` by method, the number of `objects`, and the received `bytes` of bodies."""
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
    """The objects, and the counters of requests."""

    def __init__(self) -> None:
        self.objects: dict[str, _Object] = {}
        self.requests: Counter[str] = Counter()
        self.bytes = 0
        self.delay_seconds = 0.0
        self._puts = 0

    def control(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name == "delay":
            self.delay_seconds = arguments["seconds"]
        if name == "clear":
            self.objects, self.requests, self.bytes = {}, Counter(), 0
        return {"requests": dict(self.requests), "objects": len(self.objects), "bytes": self.bytes}

    def answer(self, head: _Head, size_bytes: int, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        self.requests[head.method] += 1
        _, _, key = head.path.lstrip("/").partition("/")
        if not key:
            return self._list(parse_qs(head.query)) if head.method == "GET" else (200, {}, b"")
        key = unquote(key)
        stored = self.objects.get(key)
        if head.method == "PUT":
            return self._put(key, stored, head, size_bytes, body)
        if stored is None:
            return _error(404, "NoSuchKey")
        headers = {"ETag": stored.etag, "Last-Modified": stored.modified, "Accept-Ranges": "bytes", **stored.headers}
        if head.method == "HEAD":
            return 200, headers | {"Content-Length": str(stored.size_bytes)}, b""
        return 200, headers, stored.body or b""

    def _put(
        self, key: str, stored: _Object | None, head: _Head, size_bytes: int, body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        must_match = head.headers.get("if-match")
        if stored is not None and head.headers.get("if-none-match") == "*":
            return _error(412, "PreconditionFailed")
        if must_match and (stored is None or stored.etag.strip('"') != must_match.strip('"')):
            return _error(412 if stored else 404, "PreconditionFailed" if stored else "NoSuchKey")
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
    """Serves one connection. Bodies are read into one small buffer, so audio is never kept."""

    def __init__(self, bucket: _Bucket) -> None:
        self._bucket = bucket
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._pending = bytearray()  # bytes of an incomplete head, or of a body's framing
        self._head: _Head | None = None
        self._left: int | None = None  # bytes of the body still expected; None if it is chunked
        self._size_bytes = 0
        self._kept: bytearray | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio's callback)."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to read into (asyncio's callback)."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the bytes that were read (asyncio's callback)."""
        data = self._view[:nbytes]
        if self._head is not None and self._left is not None and nbytes <= self._left and not self._pending:
            self._take(data)  # the middle of a plain body, the only path that must be fast
            if self._left == 0:
                self._answer()
            return
        self._pending += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Continue with the pending bytes. Returns False if more bytes are needed."""
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
            result = self._bucket.control(head.path.rsplit("/", 1)[1], json.loads(body or b"{}"))
            self._send("POST", 200, {}, json.dumps(result).encode())
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
    report_ready({"endpoint_url": f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    await asyncio.Event().wait()


def main() -> None:
    """Read the configuration from the parent and serve."""
    asyncio.run(_serve(receive_config()["tls_folder"]))


if __name__ == "__main__":
    main()
