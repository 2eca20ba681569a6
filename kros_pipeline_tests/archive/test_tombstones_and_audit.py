"""Tombstones are known soon enough, by pseudonym only; the audit log names no erased call."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import pytest

from kros_pipeline.archive.audit_log import AuditEvent, AuditLog
from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.archive.tombstones import MAX_AGE_SECONDS, Tombstones
from kros_pipeline.core.clock import Clock
from kros_pipeline.core.errors import ArchiveDenied, ObjectExists
from kros_pipeline.core.object_keys import TOMBSTONES_MARKER, tombstone_key
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

DAY, NEXT_DAY = date(2025, 1, 10), date(2025, 1, 11)
NOW = datetime(2025, 1, 20, 4, 15, tzinfo=UTC)
KEY = "k" * 32
_numbers = itertools.count(1)


@dataclass
class Time:
    seconds: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: NOW, lambda: self.seconds, lambda _: None)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore(f"tombstones-{next(_numbers)}")


def test_a_tombstone_of_another_run_is_seen_once_the_list_is_too_old(store: MemoryObjectStore) -> None:
    time = Time()
    ours, others = Tombstones(store, KEY, time.clock), Tombstones(store, KEY, time.clock)
    assert not ours.is_erased("call_a")
    others.add_call(DAY, "call_a")
    assert not ours.is_erased("call_a")  # the list is young enough
    assert ours.is_erased("call_a", max_age_seconds=0.0)
    others.add_call(DAY, "call_b")
    time.seconds += MAX_AGE_SECONDS
    assert not ours.is_erased("call_b")
    time.seconds += 0.1
    assert ours.is_erased("call_b") and not ours.is_erased("call_c")


def test_a_list_that_is_young_enough_costs_no_request(store: MemoryObjectStore) -> None:
    tombstones = Tombstones(store, KEY, Time().clock)
    for call_id in ("call_a", "call_b", "call_c"):
        tombstones.is_erased(call_id)
    assert store.requests_made == 2  # the marker, and the list


def test_a_call_is_erased_whatever_the_day_of_its_tombstone(store: MemoryObjectStore) -> None:
    tombstones = Tombstones(store, KEY, Time().clock)
    tombstones.add_call(DAY, "call_a")
    tombstones.add_call(NEXT_DAY, "call_a")
    tombstones.add_call(NEXT_DAY, "call_b")
    of_a, of_b = tombstones.pseudonym("call_a"), tombstones.pseudonym("call_b")
    assert tombstones.pseudonyms() == {of_a, of_b}
    assert [set(tombstones.pseudonyms_of(day)) for day in (DAY, NEXT_DAY)] == [{of_a}, {of_a, of_b}]
    assert tombstones.pseudonyms_of(date(2025, 1, 12)) == frozenset()


def test_all_tombstones_are_listed_again_only_after_the_marker_has_changed(store: MemoryObjectStore) -> None:
    time = Time()
    ours, others = Tombstones(store, KEY, time.clock), Tombstones(store, KEY, time.clock)

    def requests_of_a_look() -> int:
        before = store.requests_made
        time.seconds += MAX_AGE_SECONDS + 0.1
        ours.is_erased("call_a")
        return store.requests_made - before

    assert [requests_of_a_look() for _ in range(3)] == [2, 1, 1]
    others.add_call(DAY, "call_a")
    assert [requests_of_a_look() for _ in range(2)] == [2, 1]
    others.add_call(DAY, "call_a")  # a run that was killed before the marker would leave it out otherwise
    assert requests_of_a_look() == 2


def test_a_look_that_began_meanwhile_is_not_repeated(store: MemoryObjectStore) -> None:
    seconds = 0.0

    def monotonic() -> float:
        nonlocal seconds
        begun_at, seconds = seconds, seconds + 1
        if begun_at == 0.0:
            tombstones.pseudonyms()  # as another thread does, while this one waits for the lock
        return begun_at

    tombstones = Tombstones(store, KEY, Clock(lambda: NOW, monotonic, lambda _: None))
    tombstones.pseudonyms()
    assert store.requests_made == 2  # the marker and the list, once
    tombstones.pseudonyms()
    assert store.requests_made == 3


def test_tombstones_of_version_0_1_0_are_known_without_a_marker(store: MemoryObjectStore) -> None:
    tombstones = Tombstones(store, KEY, Time().clock)
    create_json(store, tombstone_key(DAY, tombstones.pseudonym("call_a")), {})
    assert tombstones.is_erased("call_a") and not tombstones.is_erased("call_b")


def test_a_marker_that_another_erasure_replaces_first_is_not_replaced_again(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others, reader = (Tombstones(store, KEY, Time().clock) for _ in range(3))
    ours.add_call(DAY, "call_a")
    assert reader.is_erased("call_a")
    put, faster = store.put, iter(["call_c"])

    def put_second(key: str, body: Any, **how: Any) -> Any:
        if key == TOMBSTONES_MARKER:
            for call_id in faster:
                others.add_call(DAY, call_id)
        return put(key, body, **how)

    monkeypatch.setattr(store, "put", put_second)
    ours.add_call(NEXT_DAY, "call_b")
    assert next(faster, None) is None
    assert all(reader.is_erased(call_id, max_age_seconds=0.0) for call_id in ("call_b", "call_c"))


def test_a_runs_own_tombstone_is_seen_at_once(store: MemoryObjectStore) -> None:
    tombstones = Tombstones(store, KEY, Time().clock)
    assert not tombstones.is_erased("call_a")
    tombstones.add_call(DAY, "call_a")
    assert tombstones.is_erased("call_a")


def test_a_tombstone_names_no_call_and_says_when(store: MemoryObjectStore) -> None:
    tombstones = Tombstones(store, KEY, Time().clock)
    tombstones.add_call(DAY, "call_a")
    tombstones.add_call(DAY, "call_a")
    tombstones.add_unparsed_row("state/unparsed/dt=2025-01-10/00.json")
    keys = [entry.key for entry in store.list("")]
    assert len(keys) == 3 and "call_a" not in "".join(keys)
    for key in keys:
        content = json.loads(store.read(key) or b"")
        assert content.pop("token", None) if key == TOMBSTONES_MARKER else True
        of_call = {"day": str(DAY)} if key.startswith("state/erased/dt=") else {}
        assert content == {"erased_at": "2025-01-20T04:15:00+00:00"} | of_call
    assert tombstones.is_row_erased("state/unparsed/dt=2025-01-10/00.json")
    assert not tombstones.is_row_erased("state/unparsed/dt=2025-01-10/01.json")


def test_an_archive_with_tombstones_needs_the_key_that_made_them(store: MemoryObjectStore) -> None:
    clock = Time().clock
    Tombstones(store, None, clock).check_key()  # nothing was erased yet
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        Tombstones(store, None, clock).claim_key()
    Tombstones(store, KEY, clock).claim_key()
    Tombstones(store, KEY, clock).claim_key()
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        Tombstones(store, None, clock).check_key()
    with pytest.raises(ArchiveDenied, match="is not the key"):
        Tombstones(store, "other" * 8, clock).claim_key()


# The audit log.


def audit_log(store: MemoryObjectStore) -> AuditLog:
    clock = Time().clock
    return AuditLog(store, Tombstones(store, KEY, clock), clock, run_id="run", day=DAY, step="recordings")


def test_a_line_says_what_was_done_to_which_call_when_and_by_which_run(store: MemoryObjectStore) -> None:
    log = audit_log(store)
    log.record(AuditEvent.ARCHIVED, "call_a", sha256="00ff", bytes=3)
    log.write()
    line = json.loads(store.read("audit/dt=2025-01-10/run-recordings.jsonl") or b"")
    assert line == {
        "at": "2025-01-20T04:15:00.000+00:00", "bytes": 3, "call": "call_a", "event": "archived", "run": "run",
        "premis": "ingestion", "sha256": "00ff", "step": "recordings",
    }  # fmt: skip


def test_no_lines_write_no_object(store: MemoryObjectStore) -> None:
    audit_log(store).write()
    assert store.requests_made == 0


def lines_of(store: MemoryObjectStore) -> dict[str, list[tuple[str, str]]]:
    """Event and call of each line, by the object's name."""
    bodies = {entry.key.rsplit("/", 1)[1]: store.read(entry.key) or b"" for entry in store.list("audit/")}
    parsed = {name: map(json.loads, body.splitlines()) for name, body in bodies.items()}
    return {name: [(line["event"], line["call"]) for line in lines] for name, lines in parsed.items()}


