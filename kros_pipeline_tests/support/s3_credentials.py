"""Short-lived credentials in front of a real server: a proxy that refuses expired tokens, and a service that gives new.

The service answers as the one of a container does, with the token's true expiry. It gives a new token only once the
last one has expired, so that clients meet tokens of any age.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from kros_pipeline_tests.support.s3_proxy import Answer, Request, s3_proxy
from kros_pipeline_tests.support.s3_servers import ACCESS_KEY, REGION, SECRET_KEY, S3Server

_EXPIRED = Answer(400, "ExpiredToken", "The provided token has expired.")
_KEPT_HEADERS = re.compile(r"content-type|content-md5|if-(none-)?match|x-amz-(?!date|security-token|content-sha256)")


class _Service(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._seconds, self._lock = seconds, threading.Lock()
        self.issued: list[tuple[str, float]] = []  # key id and the time at which it expires

    def credentials(self) -> dict[str, str]:
        with self._lock:
            if not self.issued or self.issued[-1][1] <= time.time():
                self.issued.append((f"KEY{len(self.issued):03}", time.time() + self._seconds))
            key_id, expires_at = self.issued[-1]
        expiry = datetime.fromtimestamp(expires_at, UTC)
        return {
            "AccessKeyId": key_id, "SecretAccessKey": "secret", "Token": f"token of {key_id}",
            "Expiration": expiry.isoformat().replace("+00:00", "Z"),
        }  # fmt: skip

    def is_valid(self, key_id: str) -> bool:
        return dict(self.issued).get(key_id, 0.0) > time.time()


class _Handler(BaseHTTPRequestHandler):
    server: _Service

    def do_GET(self) -> None:
        body = json.dumps(self.server.credentials()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _sign_again(server: S3Server, request: Request) -> Request:
    """Sign a request with the server's own credentials: it does not know those of the service."""
    kept = {name: value for name, value in request.headers.items() if _KEPT_HEADERS.match(name)}
    netloc = urlsplit(server.endpoint_url).netloc
    signed = AWSRequest(request.method, f"http://{netloc}{request.target}", headers=kept, data=request.body)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(signed)
    return Request(request.method, request.target, {"host": netloc, **dict(signed.headers.items())}, request.body)


@contextmanager
def short_lived_credentials(
    server: S3Server, seconds: float
) -> Iterator[tuple[dict[str, str], list[tuple[str, float]]]]:
    """Yield the AWS variables that lead to the server by tokens of `seconds`, and the list of tokens."""
    with _Service(seconds) as service, s3_proxy(server.endpoint_url, lambda one: _sign_again(server, one)) as proxy:
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()

        def refuse_expired(request: Request) -> Answer | None:
            key_id = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
            return None if service.is_valid(key_id) else _EXPIRED

        proxy.script = refuse_expired
        yield (
            {
                "AWS_ENDPOINT_URL_S3": proxy.url,
                "AWS_REGION": REGION,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{service.server_port}/",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            service.issued,
        )
        service.shutdown()
        thread.join()
