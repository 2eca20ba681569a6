"""GET /calls: filters, order, and pages in both dialects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from kros_pipeline.sandbox import answers
from kros_pipeline.sandbox.calls import Call
from kros_pipeline.sandbox.http_server import Answer, Request
from kros_pipeline.sandbox.rendering import Renderer, to_json
from kros_pipeline.sandbox.world import World

MAXIMUM_LIMIT = 100
_DEFAULT_LIMITS = {"offset": 50, "page": 20}
_EQUALITY_FILTERS = ("status", "direction", "phone_number_id", "endpoint_id")


class Listing:
    """The list of one world's calls."""

    def __init__(self, world: World, renderer: Renderer) -> None:
        self._world = world
        self._renderer = renderer
        self._added_to_total = 0

    def page(self, request: Request) -> Answer:
        """One page; `raw_query` is the subject of the knobs that act on pages."""
        query, page_dialect = request.query, self._world.config.dialect == "page"
        try:
            calls = self.selected(query, request.raw_query)
            limit = min(_whole(query, "limit", _DEFAULT_LIMITS[self._world.config.dialect], least=1), MAXIMUM_LIMIT)
            if fault := self._world.hits("list_limit_ignored", request.raw_query):
                limit = min(limit, int(fault.value or 20))
            number = _whole(query, "page", 1, least=1) if page_dialect else 1
            offset = (number - 1) * limit if page_dialect else _whole(query, "offset", 0, least=0)
        except ValueError as mistake:
            return answers.error(400, "VALIDATION_ERROR", str(mistake))

        if self._world.hits("list_not_json", request.raw_query):
            return Answer(200, answers.HTML_PAGE, "text/html")
        if offset == 0:  # a pass begins: its pages tell the same total
            fault = self._world.hits("list_total_wrong", "")
            self._added_to_total = int(fault.value or 1) if fault else 0
        total = len(calls) + self._added_to_total
        if self._world.switchboard.faults.list_duplicates:
            calls = self._with_duplicates(calls)
        start = 0 if self._world.hits("list_offset_ignored", request.raw_query) else offset
        rows = b",".join(map(self._row, calls[start : start + limit]))
        self._world.page_was_served()

        facts: dict[str, int] = {"total": total, "limit": limit, "offset": offset}
        if page_dialect:
            facts = {"total": total, "page": number, "limit": limit, "total_pages": math.ceil(total / limit)}
        name = "data" if page_dialect else "calls"
        if self._world.hits("list_unknown_shape", request.raw_query):
            name, facts = "items", {"count": total}
        return Answer(200, b'{"%s":[%s],%s' % (name.encode(), rows, to_json(facts)[1:]))

    def selected(self, query: Mapping[str, str], subject: str = "") -> list[Call]:
        """The calls that the filters let through, in the list's order. ValueError: a date that is none."""
        world, config = self._world, self._world.config
        wanted = {name: query[name] for name in _EQUALITY_FILTERS if name in query}
        start, end = _moment(query, "from_date"), _moment(query, "to_date")
        if config.filter_reads_days_only:
            start = start and _midnight(start)
            end = end and _midnight(end) + timedelta(days=1, microseconds=-1)
        if world.hits("list_dates_ignored", subject):
            start = end = None
        if world.hits("list_status_ignored", subject):
            wanted.pop("status", None)
        inclusive = config.to_date_inclusive or config.filter_reads_days_only

        def keep(call: Call) -> bool:
            if any(getattr(call, name) != value for name, value in wanted.items()):
                return False
            if start is None and end is None:
                return True
            moment = getattr(call, config.filter_by)
            if moment is None:
                return False
            return not ((start and moment < start) or (end and (moment > end or (moment == end and not inclusive))))

        return world.select((tuple(wanted.items()), start, end), keep)

    def _with_duplicates(self, calls: list[Call]) -> list[Call]:
        chooses = self._world.switchboard.chooses
        return [copy for call in calls for copy in [call] * (2 if chooses("list_duplicates", call.id) else 1)]

    def _row(self, call: Call) -> bytes:
        if fault := self._world.hits("list_malformed", call.id):
            return self._renderer.malformed(call, None if fault.value is None else str(fault.value))
        return self._renderer.call(call)


def _whole(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")
    return int(text)


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    """ISO 8601; a day alone is its midnight, and a time without a zone is UTC."""
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be an ISO 8601 date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _midnight(moment: datetime) -> datetime:
    day: date = moment.astimezone(UTC).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
