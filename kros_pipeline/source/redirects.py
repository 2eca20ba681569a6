"""Follow the redirects of the recording storage, each judged as the first URL is."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import urljoin

from ..core.errors import DownloadBroken
from .pinned_clients import PinnedClients
from .storage_answers import StorageAnswer
from .url_policy import UrlPolicy

MAX_REDIRECTS = 3
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
    """Return the URL that a Location means. Absolute ones stay as given, as every URL does."""
    scheme, origin = url.partition("://")[0], "/".join(url.split("/", 3)[:3])
    if "://" in location.partition("?")[0]:
        return location
    if location.startswith("//"):
        return f"{scheme}:{location}"
    return f"{origin}{location}" if location.startswith("/") else urljoin(url, location)
