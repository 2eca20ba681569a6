"""An archive of version 0.1.0 becomes one of format 2, wherever the migration is killed and however often it runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from kros_pipeline.archive.decision_claims import claim_decision, read_claim
from kros_pipeline.archive.identity import ArchiveIdentity
from kros_pipeline.archive.json_objects import create_json, put_json, read_json
from kros_pipeline.archive.migration import migrate_archive
from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.core.errors import WrongArchive
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY, decision_key
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.memory_store import MemoryObjectStore

API = "https://api.example.com/v1"
DAYS = (date(2025, 1, 10), date(2025, 1, 11))
OLD = {"base_url": API, "organization_id": None, "format": 1}
HOMES = {"aa01": DAYS[0], "aa02": DAYS[1], "bb03": DAYS[0]}
_numbers = itertools.count(1)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def store() -> MemoryObjectStore:
    """An archive of version 0.1.0; decision bb03 was sent from two days."""
    store = MemoryObjectStore(f"migration-{next(_numbers)}")
    create_json(store, ARCHIVE_IDENTITY, OLD)
    for day, decision in ((DAYS[0], "aa01"), (DAYS[1], "aa02"), (DAYS[1], "bb03"), (DAYS[0], "bb03")):
        for stage in ("intent", "outcome"):
            content = {"call_id": f"call-{decision}"} if stage == "intent" else {"status": "extended"}
            create_json(store, f"state/extensions/dt={day}/{decision}/001-{stage}.json", content)
    return store


def identity_of(store: MemoryObjectStore) -> ArchiveIdentity:
    identity = ArchiveIdentity(store, API, None, "fingerprint")
    identity.check()
    return identity


def migrate(store: MemoryObjectStore) -> ArchiveIdentity:
    identity = identity_of(store)
    migrate_archive(store, identity)
    return identity


def bodies(store: MemoryObjectStore) -> dict[str, bytes]:
    return {key: stored.body for key, stored in objects_of(store.bucket).items()}


def assert_migrated(store: MemoryObjectStore, before: dict[str, bytes]) -> None:
    assert read_json(store, ARCHIVE_IDENTITY) == OLD | {"format": 2, "migration": "done"}
    assert {decision: read_claim(store, decision) for decision in HOMES} == HOMES
    for decision in HOMES:
        assert json.loads(store.read(decision_key(decision)) or b"")["call_id"] == f"call-{decision}"
    after = bodies(store)
    assert {key: after.get(key) for key in before if key != ARCHIVE_IDENTITY} == {
        key: body for key, body in before.items() if key != ARCHIVE_IDENTITY
    }
    assert after.keys() - before.keys() == {decision_key(decision) for decision in HOMES}


def test_every_decision_gets_the_claim_of_its_earliest_day(store: MemoryObjectStore) -> None:
    before = bodies(store)
    assert not identity_of(store).is_migrated
    assert migrate(store).is_migrated
    assert_migrated(store, before)


def test_an_archive_that_is_migrated_costs_no_request(store: MemoryObjectStore) -> None:
    identity = migrate(store)
    before = store.requests_made
    migrate_archive(store, identity)
    assert store.requests_made == before


def test_an_archive_of_nobody_is_left_alone() -> None:
    store = MemoryObjectStore(f"migration-{next(_numbers)}")
    migrate(store)
    assert bodies(store) == {}


@pytest.mark.parametrize("writes", range(5))
@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_migration_that_is_killed_is_ended_by_the_next(
    store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch, writes: int, dies: str
) -> None:
    before, put, made = bodies(store), store.put, itertools.count()

    def put_and_die(key: str, body: Any, **how: Any) -> Any:
        number = next(made)
        if number >= writes and dies == "before":
            raise Killed
        version = put(key, body, **how)
        if number >= writes:
            raise Killed
        return version

    with monkeypatch.context() as patched:
        patched.setattr("kros_pipeline.archive.migration._THREADS", 1)
        patched.setattr(store, "put", put_and_die)
        with pytest.raises(Killed):
            migrate(store)
    stored = read_json(store, ARCHIVE_IDENTITY)
    assert stored is not None
    is_begun = (writes, dies) != (0, "before")
    assert stored["format"] == (2 if is_begun else 1)  # version 0.1.0 refuses an archive before its first claim is made
    if (writes, dies) != (4, "after"):
        assert stored.get("migration") == ("under way" if is_begun else None)
        assert not identity_of(store).is_migrated
    migrate(store)
    assert_migrated(store, before)


def test_two_migrations_at_once_agree(store: MemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one begins and ends before each write of ours."""
    before, put, is_ours = bodies(store), store.put, [True]

    def other_first(key: str, body: Any, **how: Any) -> Any:
        if is_ours[0]:
            is_ours[0] = False
            migrate(store)
            is_ours[0] = True
        return put(key, body, **how)

    monkeypatch.setattr("kros_pipeline.archive.migration._THREADS", 1)
    monkeypatch.setattr(store, "put", other_first)
    migrate(store)
    assert_migrated(store, before)


def test_a_decision_that_is_claimed_keeps_its_day(store: MemoryObjectStore) -> None:
    """A run of the new version has claimed it meanwhile."""
    claim_decision(store, "aa01", call_id="call-aa01", day=DAYS[1])
    migrate(store)
    assert read_claim(store, "aa01") == DAYS[1]


@pytest.mark.parametrize(
    ("first_day", "second_day", "home"),
    [
        (["not_sent"], ["extended"], DAYS[1]),
        (["not_sent", "not_sent"], ["not_sent", "refused"], DAYS[1]),
        (["not_sent"], [None], DAYS[1]),  # nobody knows whether upstream acted
        (["not_sent"], ["unreadable"], DAYS[1]),
        (["not_sent", "extended"], ["extended"], DAYS[0]),
        ([None], ["extended"], DAYS[0]),
        (["not_sent"], ["not_sent"], DAYS[0]),
        (["not_sent"], [], DAYS[0]),
    ],
)
def test_the_claim_names_the_earliest_day_whose_request_may_have_been_sent(
    store: MemoryObjectStore, first_day: list[str | None], second_day: list[str | None], home: date
) -> None:
    for day, outcomes in zip(DAYS, (first_day, second_day), strict=True):
        for attempt, status in enumerate(outcomes, 1):
            prefix = f"state/extensions/dt={day}/ee06/{attempt:03d}"
            create_json(store, f"{prefix}-intent.json", {"call_id": "call-ee06"})
            if status:
                create_json(store, f"{prefix}-outcome.json", [] if status == "unreadable" else {"status": status})
    migrate(store)
    assert read_claim(store, "ee06") == home


def test_what_is_no_intent_of_ours_stops_no_migration(store: MemoryObjectStore) -> None:
    put: Callable[..., object] = put_json
    put(store, "state/extensions/", {}, CREATE)
    put(store, f"state/extensions/dt={DAYS[0]}/cc04/001-outcome.json", {}, CREATE)  # a killed erasure left it
    put(store, f"state/extensions/dt={DAYS[0]}/dd05/001-intent.json", ["not ours"], CREATE)
    migrate(store)
    assert read_claim(store, "cc04") is None
    assert read_claim(store, "dd05") == DAYS[0]
    assert {decision: read_claim(store, decision) for decision in HOMES} == HOMES


def test_a_newer_format_is_refused(store: MemoryObjectStore) -> None:
    objects_of(store.bucket).pop(ARCHIVE_IDENTITY)
    create_json(store, ARCHIVE_IDENTITY, OLD | {"format": 3})
    before = bodies(store)
    with pytest.raises(WrongArchive, match="format 3"):
        migrate(store)
    assert bodies(store) == before
