"""A call that is erased is gone from every version of every object, stays gone, and the archive proves it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest

from kros_pipeline.archive.notification_notes import ArchiveNotes
from kros_pipeline.archive.tombstones import Tombstones
from kros_pipeline.archive.unparsed_rows import UnparsedRows
from kros_pipeline.core import schemas
from kros_pipeline.core.errors import ApiServerError, ApiUnreachable, ArchiveDenied
from kros_pipeline.core.notification_state import Level, Problem, observe
from kros_pipeline.core.object_keys import NOTIFICATIONS, audio_key, call_key, tombstone_key
from kros_pipeline.core.pseudonyms import pseudonym
from kros_pipeline.operations.erasure import ErasureUnfinished
from kros_pipeline.operations.erasure_request import ErasureRefused, ErasureRequest, ErasureResult
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    erase_calls,
    fetch_transcripts,
    list_calls,
    reconcile_day,
    split_utterances,
)

KEY = "an erasure key of the tests, of more than 32 characters"
SMALL = replace(PLAIN, audio_seconds=(1, 2))
RULES = "rules:\n  - {id: all, extend_days: 90}\n"


@pytest.fixture
def account(memory_account: MakeAccount) -> MakeAccount:
    """Makes accounts with an archive in memory. What is about S3 itself asks for `s3_account` or `archived_in_s3`."""
    return memory_account


@pytest.fixture
def archived(account: MakeAccount, tmp_path: Any) -> Callable[..., Account]:
    """An account with a day that was archived twice, with something to erase of every kind."""
    return archive_twice(account, tmp_path)


@pytest.fixture
def archived_in_s3(s3_account: MakeAccount, tmp_path: Any) -> Callable[..., Account]:
    """As `archived`, in S3."""
    return archive_twice(s3_account, tmp_path)


def archive_twice(account: MakeAccount, tmp_path: Any) -> Callable[..., Account]:
    def make(config: Any = SMALL, *, fresh: bool = False, **settings: str) -> Account:
        rules = tmp_path / "rules.yaml"
        rules.write_text(RULES)
        more = {"KROS_ERASURE_KEY": KEY, "KROS_FLAG_RULES": str(rules), **settings}
        our = account(config, fresh=fresh, bucket="locked", **more)
        our.krosai.set_faults(Faults(storage_html=Fault(calls=(ids_of(our)[2],))))
        our.run_day()
        our.krosai.set_faults(Faults())
        reconcile_day(our.ctx, DAY, acknowledged_call_ids=[ids_of(our)[2]])
        our.run_day()
        return our

    return make


def ids_of(our: Account) -> list[str]:
    return sorted(call["id"] for call in our.krosai.expected_calls(str(DAY)) if call["status"] == "completed")


def forget(our: Account, *call_ids: str, **more: Any) -> ErasureResult:
    dry_run = more.pop("dry_run", False)
    request = ErasureRequest(call_ids, reason=more.pop("reason", "request 17"), **more)
    return erase_calls(our.open(), request, dry_run=dry_run)


def every_version(our: Account) -> dict[tuple[str, str], bytes]:
    """All that the bucket holds below the prefix: (key, version) → body; a delete marker has none."""
    return our.archive.versions()


def mentions(our: Account, *call_ids: str) -> list[str]:
    """By other means than the product's: keys, JSON as bytes, and every text of every table's every column."""
    found = []
    names = {name.encode() for call_id in call_ids for name in (call_id, call_key(call_id))}
    for (key, version), body in every_version(our).items():
        reported = key.encode() + (
            repr(pq.read_table(io.BytesIO(body)).to_pydict()).encode() if key.endswith(".parquet") and body else body
        )
        if any(name in reported for name in names):
            found.append(f"{key} {version}")
    return found


def assert_forgotten(our: Account, *call_ids: str) -> None:
    assert mentions(our, *call_ids) == []
    kept = set(ids_of(our)) - set(call_ids)
    assert our.archive.by_call("calls", DAY).keys() == kept
    assert our.archive.by_call("transcripts", DAY).keys() == kept
    (row,) = our.archive.table("reconciliation", DAY)
    assert (row["verdict"], row["erased"], row["calls"]) == ("complete", len(call_ids), len(kept)), row["problems"]


def test_every_version_of_every_object_that_names_the_call_is_deleted(archived_in_s3: Callable[..., Account]) -> None:
    our = archived_in_s3()
    plain, extended, quarantined = ids_of(our)[:3]
    places = {re.split("/dt=|/[0-9a-f]{2}/", key)[0] for key in mentions(our, *ids_of(our)[:3])}
    assert places == {
        *(f"tables/{name}" for name in ("calls", "recordings", "transcripts", "utterances", "flagged_calls")),
        "tables/retention_extensions", "tables/reconciliation", "audio", "quarantine", "audit",
        "state/extensions", "state/decisions", "state/acknowledged",
    }  # fmt: skip
    found = forget(our, plain, quarantined)
    assert (found.calls, found.days, found.residue, found.problems) == (2, [DAY], [], [])
    assert_forgotten(our, plain, quarantined)
    assert mentions(our, extended)
    assert not [key for key, _ in every_version(our) if key.startswith("state/erasing/")]


def test_the_audit_log_keeps_a_pseudonym_and_says_who_was_erased_when_and_why(
    archived: Callable[..., Account],
) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    forget(our, call_id, reason="request 17")
    lines = [
        line for (key, _), body in every_version(our).items() if key.startswith("audit/") for line in body.splitlines()
    ]
    mine = [line.decode() for line in lines if pseudonym(KEY, call_id).encode() in line]
    assert sum('"event": "archived"' in line for line in mine) == 1
    assert sum('"event": "erased"' in line and '"reason": "request 17"' in line for line in mine) == 1
    assert our.archive.json(tombstone_key(DAY, pseudonym(KEY, call_id))).keys() == {"day", "erased_at"}


def test_all_calls_from_or_to_a_number_are_erased_however_it_is_written(archived: Callable[..., Account]) -> None:
    our = archived()
    calls = our.archive.by_call("calls", DAY)
    number = calls[ids_of(our)[0]]["from_number"]
    meant = {call_id for call_id, row in calls.items() if number in (row["from_number"], row["to_number"])}
    spoken = f"{number[:4]} ({number[4:7]}) {number[7:]}"
    found = erase_calls(our.open(), ErasureRequest(phone_number=spoken, reason="request 18"))
    assert found.calls == len(meant) >= 1
    assert_forgotten(our, *meant)
    with pytest.raises(ErasureRefused, match="No call of this archive is from or to that number"):
        erase_calls(our.open(), ErasureRequest(phone_number=spoken, reason="request 18"))


def test_a_dry_run_counts_and_touches_nothing(archived: Callable[..., Account]) -> None:
    our = archived()
    before = every_version(our)
    found = forget(our, ids_of(our)[0], dry_run=True)
    assert found.calls == 1 and found.versions_deleted >= 2 and found.residue
    assert every_version(our) == before


def test_an_erased_call_that_upstream_still_lists_does_not_come_back(archived: Callable[..., Account]) -> None:
    our = archived()
    call_id = ids_of(our)[1]
    forget(our, call_id)
    our.krosai.reset_counters()
    del our.ctx  # a later run, which remembers nothing
    result = our.run_day()
    assert result.verdict.verdict == "complete"
    assert_forgotten(our, call_id)
    assert our.requests().get("extend", 0) == 0


def test_erasing_twice_changes_nothing_and_a_restored_call_makes_a_check_red_and_is_erased_again(
    archived: Callable[..., Account],
) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    forget(our, call_id)
    forget(our, call_id)
    our.archive.write(audio_key(DAY, call_id), b"somebody's copy")
    verdict = reconcile_day(our.open(), DAY).verdict
    assert verdict.verdict == "incomplete"
    assert verdict.failures["no_object_is_unknown"][0].startswith("1 × object of an erased call")
    forget(our, call_id)
    assert_forgotten(our, call_id)


@pytest.mark.slow
def test_nothing_is_touched_where_a_call_is_under_legal_hold(archived_in_s3: Callable[..., Account]) -> None:
    our = archived_in_s3(KROS_LEGAL_HOLD="on")
    held = ids_of(our)[0]
    tags = our.archive.client.get_object_tagging(
        Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{audio_key(DAY, held)}"
    )["TagSet"]
    assert tags == [{"Key": "kros-flagged", "Value": "true"}]
    before = every_version(our)
    with pytest.raises(ErasureRefused, match=f"1 of the calls are under legal hold.*They are: {held}"):
        forget(our, held)
    assert every_version(our) == before
    for call_id in ids_of(our):
        our.archive.client.put_object_legal_hold(
            Bucket=our.archive.bucket,
            Key=f"{our.archive.prefix}/{audio_key(DAY, call_id)}",
            LegalHold={"Status": "OFF"},
        )
    our.run_day()  # what was lifted by hand is not put on again
    forget(our, held)
    assert_forgotten(our, held)


def test_a_recording_that_was_hidden_and_fetched_anew_is_held_anew(archived_in_s3: Callable[..., Account]) -> None:
    our = archived_in_s3(KROS_LEGAL_HOLD="on")
    first, other = audio_key(DAY, ids_of(our)[0]), audio_key(DAY, ids_of(our)[1])
    our.archive.delete(first)  # a delete marker hides the held version
    result = our.run_day()
    assert result.verdict.verdict == "complete" and not result.verdict.failures.get("every_flagged_recording_is_held")

    def holds(key: str) -> list[str]:
        client, target = our.archive.client, {"Bucket": our.archive.bucket, "Key": f"{our.archive.prefix}/{key}"}
        versions = [version for name, version in every_version(our) if name == key]
        bodies = [version for version in versions if every_version(our)[key, version]]
        return [client.get_object_legal_hold(**target, VersionId=version)["LegalHold"]["Status"] for version in bodies]

    assert (holds(first), holds(other)) == (["ON", "ON"], ["ON"])
    markers = [key for key in our.archive.objects("state/held/") if call_key(ids_of(our)[0]) in key]
    assert len(markers) == 2


def test_a_bucket_without_object_lock_makes_a_check_red_and_fails_no_day(account: MakeAccount, tmp_path: Any) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    our = account(KROS_LEGAL_HOLD="on", KROS_FLAG_RULES=str(rules))
    verdict = our.run_day().verdict
    assert verdict.verdict == "complete"
    (sentence,) = verdict.failures["every_flagged_recording_is_held"]
    assert "has no Object Lock: 8 flagged recordings are not held" in sentence


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (ErasureRequest(reason="r"), "either call_ids or a phone_number"),
        (ErasureRequest(("a",), "+4912345678", "r"), "either call_ids or a phone_number"),
        (ErasureRequest(phone_number="12 3", reason="r"), "fewer than 6 digits"),
        (ErasureRequest(("a",), reason=" "), "needs a reason"),
        (
            ErasureRequest(("call_of_nobody",), reason="r"),
            "1 of call_ids are not in this archive.*They are: call_of_nobody",
        ),
        (ErasureRequest(("call_\ud800",), reason="r"), "1 of call_ids are not in this archive.*They are: sha256"),
    ],
)
def test_an_invalid_request_is_refused_and_nothing_is_touched(
    account: MakeAccount, request_: ErasureRequest, says: str
) -> None:
    our = account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    our.run_day()
    before = our.archive.objects()
    with pytest.raises(ErasureRefused, match=says):
        erase_calls(our.open(), request_)
    assert our.archive.objects() == before


def test_without_the_key_nothing_is_erased_and_later_runs_are_refused(account: MakeAccount) -> None:
    our = account(SMALL, bucket="plain")
    our.run_day()
    first = ids_of(our)[0]
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        forget(our, first)
    our.environment["KROS_ERASURE_KEY"] = KEY
    forget(our, first)
    del our.environment["KROS_ERASURE_KEY"]
    with pytest.raises(ArchiveDenied, match="KROS_ERASURE_KEY is missing"):
        our.open()
    our.environment["KROS_ERASURE_KEY"] = KEY[::-1]
    with pytest.raises(ArchiveDenied, match="is not the key"):
        our.open()


def test_rows_of_the_list_that_could_not_be_read_are_erased_with_their_call(archived: Callable[..., Account]) -> None:
    our = archived()
    readable, malformed = ids_of(our)[:2]
    number = "+4930123456789"
    rows = {
        "a": {"id": malformed, "created_at": None},
        "b": {"from_number": number},
        "c": {"id": readable, "to_number": number},
        "d": {"id": "call_other"},
    }
    for name, row in rows.items():
        our.archive.write(f"state/unparsed/dt={DAY}/{name}.json", json.dumps(row).encode())
    forget(our, malformed)
    assert [key[-6:] for key in our.archive.objects("state/unparsed/")] == ["b.json", "c.json", "d.json"]
    erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 20"))
    assert [key[-6:] for key in our.archive.objects("state/unparsed/")] == ["d.json"]
    assert_forgotten(our, readable, malformed)


def test_an_unparsed_row_of_another_call_that_names_the_call_goes_and_the_other_call_stays(
    archived: Callable[..., Account],
) -> None:
    our = archived(fresh=True)
    named, other, *_ = ids_of(our)
    row = {"id": other, "created_at": None, "metadata": {"transferred_from": named}}
    key = f"state/unparsed/dt={DAY}/{'0' * 32}.json"
    our.archive.write(key, json.dumps(row).encode())
    assert forget(our, named, dry_run=True).calls == 1
    found = forget(our, named, delete_upstream=True)
    assert (found.calls, found.upstream) == (1, {"deleted": 1})
    assert our.krosai.counters()["deletes_by_call"] == {named: 1}
    assert key not in our.archive.objects() and audio_key(DAY, other) in our.archive.objects()
    assert not our.open().tombstones.is_erased(other)
    assert_forgotten(our, named)


@pytest.mark.parametrize("call_id", [{"value": "A"}, ["A"]], ids=repr)
def test_an_unparsed_row_whose_id_has_the_call_id_in_it_is_the_calls(account: MakeAccount, call_id: Any) -> None:
    our = account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    our.run_day()
    first = ids_of(our)[0]
    row = json.loads(json.dumps({"id": call_id, "created_at": None}).replace('"A"', f'"{first}"'))
    our.archive.write(f"state/unparsed/dt={DAY}/{'0' * 32}.json", json.dumps(row).encode())
    forget(our, first)
    ctx = our.open()
    rows = UnparsedRows(ctx.store, ctx.tombstones, None)
    assert rows.is_of_erased_call(DAY, json.dumps(row | {"cost_cents": 1}))


def test_a_row_that_is_not_kept_because_it_names_an_erased_call_still_counts(account: MakeAccount) -> None:
    """Its own call is not archived: the day must not be complete."""
    our = account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    broken = ids_of(our)[0]
    our.krosai.set_faults(Faults(list_malformed=Fault(calls=(broken,), value="missing_created_at")))
    our.run_day()
    (key,) = our.archive.objects("state/unparsed/")
    our.ctx.tombstones.claim_key()
    our.ctx.tombstones.add_unparsed_row(key)
    our.archive.delete(key)
    verdict = our.run_day().verdict
    assert our.archive.objects("state/unparsed/") == {}
    assert verdict.verdict == "incomplete"
    assert "(this row is not kept: it names an erased call)" in str(verdict.failures)


def test_a_hold_on_a_call_that_came_after_the_plan_ends_the_erasure_before_it_deletes(
    archived: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of the number comes while the erasure begins, and its call is under legal hold."""
    our = archived()
    number = "+4930123456789"
    erased, held = ids_of(our)[:2]
    first, second = (f"state/unparsed/dt={DAY}/{digit * 32}.json" for digit in "01")
    our.archive.write(first, json.dumps({"id": erased, "from_number": number}).encode())
    our.ctx.governance.place_legal_hold(audio_key(DAY, held))
    true = Tombstones.add_call

    def add_call(this: Tombstones, day: date, call_id: str) -> None:
        true(this, day, call_id)
        our.archive.write(second, json.dumps({"id": held, "from_number": number}).encode())

    monkeypatch.setattr(Tombstones, "add_call", add_call)
    audio = our.archive.objects("audio/")
    with pytest.raises(
        ErasureUnfinished, match=r"1 of the calls came under legal hold.*Nothing more of them was.*Lift the hold"
    ):
        erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 20"))
    assert our.archive.objects("audio/") == audio
    assert not our.open().tombstones.is_erased(held)
    with pytest.raises(ErasureRefused, match="under legal hold"):
        erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 20"))


