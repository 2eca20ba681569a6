"""What the bucket gives back is what was archived, or a check is red."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from kros_pipeline.archive.archived_days import archived_days
from kros_pipeline.archive.json_objects import replace_json
from kros_pipeline.archive.object_store import Entry
from kros_pipeline.archive.verified_days import begin_everything, read_verified_days, record_verified_days
from kros_pipeline.core import schemas
from kros_pipeline.core.object_keys import audio_key, audio_prefix, audit_prefix
from kros_pipeline.operations.verification import PARTS, measure_coverage, select_days
from kros_pipeline_tests.support.accounts import DAY, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import table_key
from kros_pipeline_tests.support.steps import verify_days
from kros_pipeline_tests.support.years_run import NOW, open_years_run
from kros_pipeline_tests.support.years_store import YearsStore


def ids_of(our: Account) -> list[str]:
    return sorted(our.archive.by_call("calls", DAY))


def events(our: Account, step: str) -> list[dict[str, str]]:
    keys = [key for key in our.archive.objects(audit_prefix(DAY)) if key.endswith(f"-{step}.jsonl")]
    return [json.loads(line) for key in keys for line in our.archive.read(key).splitlines()]


def test_a_sound_day_is_verified_and_its_audit_log_says_so(account: MakeAccount) -> None:
    our = account()
    our.run_day()
    found = verify_days(our.ctx, archived_days(our.ctx.store))
    assert found.is_sound and found.days == [DAY] and found.objects == len(ids_of(our))
    assert found.bytes_read == sum(size for _, size in our.archive.objects("audio/").values())
    archived = {line["call"]: line["sha256"] for line in events(our, "recordings") if line["event"] == "archived"}
    verified = {line["call"]: line["sha256"] for line in events(our, "verify") if line["event"] == "verified"}
    assert archived == verified and verified.keys() == set(ids_of(our))


def test_other_bytes_of_the_same_size_a_missing_and_an_unknown_object_are_found(account: MakeAccount) -> None:
    our = account()
    our.run_day()
    changed, missing = (audio_key(DAY, call_id) for call_id in ids_of(our)[:2])
    body = bytearray(our.archive.read(changed))
    body[-1] ^= 1
    our.archive.write(changed, bytes(body))
    our.archive.delete(missing)
    our.archive.write(audio_key(DAY, "call_of_nobody"), b"x")
    found = verify_days(our.ctx, [DAY])
    assert not found.is_sound
    assert (found.drifted, found.missing, found.unknown) == ([changed], [missing], [audio_key(DAY, "call_of_nobody")])
    (line,) = [line for line in events(our, "verify") if line["event"] == "drifted"]
    assert line["call"] == ids_of(our)[0] and line["sha256"] != line["archived_sha256"]


def test_a_recording_that_is_archived_meanwhile_is_not_missing(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account()
    our.run_day()
    rows, late = our.archive.read(table_key("recordings", DAY)), ids_of(our)[0]
    body = our.archive.read(audio_key(DAY, late))
    our.archive.rewrite("recordings", DAY, lambda rows: [row for row in rows if row["call_id"] != late])
    our.archive.rewrite("reconciliation", DAY, lambda rows: [rows[0] | {"recordings_archived": len(ids_of(our)) - 1}])
    our.archive.delete(audio_key(DAY, late))
    store = type(our.ctx.store)
    true = store.list

    def list_before_another_run_ends(this: Any, prefix: str, *, after: str = "") -> Iterator[Entry]:
        yield from true(this, prefix, after=after)
        if prefix == audio_prefix(DAY):
            our.archive.write(audio_key(DAY, late), body)
            our.archive.write(table_key("recordings", DAY), rows)

    monkeypatch.setattr(store, "list", list_before_another_run_ends)
    assert verify_days(our.ctx, [DAY]).is_sound
    assert late in our.archive.by_call("recordings", DAY)


def test_every_day_is_verified_once_in_four_weeks() -> None:
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(400)]
    turns = [select_days(days, date(2025, 6, 1) + timedelta(days=number), {}) for number in range(PARTS)]
    assert sorted(day for turn in turns for day in turn) == days
    assert max(map(len, turns)) - min(map(len, turns)) <= 1


def test_audio_of_an_erased_call_and_of_a_day_without_tables_is_found(account: MakeAccount) -> None:
    our = account(KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    call_id = ids_of(our)[0]
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(DAY, call_id)
    our.ctx.tables.commit(schemas.RECORDINGS, DAY, lambda present: present.batches() if present else iter(()))
    forgotten = date(2024, 12, 31)
    our.archive.write(audio_key(forgotten, "call_z"), b"x")
    assert archived_days(our.ctx.store) == [forgotten, DAY]
    found = verify_days(our.ctx, archived_days(our.ctx.store))
    assert (found.erased, found.unknown) == ([audio_key(DAY, call_id)], [audio_key(forgotten, "call_z")])
    assert not found.is_sound


def test_the_object_of_a_call_that_an_earlier_day_keeps_is_no_unknown_one(account: MakeAccount) -> None:
    our = account(KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    next_day = DAY + timedelta(days=1)
    call_id = ids_of(our)[0]
    left, unknown = audio_key(next_day, call_id), audio_key(next_day, "call_of_nobody")
    our.archive.write(left, b"x")
    our.ctx.tables.moved.add(next_day, call_id, DAY)
    assert verify_days(our.ctx, [DAY, next_day]).is_sound
    our.archive.write(unknown, b"x")
    assert verify_days(our.ctx, [next_day]).unknown == [unknown]
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(DAY, call_id)
    assert verify_days(our.open(), [next_day]).erased == [left]


# Rows that were archived, and are gone.


def without_rows(our: Account) -> None:
    our.archive.rewrite("recordings", DAY, lambda _: [])


def without_a_row(our: Account) -> None:
    our.archive.rewrite("recordings", DAY, lambda rows: rows[1:])


def without_the_table(our: Account) -> None:
    our.archive.delete(table_key("recordings", DAY))


@pytest.mark.parametrize("harm", [without_rows, without_a_row, without_the_table])
def test_a_table_that_has_lost_rows_is_found_even_where_their_audio_is_gone_too(
    account: MakeAccount, harm: Callable[[Account], None]
) -> None:
    our = account()
    our.run_day()
    harm(our)
    known = our.archive.by_call("recordings", DAY) if harm is not without_the_table else {}
    for call_id in set(ids_of(our)) - known.keys():
        our.archive.delete(audio_key(DAY, call_id))
    found = verify_days(our.ctx, [DAY])
    assert (found.lost_rows, found.missing, found.unknown) == ([table_key("recordings", DAY)], [], [])
    assert not found.is_sound


def test_rows_of_calls_that_were_erased_or_moved_since_the_days_check_are_not_lost(account: MakeAccount) -> None:
    our = account(KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    erased, moved = ids_of(our)[:2]
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_call(DAY, erased)
    our.ctx.tables.moved.add(DAY, moved, DAY - timedelta(days=1))
    our.archive.rewrite("recordings", DAY, lambda rows: [row for row in rows if row["call_id"] not in (erased, moved)])
    assert verify_days(our.open(), [DAY]).lost_rows == []
    our.archive.rewrite("recordings", DAY, lambda rows: rows[1:])
    assert verify_days(our.open(), [DAY]).lost_rows == [table_key("recordings", DAY)]


def test_a_row_of_the_day_that_cannot_be_read_is_a_finding(account: MakeAccount) -> None:
    our = account()
    our.run_day()
    our.archive.write(table_key("reconciliation", DAY), b"no table")
    found = verify_days(our.ctx, [DAY])
    assert found.unread == [table_key("reconciliation", DAY)] and found.objects == len(ids_of(our))


# Days with findings, until a later reading of them is sound.


def lose_a_recording(store: YearsStore, day: date) -> str:
    (lost, *_) = store.versions(audio_key(day, store.generated.ids(day)[0]))
    store.delete([lost])
    return lost.key


def test_a_finding_keeps_the_verification_red_whatever_other_days_are_read_until_it_is_mended(
    memory_account: MakeAccount,
) -> None:
    our = memory_account()
    next_day = DAY + timedelta(days=1)
    our.run_day()
    our.run_day(next_day)
    key = audio_key(DAY, ids_of(our)[0])
    body = our.archive.read(key)
    our.archive.delete(key)
    assert verify_days(our.ctx, [DAY]).missing == [key]
    found = verify_days(our.ctx, [next_day])
    assert not found.is_sound and found.count_findings() == 0 and found.days_with_findings == [DAY]
    again = select_days([], our.now.date(), read_verified_days(our.ctx.store).with_findings)
    found = verify_days(our.ctx, again)
    assert again == [DAY] and found.missing == [key] and found.days_with_findings == []
    our.archive.write(key, body)
    assert not verify_days(our.ctx, [next_day]).is_sound, "nobody has read it yet"
    assert verify_days(our.ctx, again).is_sound and verify_days(our.ctx, [next_day]).is_sound
    assert read_verified_days(our.ctx.store).with_findings == {}


def test_a_day_with_findings_is_read_and_not_verified() -> None:
    store = YearsStore(4, 3)
    ctx, days = open_years_run(store), store.days
    lose_a_recording(store, days[1])
    verify_days(ctx, days)
    kept = dict.fromkeys(days, days[0])
    found = measure_coverage(kept, read_verified_days(store), NOW + timedelta(days=1))
    assert (found.days, found.days_verified, found.days_late, found.days_with_findings) == (4, 3, 0, 1)


def test_days_with_findings_are_read_again_a_bounded_number_a_night_the_longest_unread_first() -> None:
    archived = [date(2024, 1, 1) + timedelta(days=number) for number in range(100)]
    today = date(2025, 6, 1)
    turn = select_days(archived, today, {})
    bad = {day: NOW + timedelta(hours=number) for number, day in enumerate(reversed(archived))}
    selected = select_days(archived, today, bad)
    again = [day for day in reversed(archived) if day not in turn][:14]
    assert selected == sorted({*turn, *again})
    gone = date(2023, 5, 5)
    assert gone in select_days(archived, today, {gone: NOW}), "also where the archive has nothing more of it"


@pytest.mark.parametrize("damaged", [[1], 3, {"x": 1}, {"2025-01-09": 5}, None])
def test_findings_that_cannot_be_read_are_none(damaged: object) -> None:
    store = YearsStore(1, 1)
    replace_json(store, "state/verified_days.json", {"with_findings": damaged})
    assert read_verified_days(store).with_findings == {}
    record_verified_days(store, [], NOW, with_findings=store.days)
    assert read_verified_days(store).with_findings == {store.days[0]: NOW}


# Everything, killed and launched again.


class _Killed(BaseException):
    pass


def killing(monkeypatch: pytest.MonkeyPatch, *days: date) -> list[date]:
    """Have the reading of a recording of these days kill the run; return the days of which one was read."""
    true, read = YearsStore.digest, list[date]()

    def digest(this: YearsStore, key: str) -> tuple[str, int] | None:
        day = date.fromisoformat(key[len("audio/dt=") :][:10])
        read.append(day)
        if day in days:
            raise _Killed
        return true(this, key)

    monkeypatch.setattr(YearsStore, "digest", digest)
    return read


def test_a_verification_of_everything_goes_on_where_it_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = YearsStore(6, 3)
    ctx, days = open_years_run(store), store.days
    with monkeypatch.context() as patch:
        killing(patch, days[3])
        with pytest.raises(_Killed):
            verify_days(ctx, days, is_everything=True)
    read = killing(monkeypatch)
    found = verify_days(ctx, days, is_everything=True)
    assert (found.days, found.days_before, found.objects, set(read)) == (days[3:], 3, 9, set(days[3:]))
    assert read_verified_days(store).read_at.keys() == set(days)
    found = verify_days(ctx, days, is_everything=True)
    assert (found.days, found.days_before) == (days, 0), "it has ended: the next one reads everything"


def test_days_with_findings_are_read_again_and_days_of_another_verification_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = YearsStore(4, 3)
    ctx, days = open_years_run(store), store.days
    (lost, *_) = store.versions(audio_key(days[0], store.generated.ids(days[0])[0]))
    store.delete([lost])
    with monkeypatch.context() as patch:
        killing(patch, days[2])
        with pytest.raises(_Killed):
            verify_days(ctx, days, is_everything=True)
    verify_days(ctx, [days[3]])  # that of the night is none of everything
    found = verify_days(ctx, days, is_everything=True)
    assert found.days == [days[0], days[2], days[3]] and found.missing == [lost.key]


def test_a_day_of_a_killed_verification_that_another_launch_found_to_be_wrong_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = YearsStore(4, 3)
    ctx, days = open_years_run(store), store.days
    with monkeypatch.context() as patch:
        killing(patch, days[2])
        with pytest.raises(_Killed):
            verify_days(ctx, days, is_everything=True)
    assert begin_everything(store, NOW) == set(days[:2])
    key = lose_a_recording(store, days[0])
    verify_days(ctx, [days[0]])
    found = verify_days(ctx, days, is_everything=True)
    assert found.days == [days[0], days[2], days[3]] and found.missing == [key] and not found.is_sound


def test_what_was_read_is_recorded_each_minute_and_forgotten_after_four_weeks(monkeypatch: pytest.MonkeyPatch) -> None:
    store = YearsStore(4, 3)
    ctx, days = open_years_run(store), store.days
    true, known = YearsStore.digest, dict[str, set[date]]()

    def digest(this: YearsStore, key: str) -> tuple[str, int] | None:
        known[key] = begin_everything(store, NOW)
        return true(this, key)

    monkeypatch.setattr(YearsStore, "digest", digest)
    times = iter(range(0, 10_000, 61))
    ctx.clock = replace(ctx.clock, monotonic=lambda: float(next(times)))
    verify_days(ctx, days, is_everything=True)
    assert max(known.values(), key=len) == set(days[:3])
    begin_everything(store, NOW)
    assert begin_everything(store, NOW + timedelta(days=27)) == set()
    assert json.loads(store.read("state/verified_days.json") or b"")["everything"]["began_at"] == NOW.isoformat()
    begin_everything(store, NOW + timedelta(days=28))
    assert json.loads(store.read("state/verified_days.json") or b"")["everything"]["began_at"] != NOW.isoformat()
    began = begin_everything(store, NOW + timedelta(days=28))
    record_verified_days(store, days, NOW, is_everything=True)
    assert began == set() and begin_everything(store, NOW) == set(), "it began in the future: its days say nothing"


@pytest.mark.parametrize("damaged", [[1], [1, "2025-01-09"], [{}], {"2025-01-09": 1}, None])
def test_progress_that_cannot_be_read_is_begun_anew(damaged: object) -> None:
    store = YearsStore(1, 1)
    under_way = {"began_at": NOW.isoformat(), "days": damaged}
    replace_json(store, "state/verified_days.json", {"everything": under_way})
    assert begin_everything(store, NOW) == set()
    record_verified_days(store, store.days, NOW, is_everything=True)
    assert begin_everything(store, NOW) == set(store.days)
