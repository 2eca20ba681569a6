"""Run the local S3 (the child of `LocalS3`): moto's server on a free port, and one bucket.

moto stores a body whatever SHA-256 the request names, and lets another write come between the look at a condition and
the write. S3 does neither, and nor does this server.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from .processes import receive_config, report_ready

_App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_BAD_DIGEST = b"<Error><Code>BadDigest</Code><Message>The SHA-256 you specified did not match.</Message></Error>"


def main() -> None:
    """Start the server, create the bucket and serve until the parent ends.

    Plain HTTP requests create the bucket, which also proves that the server answers.
    """
    config = receive_config()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs one line for each request otherwise
    app = _compare_sha256(_write_one_by_one(DomainDispatcherApplication(create_backend_app)))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint_url = f"http://127.0.0.1:{server.server_port}"
    lock = {"x-amz-bucket-object-lock-enabled": "true"} if config["object_lock"] else {}
    _put(endpoint_url, f"/{config['bucket']}", headers=lock)
    if config["versioning"]:
        status = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        _put(endpoint_url, f"/{config['bucket']}?versioning", body=status)
    report_ready({"endpoint_url": endpoint_url})
    threading.Event().wait()


def _compare_sha256(app: _App) -> _App:
    """Refuse a PUT whose body has another SHA-256 than the request names."""

    def compare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        named = environ.get("HTTP_X_AMZ_CHECKSUM_SHA256")
        if environ["REQUEST_METHOD"] == "PUT" and named is not None:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if base64.b64encode(hashlib.sha256(body).digest()).decode() != named:
                start_response("400 Bad Request", [("Content-Type", "application/xml")])
                return [_BAD_DIGEST]
            environ["wsgi.input"] = io.BytesIO(body)
        return app(environ, start_response)

    return compare


def _write_one_by_one(app: _App) -> _App:
    """Let no other conditional PUT come between the look at a condition and the write."""
    lock = threading.Lock()

    def write(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        if environ["REQUEST_METHOD"] == "PUT" and is_conditional:
            with lock:
                return app(environ, start_response)
        return app(environ, start_response)

    return write


def _put(endpoint_url: str, path: str, *, body: str = "", headers: dict[str, str] | None = None) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=30)
    connection.request("PUT", path, body, headers or {})
    response = connection.getresponse()
    text = response.read().decode(errors="replace")
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"the local S3 did not create the bucket: {response.status} {text}")


if __name__ == "__main__":
    main()
