"""Decide, from a call's status, whether the call is completed."""

_NOT_COMPLETED = frozenset({"initiated", "ringing", "in_progress", "failed", "busy", "no_answer"})
"""The statuses that KrosAI's Call logs page documents besides `completed`."""


def is_completed(status: str | None) -> bool | None:
    """Return whether a call of this status is completed; None for a status that is not documented.

    The list is asked for completed calls only. A row with an undocumented status (`ended`, `complete`) is most probably
    one: twenty calls of a day were once dropped for their spelling, and the day was green. So it is kept and reported.
    """
    if status is None:
        return True
    spelling = status.strip().casefold().replace("-", "_").replace(" ", "_")
    if spelling == "completed":
        return True
    return False if spelling in _NOT_COMPLETED else None
