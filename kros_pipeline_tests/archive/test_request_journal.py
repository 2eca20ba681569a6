"""A request is sent by the run that wrote its intent, and by no other."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kros_pipeline.archive.request_journal import RequestJournal, Stage
from kros_pipeline.core.errors import ObjectExists
from kros_pipeline.core.object_keys import extension_request, extensions_prefix, upstream_deletions_prefix
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

DAY = date(2025, 1, 10)
CLOCK = clock_without_waits(lambda: datetime(2025, 1, 20, tzinfo=UTC))
_numbers = itertools.count(1)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"journal-{next(_numbers)}")


def test_one_run_may_send_a_request_even_where_two_write_equal_intents(store: MemoryObjectStore) -> None:
    intent = {"call_id": "call_a", "requested_at": "2025-01-11T04:15:00+00:00"}
    one, other = RequestJournal(store, "state/j/", CLOCK), RequestJournal(store, "state/j/", CLOCK)
    assert one.begin("r", intent)
    assert not other.begin("r", intent)
    assert not one.begin("r", intent)  # begun before: whether it was sent, nobody knows


def test_an_intent_whose_answer_was_lost_is_recognized_as_this_runs(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put

    def put_twice(key: str, body: Any, **how: Any) -> Any:
        put(key, body, **how)
        raise ObjectExists("as after a repeated request")

    monkeypatch.setattr(store, "put", put_twice)
    assert RequestJournal(store, "state/j/", CLOCK).begin("r", {"call_id": "call_a"})


def test_the_first_outcome_and_the_first_settlement_stay(store: MemoryObjectStore) -> None:
    journal = RequestJournal(store, "state/j/", CLOCK)
    for number in (1, 2):
        journal.finish("r", {"n": number})
        journal.settle("r", {"n": number})
    assert journal.read("r", Stage.OUTCOME) == journal.read("r", Stage.SETTLED) == {"n": 1}
    assert journal.read("r", Stage.INTENT) is None


def test_the_journal_lists_its_requests_with_the_stages_that_they_reached(store: MemoryObjectStore) -> None:
    journal = RequestJournal(store, extensions_prefix(DAY), CLOCK)
    first, second = extension_request("decision-1", 1), extension_request("decision-1", 2)
    journal.begin(first, {})
    journal.finish(first, {})
    journal.begin(second, {})
    RequestJournal(store, upstream_deletions_prefix(DAY), CLOCK).begin("pseudonym", {})
    assert dict(journal.stages()) == {first: {Stage.INTENT, Stage.OUTCOME}, second: {Stage.INTENT}}


def test_objects_lie_where_the_archive_says() -> None:
    store = MemoryObjectStore("journal-keys")
    assert RequestJournal(store, extensions_prefix(DAY), CLOCK).key(extension_request("d1", 2), Stage.INTENT) == (
        "state/extensions/dt=2025-01-10/d1/002-intent.json"
    )
    assert RequestJournal(store, upstream_deletions_prefix(DAY), CLOCK).key("abc", Stage.OUTCOME) == (
        "state/erased_upstream/dt=2025-01-10/abc-outcome.json"
    )
