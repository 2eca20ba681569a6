"""The way to a host of the recording storage: through a proxy or not, and which certificates are trusted there."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import requests


@dataclass(frozen=True)
class Route:
    """The way to one origin. `ca_bundle` is a file in PEM, where the environment names one."""

    proxy: str | None
    ca_bundle: str | None

    def read_ca_bundle(self) -> bytes | None:
        """Read the file of certificates, once for all clients."""
        return _read(self.ca_bundle) if self.ca_bundle else None


def find_route(origin: str) -> Route:
    """Find the way to an origin, as requests does: from the usual variables for proxies and certificates."""
    environment = requests.Session().merge_environment_settings(origin, {}, True, None, None)
    proxies, verify = environment["proxies"], environment["verify"]
    proxy = requests.utils.select_proxy(origin, proxies)
    return Route(proxy or None, verify if isinstance(verify, str) else None)


@cache
def _read(file: str) -> bytes:
    return Path(file).read_bytes()