def test_a_row_without_an_id_is_not_kept_again_when_it_is_listed_again(account: MakeAccount) -> None:
    our = account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    broken = ids_of(our)[0]
    our.krosai.set_faults(Faults(list_malformed=Fault(calls=(broken,), value="missing_id")))
    our.run_day()
    (key,) = our.archive.objects("state/unparsed/")
    number = our.archive.json(key)["from_number"]
    erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 22"))
    assert our.archive.objects("state/unparsed/") == {}
    our.run_day()
    assert our.archive.objects("state/unparsed/") == {}


def test_a_reason_of_a_notification_that_names_the_call_goes_with_it(archived: Callable[..., Account]) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    red = Problem(Level.ERROR, f"nobody foresaw {call_id}", "2025-01-20T00:00:00+00:00")
    notes = ArchiveNotes(our.ctx.store)
    notes.update(lambda state: observe(state, {"day 2025-01-10": red}))
    notes.update(lambda state: observe(state, {"job erase_calls": red}))
    forget(our, call_id)
    assert mentions(our, call_id) == [] and our.archive.objects(NOTIFICATIONS) == {}


def test_a_copy_outside_the_layout_is_found_and_named(archived: Callable[..., Account]) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    aside = f"set-aside/{call_id}.mp3"
    our.archive.write(aside, b"x")
    with pytest.raises(ErasureUnfinished, match=rf"1 objects still hold something: {aside}.*Delete by hand .* report"):
        forget(our, call_id)
    our.archive.delete_version(aside, version_of(our, aside))
    forget(our, call_id)
    assert mentions(our, call_id) == []


