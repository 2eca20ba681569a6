"""The listing of a day: what the step `calls` saw upstream and saved, as evidence for `reconciliation`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Listing:
    """What one enumeration of a day found, and whether the list was read whole.

    `listed_total` counts the distinct calls of the day that were seen, proved or not. `windows` are the spans of time
    that were listed, as the API's times: listing them again mints fresh URLs. `problems` keep the day from being
    complete; `is_moving` says that the list changed while it was read, and nothing else was wrong, so that a later run
    may prove it. `oddities` are reported only. `unparsed` has a sentence for each row that could not be read as a call.
    `call_digests` names every call that the day's table has to hold, packed by `id_digests`: those of this enumeration
    and of all before it, without erased ones. It is None in a listing that version 0.1.0 wrote.
    """

    proved: bool
    listed_total: int
    out_of_requests: bool = False
    is_moving: bool = False
    windows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    unparsed: list[str] = field(default_factory=list)
    listed_at: str = ""
    call_digests: str | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Listing":
        """Read a stored JSON object; fields that this version does not know are left out."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        values["windows"] = [(start, end) for start, end in values.get("windows", [])]
        return cls(**values)
