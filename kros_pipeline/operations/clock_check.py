"""Compare this machine's clock with a server's."""

from datetime import datetime, timedelta

from ..core.errors import LocalFault
from .preflight_result import Skipped

_TOLERANCE = timedelta(minutes=5)


def compare_clocks(server: str, theirs: datetime | None, ours: datetime) -> str:
    """Return how far this machine's clock is off. Raises `LocalFault` where it is off by more than 5 minutes.

    S3 refuses requests that are off by 15 minutes, and a day that is not over must not be archived as if it were.
    """
    if theirs is None:
        raise Skipped(f"{server} did not say what time it is.")
    difference = ours - theirs
    seconds = round(abs(difference.total_seconds()))
    direction = "ahead of" if difference > timedelta() else "behind"
    if abs(difference) > _TOLERANCE:
        raise LocalFault(
            f"this machine's clock is {seconds:,} seconds {direction} {server}'s: set it by NTP. S3 refuses requests "
            "that are off by 15 minutes, and the days of calls begin and end by this clock."
        )
    return f"this machine's clock is within {max(seconds, 1)} seconds of {server}'s."
