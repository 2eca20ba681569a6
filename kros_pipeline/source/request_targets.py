"""The request target of a URL, as given: a presigned URL is signed over its very bytes.

The kept client reads a URL as a browser does, and rewrites some: it encodes quotes, resolves `..`, and makes slashes of
backslashes. Such a URL is sent by another client (`verbatim_client`).
"""

import re
from urllib.parse import urlsplit

from pyreqwest.http import Url

_AUTHORITY_END = re.compile(r"[/?#]")
_NOT_IN_A_REQUEST_LINE = re.compile(rb"[^\x21-\x7e]")


def request_target(url: str) -> str:
    """Return path and query as they are sent. Only what cannot stand in a request line is percent-encoded.

    A fragment is not sent.
    """
    rest = url.partition("://")[2].partition("#")[0]
    found = _AUTHORITY_END.search(rest)
    given = rest[found.start() :] if found else ""
    target = given if given.startswith("/") else f"/{given}"
    sent = target.encode("utf-8", "surrogatepass")
    return _NOT_IN_A_REQUEST_LINE.sub(lambda byte: b"%%%02X" % ord(byte.group()), sent).decode("ascii")


def is_kept_as_given(url: str) -> bool:
    """Return whether the kept client sends path, query and host as given."""
    try:
        parsed = Url(url)
    except ValueError:
        return False
    path_and_query = str(parsed.with_fragment(None)).removeprefix(parsed.origin_ascii)
    host = (parsed.host_str or "").strip("[]")
    return path_and_query == request_target(url) and host == (urlsplit(url).hostname or "").lower()
