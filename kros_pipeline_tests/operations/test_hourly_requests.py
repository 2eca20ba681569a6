"""The hourly look and the backlog cost a bounded number of requests, however old the archive is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.day_totals import read_kept_days, write_kept_days
from kros_pipeline.archive.json_objects import create_json, read_expendable_json, replace_json
from kros_pipeline.archive.latest_look import read_latest_look, write_latest_look
from kros_pipeline.archive.parquet import batches_of
from kros_pipeline.archive.table_versions import list_records, record_table_versions
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import day_totals_key, table_key, tombstone_key
from kros_pipeline.operations.day_states import DayState, look_at_day_states, read_day_states
from kros_pipeline.operations.erasure_reach import describe_unreached
from kros_pipeline.operations.metrics import make_look
from kros_pipeline.operations.planning import find_planned_backlog, is_large_and_new
from kros_pipeline.operations.sealing import describe_seals
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support import steps
from kros_pipeline_tests.support.years_run import NOW, open_years_run
from kros_pipeline_tests.support.years_store import YearsStore

LAST = date(2025, 1, 18)  # of those that a schedule asks for: the generated days end nine days before
ENTERPRISE = {"KROSAI_PLAN": "enterprise", "KROSAI_REQUESTS_PER_SECOND": "100"}


def open_archive(days: int, retention_days: int | None = None) -> RunContext:
    """An archive that the hourly look has seen before. `enterprise` may know no retention: then every day may be owed.

    The look has seen the newest day, and the others are alike.
    """
    store = YearsStore(days, 2, flagged_every=2)
    ctx = open_years_run(store, None, **ENTERPRISE)
    ctx.settings = replace(ctx.settings, source=replace(ctx.settings.source, retention_days=retention_days))
    sample, newest = YearsStore(1, 2, flagged_every=2), store.days[-1]
    steps.gather_totals(open_years_run(sample, None, **ENTERPRISE), newest, newest)
    like = read_kept_days(sample, newest.year)[newest]
    assert like.check is not None
    for year in sorted({day.year for day in store.days}):
        kept = {
            day: replace(like, check=replace(like.check, checked_at=like.check.checked_at - (newest - day)))
            for day in store.days
            if day.year == year
        }
        write_kept_days(store, year, kept)
    return ctx


def backlog(ctx: RunContext, first: date) -> list[date]:
    found = find_planned_backlog(
        first,
        LAST,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=ctx.settings.source.retention_days,
        lookback_days=3,
    )
    return list(found)


def look(ctx: RunContext, first: date) -> None:
    """What the asset `archive` does each hour."""
    steps.check_health(ctx, first, LAST)
    totals = steps.gather_totals(ctx, first, LAST)
    describe_seals(ctx.store, ctx.clock)
    write_latest_look(ctx.store, make_look(totals, {}, NOW))
    assert read_latest_look(ctx.store) is not None


Work = Callable[[RunContext, list[date]], object]
WORKS: dict[str, Work] = {
    "the hourly look": lambda ctx, days: look(ctx, days[0]),
    "the backlog": lambda ctx, days: backlog(ctx, days[0]),
    "whether to plan": lambda ctx, days: is_large_and_new(days, ctx.store),
    "what an erasure does not reach": lambda ctx, _: describe_unreached(ctx.store, NOW, None, is_stopped=False),
}
PAGES = 20  # listings of a thousand days, for each thousand: seven tables and the records of checks, up to three times


@pytest.mark.parametrize("retention_days", [None, 90])
def test_requests_grow_with_pages_and_years_and_not_with_days(retention_days: int | None) -> None:
    costs: dict[int, dict[str, int]] = {}
    for count in (100, 1_095, 3_650):
        ctx = open_archive(count, retention_days)
        store: Any = ctx.store
        costs[count] = {}
        for name, work in WORKS.items():
            store.forget_requests()
            work(ctx, store.days)
            costs[count][name] = store.requests_made
    years = 10
    for name, few in costs[100].items():
        assert few <= 60, costs
        assert costs[1_095][name] - few <= PAGES + 3 * 3, costs
        assert costs[3_650][name] - few <= 3 * PAGES + 3 * years, costs


def test_tombstones_cost_a_page_for_each_thousand() -> None:
    ctx = open_archive(1)
    store: Any = ctx.store
    for number in range(1_001):
        create_json(store, tombstone_key(store.days[0], f"{number}"), {})
    store.forget_requests()
    assert len(ctx.tombstones.pseudonyms()) == 1_001
    assert store.requests_made == 1 + 2  # the marker, and two pages
    ctx.tombstones.pseudonyms()
    assert store.requests_made == 3 + 1, "they are listed again once the marker has another version"


# What is kept of complete days is what their objects say.


def without_texts(state: DayState) -> DayState:
    names = ("verdict", "listed_total", "checked_at", "calls", "recordings_archived", "recordings_lost",
             "recordings_failed", "recordings_pending")  # fmt: skip
    return replace(state, row=state.row and {name: state.row[name] for name in names})


def change_row(ctx: RunContext, day: date, **changes: Any) -> None:
    def build(present: Any) -> Any:
        return batches_of(schemas.RECONCILIATION, [row | changes for row in present.rows()])

    ctx.tables.commit(schemas.RECONCILIATION, day, build)


def replace_table(ctx: RunContext, day: date) -> None:
    ctx.tables.bar_late_writes(schemas.CALLS, day, "token")


def delete_table(ctx: RunContext, day: date) -> None:
    ctx.governance.delete(list(ctx.governance.versions(table_key("transcripts", day))))


def record_anew(ctx: RunContext, day: date) -> None:
    record_table_versions(ctx.store, day, {"reconciliation": '"generated"', "calls": '"another"'})


@pytest.mark.parametrize("damage", [{"verdict": "waiting"}, {"verdict": 1}, {"is_proved": False}, {"calls": None}])
def test_what_is_kept_and_damaged_is_read_again(damage: dict[str, Any]) -> None:
    ctx = open_archive(3)
    day = ctx.store.days[1]  # type: ignore[attr-defined]
    stored = read_expendable_json(ctx.store, day_totals_key(day.year))
    stored[day.isoformat()]["total"] |= damage
    replace_json(ctx.store, day_totals_key(day.year), stored)
    state = look_at_day_states([day], store=ctx.store, tables=ctx.tables)[day]
    assert state.is_settled(day, 3) and state.row is not None and state.row["problems"]
    assert steps.check_health(ctx, day, LAST)


def test_a_copy_of_a_record_is_the_record_of_no_day() -> None:
    store = YearsStore(2, 2)
    records = list_records(store)
    assert records.keys() == set(store.days)
    create_json(store, f"state/tables/older/dt={store.days[0]}.json", {})
    assert list_records(store) == records


CHANGES: dict[str, Callable[[RunContext, date], None]] = {
    "nothing": lambda ctx, day: None,
    "another row": lambda ctx, day: change_row(ctx, day, calls=7),
    "a worse row": lambda ctx, day: change_row(ctx, day, verdict="incomplete", problems=["lost"]),
    "a replaced table": replace_table,
    "a deleted table": delete_table,
    "another record": record_anew,
}


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_the_kept_state_of_a_day_is_the_one_that_its_objects_have(change: str, *, is_seen: bool) -> None:
    ctx = open_archive(5)
    store: Any = ctx.store
    days = [*store.days, store.days[-1] + timedelta(days=1)]
    CHANGES[change](ctx, days[2])
    if is_seen:  # by another hourly look
        steps.gather_totals(ctx, days[0], LAST)
    parts: dict[str, Any] = {"store": ctx.store, "tables": ctx.tables}
    kept, read = look_at_day_states(days, **parts), read_day_states(days, **parts)
    assert {day: without_texts(state) for day, state in kept.items()} == {
        day: without_texts(state) for day, state in read.items()
    }
    assert (days[2] in backlog(ctx, days[0])) == (change != "nothing")
