"""Keep what HTTP clients log out of every log: paths of webhooks are secrets, and urllib3 and apprise log them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("apprise", "urllib3.connectionpool", "urllib3.connection", "requests_oauthlib")


@contextmanager
def without_client_logs() -> Iterator[list[int]]:
    """Log nothing of what the clients log meanwhile. Yield the HTTP statuses of failures that apprise logged."""
    statuses: list[int] = []

    def drop(record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        statuses.extend(value for value in arguments if isinstance(value, int) and 100 <= value <= 599)
        return False

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        yield statuses
    finally:
        for logger in loggers:
            logger.removeFilter(drop)
