"""Cuts the archive into parts for a search: every version of every object lies in exactly one of them."""

import re
from dataclasses import dataclass, field
from datetime import date

from ..archive.governance import Governance, ObjectVersion
from ..core.object_keys import (
    CAPABILITIES,
    DECISIONS,
    LATEST_LOOK,
    MOVED,
    NUMBER_TOMBSTONES,
    PLAN,
    QUOTA,
    TABLES,
    TOMBSTONES_MARKER,
    UNPARSED,
    VERIFIED_DAYS,
    WEBHOOK_DELIVERIES,
    day_in,
)
from ..core.seal_keys import SEALS_INDEX

_STATE = "state/"
_MONTH = re.compile(r"dt=\d{4}-\d\d").match
_OF_ALL_DAYS = (UNPARSED, MOVED)
"""Below days, and read for all of them: rows without a known call, and markers that name another day's calls."""
_COUNTED = (DECISIONS, NUMBER_TOMBSTONES, "state/erased_rows/", QUOTA)
"""One object for each decision, pseudonym or day of requests, of which only claims of decisions can name a call."""
_OF_NUMBERS = (
    CAPABILITIES, LATEST_LOOK, PLAN, SEALS_INDEX, TOMBSTONES_MARKER, VERIFIED_DAYS, WEBHOOK_DELIVERIES,
    "state/day_totals/", "state/usage/",
)  # fmt: skip
"""Have numbers, days and times only, and a new version every hour: old versions are no part outside days."""


@dataclass
class SearchParts:
    """The parts: `prefixes`, and single `objects` that no prefix covers. `day_folders` are those that have days.

    `days` are all days of which the bucket has anything, if only an old version behind a delete marker.
    """

    prefixes: set[str] = field(default_factory=set)
    objects: list[ObjectVersion] = field(default_factory=list)
    day_folders: set[str] = field(default_factory=set)
    days: set[date] = field(default_factory=set)

    def add_day(self, folder: str, key: str, month: str, *, keeps_days: bool) -> None:
        """Add the folder or the object of a day, and with `keeps_days` its month as a part."""
        self.day_folders.add(folder)
        if (day := day_in(key)) is not None:
            self.days.add(day)
        if keeps_days:
            self.prefixes.add(folder + month)

    def prefixes_of(self, day: date) -> list[str]:
        """Return the prefixes of everything that lies below a day, whoever wrote it."""
        return [f"{folder}dt={day.isoformat()}" for folder in sorted(self.day_folders)]


def cut_archive(governance: Governance) -> SearchParts:
    """Cut the whole archive into prefixes: a month of a folder that has days, otherwise a folder.

    Folders are read from the bucket, so that a copy that somebody has put beside the layout is in a part, too.
    """
    return _cut(governance, keeps_days=True)


def cut_outside_days(governance: Governance) -> SearchParts:
    """Cut what lies in no day: everything but the folders and objects of days, `_COUNTED`, and old `_OF_NUMBERS`."""
    return _cut(governance, keeps_days=False)


def _cut(governance: Governance, *, keeps_days: bool) -> SearchParts:
    parts, folders = SearchParts(), [""]
    while folders:
        parent = folders.pop()
        versions, below = governance.level(parent)
        for version in versions:
            if (month := _month_in(version.key, parent, keeps_days=keeps_days)) is None:
                if keeps_days or version.is_latest or not version.key.startswith(_OF_NUMBERS):
                    parts.objects.append(version)
            else:
                parts.add_day(parent, version.key, month, keeps_days=keeps_days)
        for folder in below:
            if (month := _month_in(folder, parent, keeps_days=keeps_days)) is not None:
                parts.add_day(parent, folder, month, keeps_days=keeps_days)
            elif not keeps_days and folder in _COUNTED:
                continue
            elif not keeps_days and folder in _OF_ALL_DAYS:
                parts.prefixes.add(folder)
            elif parent in ("", _STATE, TABLES):
                folders.append(folder)
            else:
                parts.prefixes.add(folder)
    return parts


def _month_in(key: str, parent: str, *, keeps_days: bool) -> str | None:
    """Return the month with which a name below a folder begins. What is of no real day is left out with no day."""
    month = _MONTH(key.removeprefix(parent))
    return month[0] if month is not None and (keeps_days or day_in(key) is not None) else None
