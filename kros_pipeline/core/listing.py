"""What the reading of a day's list came to: written down by `calls`, weighed by `reconciliation`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Listing:
    """`problems` keep the day from being complete; `oddities` are only told.

    `listed_total` counts the distinct calls of the day that were seen, proved or not. `windows` are the stretches of
    time that were listed, as the API's dates, so that URLs can be minted by listing them again.
    """

    proved: bool
    listed_total: int
    out_of_requests: bool = False
    windows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    unparsed: list[str] = field(default_factory=list)
    listed_at: str = ""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Listing":
        """From the JSON object that was stored; names that this version does not know are left out."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        values["windows"] = [(start, end) for start, end in values.get("windows", [])]
        return cls(**values)
