"""How KrosAI's documentation writes times."""

from datetime import UTC, datetime


def format_time(time: datetime) -> str:
    """Write a time for the API: ISO 8601, UTC, whole seconds, `Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