def test_an_overwritten_audit_log_stays_while_it_names_no_erased_call(
    archived: Callable[..., Account],
) -> None:
    our = archived()
    key = f"audit/dt={DAY}/some-run-recordings.jsonl"
    for name in ("call_true", "call_forged"):
        our.archive.write(key, json.dumps({"call": name}).encode())
    forget(our, ids_of(our)[0])
    assert {body for (name, _), body in every_version(our).items() if name == key} == {
        b'{"call": "call_true"}', b'{"call": "call_forged"}',
    }  # fmt: skip


def version_of(our: Account, key: str) -> str:
    return next(version for name, version in every_version(our) if name == key)


def test_a_reason_that_names_the_call_is_refused(archived: Callable[..., Account]) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    before = every_version(our)
    with pytest.raises(ErasureRefused, match="must name nobody"):
        forget(our, call_id, reason=f"because of {call_id}")
    assert every_version(our) == before


def test_a_bucket_that_keeps_everything_for_a_time_is_refused_before_anything_is_touched(
    archived_in_s3: Callable[..., Account], s3_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = archived_in_s3()
    before = every_version(our)
    bucket = "bucket-that-keeps"
    s3_client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    s3_client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    governance = our.ctx.governance
    assert not governance.has_default_retention()
    monkeypatch.setattr(governance, "_bucket", bucket)
    assert governance.has_default_retention()
    with pytest.raises(ErasureRefused, match="has a default retention"):
        erase_calls(our.ctx, ErasureRequest((ids_of(our)[0],), reason="request 23"))
    assert every_version(our) == before


# Killed anywhere, and launched again.


class _Killed(BaseException):
    pass


class _Writes:
    """Counts what is written and deleted, and kills the run at the one with a given number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.kill_at, self._lock = 0, -1, threading.Lock()
        for kind, name in ((MemoryObjectStore, "put"), (MemoryGovernance, "delete")):
            true = getattr(kind, name)

            def counted(this: Any, *args: Any, _true: Any = true, **kwargs: Any) -> Any:
                with self._lock:
                    self.count += 1
                    if self.count == self.kill_at:
                        raise _Killed
                return _true(this, *args, **kwargs)

            monkeypatch.setattr(kind, name, counted)


def test_an_erasure_that_is_killed_before_any_write_and_launched_again_ends_the_same(
    archived: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = archived()
    writes = _Writes(monkeypatch)
    calls = our.archive.by_call("calls", DAY)
    numbers = {call_id: {row["from_number"], row["to_number"]} for call_id, row in calls.items()}
    left = list(numbers)
    forgotten: set[str] = set()
    for kill_at in (2, 4, 8, 13):
        number = calls[left[0]]["from_number"]
        meant = {call_id for call_id in left if number in numbers[call_id]}
        writes.count, writes.kill_at = 0, kill_at
        try:
            erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 19"))
            killed = False
        except _Killed:
            killed = True
        assert killed, f"there are fewer than {kill_at} writes"
        writes.kill_at = -1
        erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 19"))
        forgotten |= meant
        left = [call_id for call_id in left if call_id not in forgotten]
        assert_forgotten(our, *forgotten)
        if not left:
            break


# Beside a run at work.


def test_a_run_that_had_read_the_call_before_does_not_restore_it(
    archived: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has listed the call, and fetched its audio; then it is erased; then the run goes on."""
    our = archived()
    call_id = ids_of(our)[0]
    for key in [
        audio_key(DAY, call_id),
        *(f"tables/{name}/dt={DAY}/part-0.parquet" for name in ("recordings", "utterances")),
    ]:
        our.archive.delete(key)
    step_run = our.open()
    true = Tombstones.is_erased
    erased_meanwhile: list[bool] = []

    def erase_first(this: Tombstones, its_id: str, **more: Any) -> bool:
        if its_id == call_id and not erased_meanwhile:
            erased_meanwhile.append(True)
            forget(our, call_id)
        return true(this, its_id, max_age_seconds=0.0)

    monkeypatch.setattr(Tombstones, "is_erased", erase_first)
    list_calls(step_run, DAY)
    for step in (archive_recordings, fetch_transcripts, split_utterances):
        step(step_run, DAY)
    reconcile_day(step_run, DAY)
    assert erased_meanwhile
    assert_forgotten(our, call_id)


def test_a_table_that_was_read_before_the_tombstone_is_not_written_with_the_call(
    archived: Callable[..., Account],
) -> None:
    our = archived()
    call_id = ids_of(our)[0]
    ctx = our.open()

    def erase_while_building(present: Any) -> Iterator[Any]:
        batches = list(present.batches())
        if call_id in batches[0].column("call_id").to_pylist():
            forget(our, call_id)
        yield from batches

    ctx.tables.commit(schemas.CALLS, DAY, erase_while_building)
    assert_forgotten(our, call_id)


# Upstream.


def test_upstream_deletes_once_where_that_is_wanted(archived: Callable[..., Account]) -> None:
    our = archived(fresh=True)
    call_id = ids_of(our)[0]
    found = forget(our, call_id, delete_upstream=True)
    assert found.upstream == {"deleted": 1}
    found = forget(our, call_id, delete_upstream=True)
    assert found.upstream == {"deleted": 1}
    assert our.krosai.counters()["deletes_by_call"] == {call_id: 1}
    assert_forgotten(our, call_id)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("200 PLAN_LIMIT", "refused"),
        ("403 html", "refused"),
        ("404 NOT_FOUND", "refused"),  # upstream has the recording: deleting is not offered here
        ("200 html", "unconfirmed"),
        ("404 html", "unconfirmed"),
        ("302 html", "unconfirmed"),
    ],
)
def test_nothing_is_said_to_be_deleted_that_was_not(archived: Callable[..., Account], value: str, outcome: str) -> None:
    our = archived(fresh=True)
    call_id = ids_of(our)[0]
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("delete",), value=value)))
    found = forget(our, call_id, delete_upstream=True)
    assert found.upstream == {outcome: 1} and found.problems
    assert our.krosai.counters()["deletes_by_call"] == {}


