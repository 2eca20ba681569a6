"""The local S3's process: moto's server on a free port, and one bucket."""

from __future__ import annotations

import http.client
import logging
import threading
from urllib.parse import urlsplit

from moto.server import ThreadedMotoServer

from kros_pipeline.sandbox.processes import tell_parent, told_by_parent


def main() -> None:
    """The bucket is made by plain requests, which also prove that the server answers."""
    told = told_by_parent()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint_url = f"http://{host}:{port}"
    lock = {"x-amz-bucket-object-lock-enabled": "true"} if told["object_lock"] else {}
    _put(endpoint_url, f"/{told['bucket']}", headers=lock)
    if told["versioning"]:
        status = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        _put(endpoint_url, f"/{told['bucket']}?versioning", body=status)
    tell_parent({"endpoint_url": endpoint_url})
    threading.Event().wait()


def _put(endpoint_url: str, path: str, *, body: str = "", headers: dict[str, str] | None = None) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint_url).netloc, timeout=30)
    connection.request("PUT", path, body, headers or {})
    response = connection.getresponse()
    text = response.read().decode(errors="replace")
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"the local S3 refused to make the bucket: {response.status} {text}")


if __name__ == "__main__":
    main()
