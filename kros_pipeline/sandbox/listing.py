"""Answer GET /calls: filters, order, and pages in both dialects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from . import answers
from .calls import Call
from .faults import HEAVY, MALFORMED, choose_kind
from .http_server import Answer, Request
from .rendering import Renderer, to_json
from .world import World

MAXIMUM_LIMIT = 100
_DEFAULT_LIMITS = {"offset": 50, "page": 20}
_DATES = {"from_date", "to_date"}
_EQUALITY_FILTERS = ("status", "direction", "phone_number_id", "endpoint_id")


class Listing:
    """The call list of one world."""

    def __init__(self, world: World, renderer: Renderer) -> None:
        self._world = world
        self._renderer = renderer
        self._added_to_total = 0

    def page(self, request: Request) -> Answer:
        """Answer with one page. Faults that act on pages take `raw_query` as their subject."""
        query, config = request.query, self._world.config
        page_dialect = config.dialect == "page"
        if config.date_filter != "honoured":
            if config.date_filter == "refused" and not _DATES.isdisjoint(query):
                return answers.error(400, "VALIDATION_ERROR", "Unknown parameter: from_date, to_date")
            query = {name: value for name, value in query.items() if name not in _DATES}
        try:
            calls = self.select(query, request.raw_query)
            default_limit = _DEFAULT_LIMITS[config.dialect]
            limit = min(parse_integer(query, "limit", default_limit, least=1), MAXIMUM_LIMIT)
            if fault := self._world.trigger_fault("list_limit_ignored", request.raw_query):
                limit = min(limit, int(fault.value or 20))
            number = parse_integer(query, "page", 1, least=1) if page_dialect else 1
            offset = (number - 1) * limit if page_dialect else parse_integer(query, "offset", 0, least=0)
        except ValueError as error:
            return answers.error(400, "VALIDATION_ERROR", str(error))

        if self._world.trigger_fault("list_not_json", request.raw_query):
            return Answer(200, answers.HTML_PAGE, "text/html")
        if offset == 0:  # a new pass begins; all of its pages report the same total
            fault = self._world.trigger_fault("list_total_wrong", "")
            self._added_to_total = int(fault.value or 1) if fault else 0
        total = len(calls) + self._added_to_total
        if config.total_cap is not None:
            total = min(total, config.total_cap)
        if self._world.fault_injector.faults.list_duplicates:
            calls = self._with_duplicates(calls)
        start = 0 if self._world.trigger_fault("list_offset_ignored", request.raw_query) else offset
        if config.depth_cap is not None:
            if start >= config.depth_cap and config.depth_answer == "refused":
                return answers.error(400, "VALIDATION_ERROR", f"Only the first {config.depth_cap} calls can be listed")
            calls = calls[: config.depth_cap]
        shown = calls[start : start + limit]
        rows = b",".join(map(self._render_row, shown))
        self._world.on_page_served(shown)

        facts: dict[str, int] = {"total": total, "limit": limit, "offset": offset}
        if page_dialect:
            facts = {"total": total, "page": number, "limit": limit, "total_pages": math.ceil(total / limit)}
        name = "data" if page_dialect else "calls"
        if self._world.trigger_fault("list_unknown_shape", request.raw_query):
            name, facts = "items", {"count": total}
        return Answer(200, b'{"%s":[%s],%s' % (name.encode(), rows, to_json(facts)[1:]))

    def select(self, query: Mapping[str, str], subject: str = "") -> list[Call]:
        """Return the calls that match the filters, in the list's order. Raises ValueError for an invalid date.

        To the Bridge's clients that name no organization, those of another one are shown, too.
        """
        world, config = self._world, self._world.config
        equal_to = {name: query[name] for name in _EQUALITY_FILTERS if name in query}
        start, end = self._read_window(query)
        if world.trigger_fault("list_dates_ignored", subject):
            start = end = None
        if world.trigger_fault("list_status_ignored", subject):
            equal_to.pop("status", None)
        is_faulty = world.trigger_fault("list_foreign_rows", subject) is not None
        with_foreign = is_faulty or (bool(config.bridge) and "organization_id" not in query)
        from_inclusive = config.from_date_inclusive or config.filter_reads_days_only
        to_inclusive = config.to_date_inclusive or config.filter_reads_days_only

        def keep(call: Call) -> bool:
            if call.hidden or any(getattr(call, name) != value for name, value in equal_to.items()):
                return False
            if start is None and end is None:
                return True
            moment = getattr(call, config.filter_by)
            if moment is None:
                return False
            if start and (moment < start or (moment == start and not from_inclusive)):
                return False
            return not (end and (moment > end or (moment == end and not to_inclusive)))

        return world.select((tuple(equal_to.items()), start, end), keep, with_foreign=with_foreign)

    def _read_window(self, query: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
        """Return the window as the date filter understands it. Raises ValueError for an invalid time."""
        config, shift = self._world.config, timedelta(hours=self._world.config.filter_shift_hours)
        start, end = _parse_time(query, "from_date"), _parse_time(query, "to_date")
        if shift:  # what the clock shows is read as local time, whatever the zone beside it
            start, end = start and start.replace(tzinfo=UTC), end and end.replace(tzinfo=UTC)
        try:
            if config.filter_reads_days_only:
                start = start and _midnight_before(start)
                end = end and _midnight_before(end) + timedelta(days=1, microseconds=-1)
            return start and start - shift, end and end - shift
        except OverflowError:
            raise ValueError("from_date and to_date must be within the years 1 to 9999") from None

    def _with_duplicates(self, calls: list[Call]) -> list[Call]:
        select = self._world.fault_injector.select
        return [copy for call in calls for copy in [call] * (2 if select("list_duplicates", call.id) else 1)]

    def _render_row(self, call: Call) -> bytes:
        trigger = self._world.trigger_fault
        status = heavy = malformed = None
        if fault := trigger("list_odd_status", call.id):
            status = "archived" if fault.value is None else str(fault.value)
        if fault := trigger("list_heavy", call.id):
            heavy = choose_kind("list_heavy", fault, HEAVY, call.id)
        if fault := trigger("list_malformed", call.id):
            malformed = choose_kind("list_malformed", fault, MALFORMED, call.id)
        if status is None and heavy is None and malformed is None:
            return self._renderer.render(call)
        return self._renderer.render_faulty(call, status=status, heavy=heavy, malformed=malformed)


def parse_integer(query: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    """Return a whole number of the query. Raises ValueError for anything else."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{name} must be a whole number of at least {least}")
    return int(text)


def _parse_time(query: Mapping[str, str], name: str) -> datetime | None:
    """Parse an ISO 8601 time. A date means its midnight, and a time without a zone is UTC."""
    text = query.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be an ISO 8601 date") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _midnight_before(moment: datetime) -> datetime:
    day: date = moment.astimezone(UTC).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
