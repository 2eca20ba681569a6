"""The chain of seals: one, without a gap, whatever the index says and whoever else writes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.archive.seal_chain import ChainBroken, SealChain, describe_head
from kros_pipeline.core.errors import ArchiveUnavailable
from kros_pipeline.core.seal_keys import SEALS_INDEX, seal_key
from kros_pipeline.core.seal_text import Seal, sha256_of_text
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_store import MemoryArchive, MemoryObjectStore

DAY = date(2025, 1, 10)
NOW = datetime(2025, 2, 1, tzinfo=UTC)
CLOCK = clock_without_waits(lambda: NOW)
_numbers = itertools.count(1)

Setup = tuple[MemoryArchive, MemoryObjectStore]


@pytest.fixture
def made() -> Setup:
    prefix = f"chain-{next(_numbers)}"
    return MemoryArchive("chains", prefix), MemoryObjectStore("chains", prefix)


def seal_of(day: date, version: int = 1) -> Callable[[int, str], Seal]:
    def make(number: int, previous: str) -> Seal:
        return Seal(number, previous, day, version, 0, None, "complete", NOW, False)

    return make


def add(store: MemoryObjectStore, *days: date, saves: bool = True) -> SealChain:
    chain = SealChain(store, CLOCK)
    for day in days:
        chain.catch_up()
        assert chain.append(seal_of(day, len(chain.seals_of(day)) + 1)) is not None
    chain.catch_up()
    if saves:
        chain.save({})
    return chain


def days_after(count: int) -> list[date]:
    return [DAY + timedelta(days=number) for number in range(count)]


def test_each_seal_names_the_one_before_it_and_the_head_is_shown(made: Setup) -> None:
    archive, store = made
    assert describe_head(store, CLOCK) == ""
    add(store, DAY, DAY + timedelta(days=1), DAY)
    bodies = [archive.read(seal_key(number)) for number in (1, 2, 3)]
    assert f"previous: {sha256_of_text(bodies[1])}".encode() in bodies[2]
    assert describe_head(store, CLOCK) == f"000003 {sha256_of_text(bodies[2])}"


def test_a_thousand_older_seals_cost_no_request(made: Setup) -> None:
    _, store = made
    add(store, *days_after(40))
    before = store.requests_made
    SealChain(store, CLOCK).catch_up()
    assert store.requests_made - before == 3  # the index, the newest seal, a listing of what comes after it


@pytest.mark.parametrize("hint", ["missing", "older", "no JSON", "of another form", "without a day's seal"])
def test_an_index_that_does_not_help_is_made_again_from_the_chain(hint: str, made: Setup) -> None:
    archive, store = made
    add(store, *days_after(3))
    whole = archive.json(SEALS_INDEX)
    old = archive.read(SEALS_INDEX)
    add(store, DAY)
    archive.delete(SEALS_INDEX)
    wrong = {
        "older": old,
        "no JSON": b"{",
        "of another form": b'{"read_until": "x", "days": []}',
        "without a day's seal": b'{"read_until": 3, "head": "%s", "days": {}, "looked": {}, "retained_until": 0}'
        % whole["head"].encode(),
    }
    if hint in wrong:
        archive.write(SEALS_INDEX, wrong[hint])
    chain = add(store, DAY)
    assert [seal.number for seal in chain.seals_of(DAY)] == [1, 4, 5] and chain.head[0] == 5


def test_an_index_that_gives_a_day_the_seals_of_another_is_made_again(made: Setup) -> None:
    archive, store = made
    add(store, *days_after(2))
    body = archive.read(SEALS_INDEX)
    swapped = body.replace(b"2025-01-10", b"x").replace(b"2025-01-11", b"2025-01-10").replace(b"x", b"2025-01-11")
    archive.write(SEALS_INDEX, swapped)
    chain = SealChain(store, CLOCK)
    chain.catch_up()
    assert [seal.number for seal in chain.seals_of(DAY)] == [1]
    chain.save({})
    assert archive.read(SEALS_INDEX) == body


def test_a_gap_a_fork_and_a_removed_or_replaced_newest_seal_stop_the_chain(made: Setup) -> None:
    archive, store = made
    add(store, *days_after(4))
    newest = archive.read(seal_key(4))
    archive.delete(seal_key(4))
    with pytest.raises(ChainBroken, match=r"seal-000004.txt is gone"):
        SealChain(store, CLOCK).catch_up()
    archive.write(seal_key(4), newest.replace(b"2025-01-13", b"2025-01-14"))
    with pytest.raises(ChainBroken, match="another one"):
        SealChain(store, CLOCK).catch_up()
    archive.write(seal_key(4), newest)
    SealChain(store, CLOCK).catch_up()
    second = archive.read(seal_key(2))
    archive.delete(seal_key(2))
    with pytest.raises(ChainBroken, match=r"seal-000002.txt is missing"):
        SealChain(store, CLOCK).overview()
    archive.delete(SEALS_INDEX)
    with pytest.raises(ChainBroken, match=r"seal-000002.txt is missing"):
        SealChain(store, CLOCK).catch_up()
    archive.write(seal_key(2), second.replace(b"complete", b"waiting"))
    with pytest.raises(ChainBroken, match=r"seal-000003.txt does not follow"):
        SealChain(store, CLOCK).catch_up()
    archive.write(seal_key(2), b"somebody else's text")
    with pytest.raises(ChainBroken, match="is no seal"):
        SealChain(store, CLOCK).catch_up()


def test_a_seal_whose_answer_was_lost_is_not_put_twice(made: Setup) -> None:
    """The maker sees it as the newest one."""
    _, store = made

    class Losing:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def put(self, key: str, body: bytes, *, sha256: str, mode: object, content_type: str) -> None:
            store.put(key, body, sha256=sha256, mode=CREATE, content_type=content_type)
            raise ArchiveUnavailable(f"{key}: no answer")

    chain = SealChain(Losing(), CLOCK)  # type: ignore[arg-type]

    def make(number: int, previous: str) -> Seal | None:
        return None if chain.seals_of(DAY) else seal_of(DAY)(number, previous)

    assert chain.append(make) is None and chain.head[0] == 1


def test_a_writer_who_is_overtaken_seals_behind_the_other(made: Setup) -> None:
    _, store = made
    slow = SealChain(store, CLOCK)
    overtakes = iter([True, False])

    def make(number: int, previous: str) -> Seal:
        if next(overtakes):
            add(store, DAY + timedelta(days=1))
        return replace(seal_of(DAY)(number, previous), counts={"calls": number})

    put = slow.append(make)
    assert put is not None and put.number == 2
    other = SealChain(store, CLOCK)
    other.catch_up()
    assert other.head[0] == 2