def test_a_404_to_a_deletion_means_gone_where_the_recording_is_gone(archived: Callable[..., Account]) -> None:
    our = archived(fresh=True)
    call_id = ids_of(our)[0]
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("delete", "recording"), value="404 NOT_FOUND")))
    assert forget(our, call_id, delete_upstream=True).upstream == {"was gone": 1}


def test_a_deletion_upstream_is_repeated_only_where_the_first_certainly_failed(
    archived: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = archived(fresh=True)
    first, second = ids_of(our)[:2]
    asked: list[str] = []

    def answer(error: Exception | None) -> Any:
        def delete(this: KrosAI, call_id: str) -> None:
            asked.append(call_id)
            if error is not None:
                raise error

        return delete

    monkeypatch.setattr(KrosAI, "delete_recording", answer(ApiServerError(f"status 500, “{first} is busy”")))
    found = forget(our, first, delete_upstream=True)
    assert found.upstream == {"unconfirmed": 1} and first not in str(found.problems)
    assert forget(our, first, delete_upstream=True).upstream == {"unconfirmed": 1}
    assert asked == [first]

    monkeypatch.setattr(KrosAI, "delete_recording", answer(ApiUnreachable("refused", surely_not_sent=True)))
    with pytest.raises(ErasureUnfinished, match="launch the job again"):
        forget(our, second, delete_upstream=True)
    monkeypatch.setattr(KrosAI, "delete_recording", answer(None))
    number = "+4900000000000"  # any later erasure takes up what is left
    assert erase_calls(our.open(), ErasureRequest(phone_number=number, reason="r")).upstream == {"deleted": 1}
    assert asked == [first, second, second]
    assert_forgotten(our, first, second)


def test_an_unfinished_erasure_is_finished_with_its_own_options_and_passes_none_to_another(
    archived: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    our = archived(fresh=True)
    first, second = ids_of(our)[:2]
    our.krosai.set_faults(Faults(api_rate_limited=Fault(routes=("delete",), value="3600")))
    with pytest.raises(ErasureUnfinished, match="launch the job again"):
        forget(our, first, delete_upstream=True, reason="of the first")
    our.krosai.set_faults(Faults())
    found = forget(our, second, reason="of the second")
    assert found.upstream == {"deleted": 1}
    assert our.krosai.counters()["deletes_by_call"] == {first: 1}
    accounts = [line for (key, _), body in every_version(our).items() if "audit/" in key for line in body.splitlines()]
    for call_id, reason in ((first, "of the first"), (second, "of the second")):
        mine = [json.loads(line) for line in accounts if pseudonym(KEY, call_id).encode() in line]
        assert {line["reason"] for line in mine if line["event"] == "erased"} == {reason}
    assert_forgotten(our, first, second)


def test_an_erasure_leaves_the_calls_of_other_runs_unchanged(account: MakeAccount) -> None:
    """In a bucket without versions, too; and neighbours keep every byte."""
    our = account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    our.run_day()
    our.run_day(date(2025, 1, 9))
    audio = our.archive.objects("audio/")
    call_id = ids_of(our)[3]
    forget(our, call_id)
    assert our.archive.objects("audio/") == {key: etag for key, etag in audio.items() if key != audio_key(DAY, call_id)}
    assert our.archive.by_call("calls", DAY).keys() == set(ids_of(our)) - {call_id}


ERASE_IN_A_PROCESS_OF_ITS_OWN = """
import os
import re
from kros_pipeline.operations.erasure import open_eraser
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.steps.run_context import open_run_context

request = ErasureRequest(phone_number=os.environ["NUMBER"], reason="request 21")
open_eraser(open_run_context(os.environ)).erase(request)
"""


def test_an_erasure_that_the_system_kills_is_finished_by_the_next_launch(s3_account: MakeAccount) -> None:
    """SIGKILL once the plan is there, and once the first tombstone is; the number is in no table then, perhaps."""
    our = s3_account(SMALL, bucket="plain", KROS_ERASURE_KEY=KEY)
    our.run_day()
    calls = our.archive.by_call("calls", DAY)
    number = calls[ids_of(our)[0]]["from_number"]
    meant = {call_id for call_id, row in calls.items() if number in (row["from_number"], row["to_number"])}
    for sign in ("state/erasing/", "state/erased/"):
        environment = {**os.environ, **our.environment, "NUMBER": number}
        with subprocess.Popen([sys.executable, "-c", ERASE_IN_A_PROCESS_OF_ITS_OWN], env=environment) as process:
            deadline = time.monotonic() + 60
            while not our.archive.objects(sign) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            process.kill()
        assert our.archive.objects("state/erasing/"), "it was over before it could be killed"
    erase_calls(our.open(), ErasureRequest(phone_number=number, reason="request 21"))
    assert_forgotten(our, *meant)
    assert our.archive.objects("state/erasing/") == {}
