"""The setting of the process that serves the metrics."""

from ..core.settings import BadValue, Setting, show_value
from ..source.url_policy import is_plain_host

_MAX_PORT = 65_535


def _parse_address(text: str) -> tuple[str, int]:
    """Parse host and port, such as `127.0.0.1:9777` or `[::1]:9777`. Port 0 is any that is free."""
    host, _, port = text.rpartition(":")
    if not is_plain_host(host) or not port.isdecimal() or int(port) > _MAX_PORT:
        raise BadValue(f"is {show_value(text)}; write host:port, such as 127.0.0.1:9777.")
    return host.strip("[]"), int(port)


METRICS_ADDRESS = Setting(
    "KROS_METRICS_ADDRESS",
    "127.0.0.1:9777",
    "where `python -m kros_pipeline metrics` serves `/metrics` for Prometheus, to everybody who reaches it",
    _parse_address,
)
