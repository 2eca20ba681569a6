"""Run the local S3 (the child of `LocalS3`): moto's server on a free port, and one bucket."""

from __future__ import annotations

import http.client
import logging
import threading
from urllib.parse import urlsplit

from moto.server import ThreadedMotoServer

from .processes import receive_config, report_ready


def main() -> None:
    """Start the server, create the bucket and serve until the parent ends.

    Plain HTTP requests create the bucket, which also proves that the server answers.
    """
    config = receive_config()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs one line for each request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint_url = f"http://{host}:{port}"
    lock = {"x-amz-bucket-object-lock-enabled": "true"} if config["object_lock"] else {}
    _put(endpoint_url, f"/{config['bucket']}", headers=lock)
    if config["versioning"]:
        status = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        _put(endpoint_url, f"/{config['bucket']}?versioning", body=status)
    report_ready({"endpoint_url": endpoint_url})
    threading.Event().wait()


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
