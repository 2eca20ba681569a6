"""Follow the redirects of the recording storage, each judged as the first URL is."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import urljoin

from ..core.errors import DownloadBroken
from .pinned_clients import PinnedClients
from .storage_answers import StorageAnswer
from .url_policy import UrlPolicy

MAX_REDIRECTS = 3
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_END_OF_PART = re.compile(r"[/?#]")
_HAS_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://").match
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@contextmanager
def send_and_follow(
    url: str, headers: Mapping[str, str], *, clients: PinnedClients, policy: UrlPolicy
) -> Iterator[StorageAnswer]:
    """Send one GET, follow up to three redirects, and give the answer.

    Raises `UrlRefused` for a URL, the first or a later one, that audio may not be fetched from, and `BrokenTransfer`.
    """
    with ExitStack() as stack:
        for _ in range(MAX_REDIRECTS + 1):
            policy.check(url)
            answer = stack.enter_context(clients.send(url, headers))
            location = answer.header("Location")
            if answer.status not in _REDIRECTS or not location:
                yield answer
                return
            url = _join(url, location)
            stack.close()
    raise DownloadBroken(f"the storage redirects more than {MAX_REDIRECTS} times")


def _join(url: str, location: str) -> str:
    """Return the URL that a Location means. Absolute ones stay as given, as every URL does.

    Headers are read as Latin-1, so that each character beyond ASCII stands for one byte.
    """
    location = _NOT_ASCII.sub(lambda byte: f"%{ord(byte.group()):02X}", location)
    scheme, origin = url.partition("://")[0], "/".join(_END_OF_PART.split(url, maxsplit=3)[:3])
    if _HAS_ORIGIN(location):
        return location
    if location.startswith("//"):
        return f"{scheme}:{location}"
    return f"{origin}{location}" if location.startswith("/") else urljoin(url, location)
