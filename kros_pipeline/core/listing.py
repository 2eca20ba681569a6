"""The listing of a day: what the step `calls` saw upstream and saved, as evidence for `reconciliation`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .days import parse_time
from .digest_set import DigestSet
from .id_digests import unpack_digests

DIGEST_FIELDS = ("call_digests", "unlisted_digests", "witnessed_digests")
"""The fields that name calls, packed by `id_digests`. An erasure takes its calls out of them."""


@dataclass(frozen=True, slots=True)
class PageSpan:
    """The pages of a list without a date filter that held a day; a list in no order is held whole."""

    first_page: int
    last_page: int
    page_limit: int
    is_newest_first: bool | None  # None: it is in no order


@dataclass(frozen=True)
class Listing:
    """What one enumeration of a day found, and whether the list was read whole.

    `listed_total` counts the distinct calls of the list that the day keeps, proved or not. `windows` are the spans of
    time that were listed, as the API's times: listing them again mints fresh URLs. `pages` are the pages instead, where
    the list has no date filter. `problems` keep the day from being complete; `is_moving` says that the list changed
    while it was read, and nothing else was wrong, so that a later run may prove it. `pending` has sentences for what
    the next enumeration settles; until then the day waits. `oddities` are reported only. `unparsed` has a sentence for
    each row that could not be read as a call.

    `listed_for` is the day whose run has read this list, because it had to be read whole; empty for the day's own run,
    which takes such a listing over once.

    `listed_at` is when the enumeration began: what came later may be missing. `read_until` is when it ended; empty in a
    listing of an earlier version, whose `listed_at` is the end.

    `shows_earlier` and `shows_later` say that rows lay before, or behind, the hours asked for: the neighbouring days
    need more hours, too. `call_digests` names every call that the day's table has to hold, packed by `id_digests`:
    those of this enumeration and of all before it, without erased ones; None where no run of this version listed it.
    `unlisted_digests` names those that this enumeration did not show: they are gone upstream, or not everything came.
    `witnessed_digests` names calls that a webhook delivery named and that no table had: the day was made owed for them.
    `erasure_token` is that of the last erasure that touched the listing; writers carry it on, so that no listing from
    before the erasure has the bytes of a later one.
    """

    proved: bool
    listed_total: int
    out_of_requests: bool = False
    is_moving: bool = False
    windows: list[tuple[str, str]] = field(default_factory=list)
    pages: PageSpan | None = None
    problems: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    unparsed: list[str] = field(default_factory=list)
    listed_at: str = ""
    listed_for: str = ""
    shows_earlier: bool = False
    shows_later: bool = False
    call_digests: str | None = None
    unlisted_digests: str | None = None
    witnessed_digests: str | None = None
    erasure_token: str | None = None
    read_until: str = ""

    @property
    def witnessed(self) -> set[bytes]:
        """The digests of calls that a webhook delivery named and that no table had."""
        return unpack_digests(self.witnessed_digests or "")

    def without_calls(self, digests: set[bytes], erasure_token: str | None = None) -> "Listing":
        """Return the listing without these digests of calls, with the token of an erasure."""
        packed = {name: text for name in DIGEST_FIELDS if (text := getattr(self, name)) is not None}
        gone = DigestSet.from_bytes(b"".join(digests))
        kept: dict[str, Any] = {name: (DigestSet.unpack(text) - gone).pack() for name, text in packed.items()}
        return replace(self, **kept, erasure_token=erasure_token or self.erasure_token)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Listing":
        """Read a stored JSON object; fields that this version does not know are left out.

        Raises `ValueError` for an object that no version wrote.
        """
        known = {item.name: item.type for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        if not {"proved", "listed_total"} <= values.keys():
            raise ValueError("a field is missing")
        for name, value in values.items():
            if not _is_of_type(value, known[name]):
                raise ValueError(f"field {name!r} is of another type")
        values["windows"] = [(start, end) for start, end in values.get("windows", [])]
        if values.get("pages") is not None:
            values["pages"] = PageSpan(**values["pages"])
        for name in DIGEST_FIELDS:
            if values.get(name) is not None:
                DigestSet.unpack(values[name])
        return cls(**values)


def _is_of_type(value: object, declared: Any) -> bool:
    if declared is bool:
        return isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if declared is str:
        return value == "" or parse_time(value) is not None  # a time, or a day
    if declared == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if declared == list[tuple[str, str]]:
        return isinstance(value, list) and all(_is_window(item) for item in value)
    if declared == PageSpan | None:
        return value is None or _is_page_span(value)
    return value is None or isinstance(value, str)


def _is_page_span(value: object) -> bool:
    if not isinstance(value, dict) or value.keys() != {item.name for item in fields(PageSpan)}:
        return False
    numbers = (value["first_page"], value["last_page"], value["page_limit"])
    are_pages = all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers)
    return are_pages and isinstance(value["is_newest_first"], bool | None)


def _is_window(item: object) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and all(parse_time(time) is not None for time in item)
