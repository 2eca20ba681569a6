"""A settled day is sealed once, and again only where it has changed; no erased call comes back, and none is lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.seal_chain import SealChain, describe_head
from kros_pipeline.core import schemas
from kros_pipeline.core.hash_set import HashSet
from kros_pipeline.core.object_keys import audio_key, day_totals_key, table_key, tombstone_prefix
from kros_pipeline.core.seal_keys import SEALS_INDEX, manifest_key, records_key, seal_key, verify_key
from kros_pipeline.core.seal_text import Seal, parse_seal
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.seal_day import DayFacts, seal_day
from kros_pipeline.operations.sealing import describe_seals, seal_days_of
from kros_pipeline.steps.other_days import mark
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, WITHIN_GRACE
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.seal_trial import Killed, open_run, try_sealing
from kros_pipeline_tests.support.sealed_days import (
    BODIES,
    assert_one_chain,
    seal,
    sealed_day,
    write_settled_day,
)
from kros_pipeline_tests.support.steps import erase_calls, gather_totals, reconcile_day

NONE = HashSet()


def seal_of(day: FakeDay, number: int) -> Seal:
    return parse_seal(day.archive.read(seal_key(number)))


def records_of(day: FakeDay) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in day.archive.read(records_key(DAY)).splitlines()]
    return {line["call_id"]: line for line in lines if "call_id" in line}


def erase(day: FakeDay, *call_ids: str) -> None:
    erase_calls(day.open(), ErasureRequest(call_ids, reason="request 17"))


def test_a_record_has_all_rows_of_all_tables_its_recording_and_128_random_bits() -> None:
    day = sealed_day()
    record = records_of(day)["call_a"]
    assert set(record["tables"]) == set(schemas.TABLES) - {"reconciliation"}
    for name, rows in record["tables"].items():
        stored = [row for row in day.archive.table(name, DAY) if row["call_id"] == "call_a"]
        assert len(rows) == len(stored)
        for row, of_table in zip(rows, stored, strict=True):
            assert row.keys() == of_table.keys() - {"call_id", "call_date"}
    assert record["audio"] == {
        "key": audio_key(DAY, "call_a"),
        "sha256": day.archive.by_call("recordings", DAY)["call_a"]["sha256"],
    }
    salts = [one["salt"] for one in records_of(day).values()]
    assert len(set(salts)) == 5 and {len(bytes.fromhex(salt)) for salt in salts} == {16}
    for line in day.archive.read(records_key(DAY)).splitlines():
        assert line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_seal_names_no_call_and_no_number() -> None:
    text = b"".join(seal_of(sealed_day(), 1).pieces()).decode()
    assert "call_" not in text and "+" not in text.replace("+00:00", "")


def test_a_day_is_not_sealed_before_it_is_settled() -> None:
    day = FakeDay(BODIES, now=WITHIN_GRACE)
    day.run()
    assert seal(day).sealed == [] and not day.archive.objects("seals/")
    day.now = AFTER_GRACE
    day.run()
    assert seal(day).sealed == [DAY]


def test_a_day_that_has_not_changed_is_sealed_once_however_often_it_is_checked() -> None:
    """Other counters, times of checks, attempts and another look at a transcript are no change."""
    day = sealed_day()
    for hours in (1, 30):
        day.source.day_count = 17 * hours  # type: ignore[attr-defined]
        day.run(hours_later=hours)
        day.archive.rewrite("transcripts", DAY, lambda rows: [row | {"asked_at": day.now} for row in rows])
        reconcile_day(day.open(), DAY)
        report = seal(day)
        assert (report.sealed, report.looked_at, report.refused) == ([], 1, [])
    assert seal(day).looked_at == 0, "what was looked at is looked at again once it has changed"


def test_a_late_call_and_a_replaced_text_make_a_version_that_names_the_one_before_it() -> None:
    day = sealed_day({name: BODIES[name] for name in ("call_a", "call_b")})
    before = records_of(day)
    late = FakeDay({"call_c": BODIES["call_c"]})
    day.source.calls |= late.source.calls
    day.source.calls["call_b"].transcript = "[Agent]: Hello, and more"
    day.run()
    assert seal(day).sealed == [DAY]
    second = seal_of(day, 2)
    assert (second.version, second.follows, second.number) == (2, 1, 2)
    assert (len(second.records), len(second.audio), len(second.withdrawn)) == (2, 1, 1)
    assert records_of(day)["call_a"] == before["call_a"]
    assert records_of(day)["call_b"]["salt"] != before["call_b"]["salt"]
    assert_one_chain(day.archive, [DAY])


def test_another_verdict_is_a_version_without_hashes() -> None:
    day = sealed_day()
    reconcile_day(day.open(), DAY, blocked_by="KrosAI refuses the key.")
    assert seal(day).sealed == [DAY]
    second = seal_of(day, 2)
    assert (second.verdict, second.records, second.audio, second.withdrawn) == ("incomplete", NONE, NONE, NONE)
    reconcile_day(day.open(), DAY)
    seal(day)
    assert seal_of(day, 3).verdict == "complete" and seal(day).sealed == []


def test_a_call_that_an_earlier_day_keeps_is_withdrawn() -> None:
    day = sealed_day()
    day.open().tables.moved.add(DAY, "call_a", DAY - timedelta(days=1))
    ctx = day.open()
    for table in schemas.TABLES.values():
        ctx.tables.commit(table, DAY, lambda present: present.batches() if present else iter(()))
    facts = DayFacts("complete", {}, {})
    put = seal_day(
        DAY,
        facts,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        chain=SealChain(ctx.store, ctx.clock),
        clock=ctx.clock,
        is_signature_due=False,
    )
    assert put is not None and len(put.withdrawn) == 2 and not len(put.records)
    assert_one_chain(day.archive, [DAY])


# What would hide a loss is not sealed.


def drop_call_a(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["call_id"] != "call_a"]


def cut(key: str) -> Callable[[FakeDay], None]:
    def change(day: FakeDay) -> None:
        lines = day.archive.read(key).splitlines(keepends=True)
        day.archive.write(key, b"".join(line for line in lines if b"call_a" not in line))

    return change


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda day: [day.archive.rewrite(name, DAY, drop_call_a) for name in ("calls", "recordings")], "in no table"),
        (
            lambda day: [
                *[day.archive.rewrite(name, DAY, drop_call_a) for name in ("calls", "recordings")],
                *[cut(key)(day) for key in (records_key(DAY), manifest_key(DAY))],
            ],
            "0 erasures account for them",
        ),
    ],
)
def test_a_sealed_call_that_is_gone_without_an_erasure_is_not_sealed_over(
    harm: Callable[[FakeDay], object], why: str
) -> None:
    day = sealed_day()
    before = day.archive.objects("seals/")
    harm(day)
    with suppress(Exception):
        reconcile_day(day.open(), DAY)
    day.archive.rewrite("reconciliation", DAY, lambda rows: [row | {"verdict": "incomplete"} for row in rows])
    report = seal(day)
    assert report.sealed == [] and why in " ".join(report.refused), report
    assert day.archive.objects(seal_key(1)) == {key: before[key] for key in [seal_key(1)]}
    assert len(seal(day).refused) == 1, "it stays red until a person has mended it"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (("transcripts",), "tables of a sealed day were deleted: transcripts."),
        (("reconciliation",), f"1 sealed days have no row of reconciliation any more: {DAY}."),
        (sorted(schemas.TABLES), f"1 sealed days have no row of reconciliation any more: {DAY}."),
    ],
)
def test_a_sealed_day_whose_tables_were_deleted_is_refused_until_they_are_back(
    tables: tuple[str, ...], words: str
) -> None:
    day = sealed_day()
    gather_totals(day.open(), DAY, DAY)
    bodies = {name: day.archive.read(table_key(name, DAY)) for name in tables if _has(day, name)}
    for name in bodies:
        day.archive.delete(table_key(name, DAY))
    for _ in range(2):  # it is looked at again until a person has mended it
        report = seal(day)
        assert report.sealed == [] and len(report.refused) == 1 and words in report.refused[0]
    for name, body in bodies.items():
        day.archive.write(table_key(name, DAY), body)
    reconcile_day(day.open(), DAY)
    assert seal(day).refused == []


def test_a_sealed_day_that_was_deleted_on_purpose_is_refused_until_its_numbers_are_deleted() -> None:
    day = sealed_day()
    gather_totals(day.open(), DAY, DAY)
    for name in schemas.TABLES:
        day.archive.delete(table_key(name, DAY))
    assert len(seal(day).refused) == 1
    day.archive.delete(day_totals_key(DAY.year))
    gather_totals(day.open(), DAY, DAY)
    for _ in range(2):
        assert seal(day).refused == []


def test_a_sealed_day_whose_deleted_row_was_marked_since_is_refused() -> None:
    day = sealed_day()
    ctx = day.open()
    gather_totals(ctx, DAY, DAY)
    day.archive.delete(table_key("reconciliation", DAY))
    mark(DAY, DayVerdict.WAITING, "The listing of another day showed calls.", ctx.tables, ctx.clock)
    gather_totals(ctx, DAY, DAY)
    for _ in range(2):
        assert "have no row of reconciliation" in seal(day).refused[0]


def test_deleted_sealed_days_take_no_turn_of_a_changed_one() -> None:
    day = sealed_day({})
    later = date(2025, 3, 1)
    day.now = AFTER_GRACE + timedelta(days=90)
    write_settled_day(day.open(), later)
    assert seal(day).sealed == [later]
    gather_totals(day.open(), DAY, later)
    day.archive.delete(table_key("transcripts", DAY))
    reconcile_day(day.open(), later, blocked_by="KrosAI refuses the key.")
    report = seal_days_of(day.open(), most_days=1)
    assert report.sealed == [later] and "were deleted: transcripts" in report.refused[0]


def _has(day: FakeDay, table: str) -> bool:
    return table_key(table, DAY) in day.archive.objects()


def test_a_table_of_a_day_that_is_not_sealed_is_no_matter_of_the_seals() -> None:
    day = FakeDay(BODIES)
    day.run()
    day.archive.delete(table_key("transcripts", DAY))
    report = seal(day)
    assert report.sealed == report.refused == []


def test_days_that_stay_refused_leave_the_turns_to_days_that_were_never_sealed() -> None:
    day = sealed_day({})
    day.archive.delete(table_key("transcripts", DAY))
    later = date(2025, 3, 1)
    write_settled_day(day.open(), later)
    day.now = AFTER_GRACE + timedelta(days=90)
    assert seal_days_of(day.open(), most_days=1).sealed == [later]


def test_files_that_were_lost_or_changed_are_made_again_from_the_tables_with_what_is_known() -> None:
    day = sealed_day()
    manifest, records = day.archive.read(manifest_key(DAY)), day.archive.read(records_key(DAY))
    day.archive.delete(manifest_key(DAY))
    day.archive.delete(verify_key(DAY))
    day.archive.delete(SEALS_INDEX)
    report = seal(day)
    assert report.sealed == [] and day.archive.read(manifest_key(DAY)) == manifest
    assert verify_key(DAY) in day.archive.objects("seals/")
    day.archive.write(records_key(DAY), records.replace(b"Hello", b"Jello", 1))
    day.archive.delete(SEALS_INDEX)
    assert seal(day).sealed == [DAY]
    assert len(seal_of(day, 2).withdrawn) == len(seal_of(day, 2).records) == 1, "another record stands for it, openly"
    assert records_of(day)["call_a"]["tables"]["transcripts"][0]["text"] == "[Agent]: Hello"


# Erasure.


def test_an_erased_call_leaves_records_and_manifest_and_the_day_needs_no_other_seal() -> None:
    day = sealed_day()
    erase(day, "call_a", "call_b")
    assert records_of(day).keys() == {"call_c", "call_d", "call_e"}
    assert b"call_a" not in day.archive.read(manifest_key(DAY))
    assert seal(day).sealed == [] and seal_of(day, 1).never_sealed == 0
    tombstones = list(day.archive.objects(tombstone_prefix(DAY)))
    assert [day.archive.json(key)["day"] for key in tombstones] == [str(DAY)] * 2


def test_calls_that_were_erased_before_they_were_sealed_are_counted_in_the_seal() -> None:
    day = FakeDay(BODIES)
    day.run()
    erase(day, "call_a")
    assert seal(day).sealed == [DAY] and seal_of(day, 1).never_sealed == 1
    day.source.calls |= FakeDay({"call_z": BODIES["call_b"]}).source.calls
    day.run()
    erase(day, "call_b", "call_z")
    assert seal(day).sealed == [DAY]
    second = seal_of(day, 2)
    assert (second.never_sealed, second.records, second.withdrawn) == (2, NONE, NONE)
    assert seal(day).sealed == []


@pytest.mark.parametrize("sealed_before", [False, True])
@pytest.mark.parametrize("late", [records_key(DAY), manifest_key(DAY)])
def test_a_write_of_records_that_began_before_an_erasure_loses(sealed_before: bool, late: str) -> None:
    """The call is new to the seals: its erasure finds nothing in them to change, and changes them even so."""
    day = FakeDay({name: BODIES[name] for name in ("call_a", "call_b")})
    day.run()
    if sealed_before:
        seal(day)
    day.source.calls |= FakeDay({"call_c": BODIES["call_c"]}).source.calls
    day.run()
    erased: list[str] = []

    class Late:
        """Erases the call between the look for tombstones and the write."""

        def __init__(self, store: Any):
            self.store = store

        def put(self, key: str, *arguments: Any, **more: Any) -> Any:
            if key == late and not erased:
                erased.append(key)
                erase(day, "call_c")
            return self.store.put(key, *arguments, **more)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

    ctx = day.open()
    ctx.store = Late(ctx.store)
    report = seal_days_of(ctx)
    assert erased and not report.refused and not report.owed
    for key in (records_key(DAY), manifest_key(DAY)):
        assert b"call_c" not in day.archive.read(key)
    assert records_of(day).keys() == {"call_a", "call_b"}
    seal(day)
    assert_one_chain(day.archive, [DAY])


# Runs that are killed, and that run at once.


@pytest.mark.parametrize("killed_at", range(6))
def test_a_run_that_is_killed_at_any_put_is_continued_by_the_next(killed_at: int) -> None:
    """With a replaced record: its old hash must not be forgotten with the run that had replaced it."""
    day = sealed_day({name: BODIES[name] for name in ("call_a", "call_b")})
    day.source.calls["call_b"].transcript = "[Agent]: Hello, and more"
    day.run()
    puts: list[str] = []

    def decide(key: str) -> str:
        puts.append(key)
        return "kill" if len(puts) == killed_at + 1 else ""

    ctx = open_run(day.archive, decide)
    with suppress(Killed):
        seal_days_of(ctx)
    report = seal(day)
    assert not (report.owed or report.refused)
    assert_one_chain(day.archive, [DAY])
    assert len(seal_of(day, 2).withdrawn) == 1 and seal_key(3) not in day.archive.objects("seals/")


def test_days_that_are_sealed_by_several_runs_with_kills_and_lost_answers_are_one_chain() -> None:
    assert try_sealing(7, days=6, runs=3, kills=12) > 0


def test_a_look_takes_the_oldest_days_first_and_no_more_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    day = sealed_day({})
    ctx = day.open()
    more = [date(2025, 3, number) for number in (3, 1, 2)]
    for one in more:
        write_settled_day(ctx, one)
    day.now = AFTER_GRACE + timedelta(days=90)
    assert describe_seals(ctx.store, ctx.clock)["days to be sealed or looked at"] == 3
    with caplog.at_level(logging.INFO):
        report = seal_days_of(day.open(), most_days=2)
    assert (report.sealed, report.left) == (sorted(more)[:2], 1)
    assert seal(day).sealed == sorted(more)[2:]
    shown = describe_seals(ctx.store, ctx.clock)
    assert (shown["last sealed day"], shown["days to be sealed or looked at"]) == ("2025-03-03", 0)
    assert shown["head of the seal chain"] == describe_head(ctx.store, ctx.clock)
    assert "2025-03-01: sealed by seal 000002, version 1" in caplog.text


def test_a_day_that_cannot_be_sealed_is_owed_and_the_others_are_sealed() -> None:
    day = sealed_day({})
    ctx = day.open()
    days = [date(2025, 3, 1), date(2025, 3, 2)]
    for one in days:
        write_settled_day(ctx, one)
    key = table_key("utterances", days[0])
    good = day.archive.read(key)
    day.archive.write(key, b"PAR1 no table PAR1")
    versions = {"state/tables": day.archive.json(f"state/tables/dt={days[0]}.json")}
    versions["state/tables"]["versions"]["utterances"] = ctx.tables.version(schemas.UTTERANCES, days[0])
    day.archive.write(f"state/tables/dt={days[0]}.json", json.dumps(versions["state/tables"]).encode())
    report = seal(day)
    assert report.sealed == [days[1]] and f"{days[0]} is not sealed" in report.owed[0], report
    day.archive.write(key, good)
    versions["state/tables"]["versions"]["utterances"] = ctx.tables.version(schemas.UTTERANCES, days[0])
    day.archive.write(f"state/tables/dt={days[0]}.json", json.dumps(versions["state/tables"]).encode())
    assert seal(day).sealed == [days[0]]


def test_a_broken_chain_stops_the_sealing_and_says_what_to_do() -> None:
    day = sealed_day()
    day.archive.delete(seal_key(1))
    (sentence,) = seal(day).refused
    assert "restore it from a version" in sentence and not day.archive.objects(seal_key(1))
    ctx = day.open()
    assert "broken" in str(describe_seals(ctx.store, ctx.clock)["head of the seal chain"])
