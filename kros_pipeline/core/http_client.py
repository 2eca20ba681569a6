"""The HTTP client that moves audio (pyreqwest), as both wings use it: built in one way, its errors shown in one way.

It is written in Rust: bodies stay where they were received, and threads that wait do not hold the GIL. It follows no
redirect, decodes no body, and adds no header of its own but those of HTTP/1.1.
"""

import re
from datetime import timedelta

from pyreqwest.client import SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.proxy import ProxyBuilder

CONNECT_SECONDS = 5.0
_CERTIFICATES = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def new_client_builder(connections: int, *, proxy: str | None, ca_bundle: bytes | None) -> SyncClientBuilder:
    """Start a client that keeps `connections` connections to each host.

    It sends through `proxy`, a URL, and trusts the certificates of `ca_bundle` (PEM) beside the public ones. It reads
    neither from the environment.
    """
    builder = (
        SyncClientBuilder()
        .pool_max_idle_per_host(connections)
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .no_proxy()
    )
    if proxy:
        builder = builder.proxy(ProxyBuilder.all(proxy))
    for certificate in _CERTIFICATES.findall(ca_bundle or b""):
        builder = builder.add_root_certificate_pem(certificate)
    return builder


def describe_failure(error: PyreqwestError) -> str:
    """Describe a failure of the client without the URL, which its own text shows: its type, and its innermost cause."""
    causes = find_causes(error)
    innermost = causes[-1] if causes and "://" not in causes[-1] else ""
    return f"{type(error).__name__}: {innermost}" if innermost else type(error).__name__


def find_causes(error: PyreqwestError) -> list[str]:
    """Return the messages of the causes, outermost first. They may show the URL."""
    details = getattr(error, "details", None) or {}
    return [cause["message"] for cause in details.get("causes") or ()]