def test_each_write_is_a_part_of_its_own_and_a_further_try_writes_no_line_twice(store: MemoryObjectStore) -> None:
    for tries in (("call_a", "call_b"), ("call_a", "call_c"), ("call_b",)):
        log = audit_log(store)
        for call_id in tries:
            log.record(AuditEvent.ADOPTED, call_id)
            log.write()
    assert lines_of(store) == {
        "run-recordings.jsonl": [("adopted", "call_a")],
        "run-recordings-2.jsonl": [("adopted", "call_b")],
        "run-recordings-3.jsonl": [("adopted", "call_c")],
    }


def test_lines_whose_answer_was_lost_are_not_written_again(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.put

    def lose_answer(key: str, body: Any, **how: Any) -> Any:
        put(key, body, **how)
        raise ObjectExists("as after a repeated request")

    log = audit_log(store)
    for call_id in ("call_a", "call_b"):
        log.record(AuditEvent.ARCHIVED, call_id)
    monkeypatch.setattr(store, "put", lose_answer)
    log.write()
    log.record(AuditEvent.ARCHIVED, "call_c")
    log.write()
    assert lines_of(store) == {
        "run-recordings.jsonl": [("archived", "call_a"), ("archived", "call_b")],
        "run-recordings-2.jsonl": [("archived", "call_c")],
    }


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[1]\n"])
def test_a_part_that_somebody_else_wrote_takes_no_line_away(store: MemoryObjectStore, body: bytes) -> None:
    key = "audit/dt=2025-01-10/run-recordings.jsonl"
    store.put(key, body, sha256=sha256(body).hexdigest(), mode=CREATE)
    log = audit_log(store)
    log.record(AuditEvent.ARCHIVED, "call_a")
    log.write()
    assert json.loads(store.read(key.replace(".jsonl", "-2.jsonl")) or b"")["call"] == "call_a"


def test_an_erased_call_is_named_by_its_pseudonym(store: MemoryObjectStore) -> None:
    log, tombstones = audit_log(store), Tombstones(store, KEY, Time().clock)
    tombstones.add_call(DAY, "call_a")
    log.record(AuditEvent.ARCHIVED, "call_a")
    log.record(AuditEvent.ARCHIVED, "call_b")
    log.write()
    lines = (store.read("audit/dt=2025-01-10/run-recordings.jsonl") or b"").splitlines()
    assert [json.loads(line)["call"] for line in lines] == [tombstones.pseudonym("call_a"), "call_b"]


# Keys: one for every machine.


def test_a_run_with_another_key_notices_an_erasure_at_its_next_look(store: MemoryObjectStore) -> None:
    time = Time()
    ours, others = Tombstones(store, KEY, time.clock), Tombstones(store, KEY[::-1] + "other", time.clock)
    assert not ours.is_erased("call_a")  # the run began before anything was erased
    others.claim_key()
    others.add_call(DAY, "call_a")
    time.seconds += MAX_AGE_SECONDS + 0.1
    with pytest.raises(ArchiveDenied, match=r"not the key with which calls.*Give every machine the same key"):
        ours.is_erased("call_a")
    with pytest.raises(ArchiveDenied, match="not the key with which calls"):
        ours.claim_key()


def test_a_run_without_a_key_is_refused_once_something_is_erased(store: MemoryObjectStore) -> None:
    time = Time()
    ours, others = Tombstones(store, None, time.clock), Tombstones(store, KEY, time.clock)
    assert not ours.is_erased("call_a")
    others.add_call(DAY, "call_b")
    time.seconds += MAX_AGE_SECONDS + 0.1
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        ours.is_erased("call_a")


def test_the_tombstone_of_a_number_is_seen_by_other_runs_and_costs_nothing_without_erasures(
    store: MemoryObjectStore,
) -> None:
    time = Time()
    ours, others = Tombstones(store, KEY, time.clock), Tombstones(store, KEY, time.clock)
    for _ in range(3):
        assert not ours.is_number_stopped(["+2348012345678"])
    assert store.requests_made == 2  # one look
    others.stop_number(others.pseudonym("+2348012345678"))
    time.seconds += MAX_AGE_SECONDS + 0.1
    assert ours.is_number_stopped(["08012345678", "+2348012345678"])
    assert not ours.is_number_stopped(["+2348099999999"])
