"""What is kept in two steps loses against an erasure, however late either step arrives."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import pytest

from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.archive.reserved_writes import keep_unless_erased
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.object_keys import call_key_in, other_answers_prefix
from kros_pipeline.steps.other_answers import keep_other_answer
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore

DAY, NOW = date(2025, 1, 10), datetime(2025, 1, 20, tzinfo=UTC)
STOPPED = Clock(lambda: NOW, lambda: 0.0, lambda _: None)
SPEECH = "[Caller]: my name is Ada"
_numbers = itertools.count(1)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"reserved-{next(_numbers)}")


def tombstones_of(store: MemoryObjectStore) -> Tombstones:
    return Tombstones(store, "k" * 32, STOPPED)


def erase(store: MemoryObjectStore) -> None:
    """Do what an erasure does: the tombstone first, then every object of the call is deleted."""
    tombstones_of(store).add_call(DAY, "call_1")
    governance = MemoryGovernance(store)
    of_call = [one for one in governance.versions(other_answers_prefix(DAY)) if call_key_in(one.key) == "call_1"]
    governance.delete(of_call)


@pytest.mark.parametrize("late_put", [1, 2])
def test_speech_that_is_on_its_way_during_the_erasure_does_not_arrive(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch, late_put: int
) -> None:
    true, count = store.put, itertools.count(1)

    def put(key: str, body: Any, **how: Any) -> Any:
        if key.startswith(other_answers_prefix(DAY)) and next(count) == late_put:
            erase(store)
        return true(key, body, **how)

    monkeypatch.setattr(store, "put", put)
    keep_other_answer(store, tombstones_of(store), DAY, "call_1", "another text", SPEECH)
    left = [store.read(entry.key) or b"" for entry in store.list(other_answers_prefix(DAY))]
    assert not [body for body in left if b"Ada" in body or b"call_1" in body]
    assert late_put == 1 or left == [], "nothing is reserved again for an erased call"


def test_an_answer_is_kept_once_and_a_reservation_of_a_killed_run_is_taken_over(store: MemoryObjectStore) -> None:
    for _ in range(2):
        keep_other_answer(store, tombstones_of(store), DAY, "call_1", "another text", SPEECH)
    (entry,) = store.list(other_answers_prefix(DAY))
    kept = store.read(entry.key)
    assert kept is not None and b"Ada" in kept
    killed = MemoryObjectStore(f"reserved-{next(_numbers)}")
    reservation = b"reserved " + b"0" * 32
    killed.put(entry.key, reservation, sha256=sha256(reservation).hexdigest(), mode=CREATE)
    keep_unless_erased(killed, entry.key, kept, lambda: False)
    assert killed.read(entry.key) == kept
