"""An S3 that notes what it is asked, in front of the tests' own: every request of boto3 and of pyreqwest passes it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree


@dataclass(frozen=True)
class Asked:
    """One request; names of headers are in lower case."""

    method: str
    bucket: str
    key: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""

    def actions(self) -> list[tuple[str, str]]:
        """What IAM calls it, and the resource that it is about. KeyError for what nobody has thought of."""
        bucket = f"arn:aws:s3:::{self.bucket}"
        if self.method == "POST" and "delete" in self.query:
            return [(_OF_A_DELETION[version is not None], f"{bucket}/{key}") for key, version in self.deleted()]
        if not self.key:
            about = next((name for name in _OF_THE_BUCKET if name in self.query), None)
            return [(_OF_THE_BUCKET[about], bucket)]  # type: ignore[index]
        name = f"{bucket}/{self.key}"
        sub = next((f"?{name}" for name in self.query if name in ("legal-hold", "tagging", "versionId")), "")
        found = [(_OF_AN_OBJECT[self.method + sub], name)]
        found += [(action, name) for header, action in _OF_A_HEADER.items() if header in self.headers]
        return found

    def deleted(self) -> list[tuple[str, str | None]]:
        """Keys and versions that a deletion of many names."""
        objects = [node for node in ElementTree.fromstring(self.body) if node.tag.endswith("Object")]
        parts = [{part.tag.rpartition("}")[2]: part.text for part in node} for node in objects]
        return [(part["Key"] or "", part.get("VersionId")) for part in parts]


_OF_A_DELETION = {True: "s3:DeleteObjectVersion", False: "s3:DeleteObject"}
_OF_THE_BUCKET = {
    "list-type": "s3:ListBucket",
    "versions": "s3:ListBucketVersions",
    "object-lock": "s3:GetBucketObjectLockConfiguration",
}
_OF_AN_OBJECT = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
    "GET?versionId": "s3:GetObjectVersion",
    "HEAD?versionId": "s3:GetObjectVersion",
    "DELETE?versionId": "s3:DeleteObjectVersion",
    "GET?legal-hold": "s3:GetObjectLegalHold",
    "PUT?legal-hold": "s3:PutObjectLegalHold",
    "GET?tagging": "s3:GetObjectTagging",
    "PUT?tagging": "s3:PutObjectTagging",
}
_OF_A_HEADER = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
}


class _Recorder(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.asked: list[Asked] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Recorder

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        place = urlsplit(self.path)
        bucket, _, key = unquote(place.path).lstrip("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(place.query, keep_blank_values=True)
        kept = body if self.command == "POST" else b""
        self.server.asked.append(Asked(self.command, bucket, key, query, headers, kept))
        connection = http.client.HTTPConnection(self.server.behind, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            reported = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(reported)))
        self.end_headers()
        self.wfile.write(reported)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def recorder(behind: str) -> Iterator[tuple[str, list[Asked]]]:
    """The endpoint, and the list that it writes down what it is asked in."""
    with _Recorder(behind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.shutdown()
            thread.join()
