"""Erasure and verification as an operator meets them in Dagster: what they say, and what they leave in its storage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.definitions import defs
from kros_pipeline.operations import erasure as erase
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import table_key

KEY = "an erasure key of the tests, of more than 32 characters"
NUMBER_VARIABLE = "TEST_NUMBER_TO_ERASE"
Launch = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def our(account: MakeAccount) -> Account:
    made = account(replace(PLAIN, audio_seconds=(1, 2)), bucket="plain", KROS_ERASURE_KEY=KEY)
    made.run_day()
    return made


@pytest.fixture
def launch(our: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(erase, "_SETTLE_SECONDS", 0.0)
    with dg.DagsterInstance.ephemeral() as instance:

        def run(job: str, op: str, **config: Any) -> dg.ExecuteInProcessResult:
            return (
                defs()
                .resolve_job_def(job)
                .execute_in_process(
                    instance=instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
                )
            )

        yield run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def said(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def ids_of(our: Account) -> list[str]:
    return sorted(our.archive.by_call("calls", DAY))


def test_a_number_from_the_environment_is_erased_and_dagster_never_stores_it(
    our: Account, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = our.archive.table("calls", DAY)[0]["from_number"]
    monkeypatch.setenv(NUMBER_VARIABLE, number)
    config = {"phone_number": {"env": NUMBER_VARIABLE}, "reason": "request 1"}
    result = launch("erase_calls", "erase", dry_run=True, **config)
    reported = shown(result)
    assert reported["dry run"] == "nothing was touched" and reported["objects of these calls only"] >= 1
    result = launch("erase_calls", "erase", **config)
    reported = shown(result)
    assert result.success and reported["proof"] == "the search found nothing"
    assert reported["searched"].startswith("every version of every object of the calls' days and of those beside")
    assert reported["calls"] >= 1 and reported["days"] == str(DAY) and "Backups" in reported["not reached"]
    assert "index of a reviewer's page that is not running" in reported["not reached"]
    assert number not in str(result.all_events) + str(result.dagster_run)
    rows = our.archive.table("calls", DAY)
    assert rows and not [row for row in rows if number in (row["from_number"], row["to_number"])]


def test_an_unknown_call_is_refused_by_name_in_one_sentence(our: Account, launch: Launch) -> None:
    before = our.archive.objects()
    result = launch("erase_calls", "erase", call_ids=["call_of_nobody"], reason="request 2")
    assert said(result).startswith(
        "1 of call_ids are not in this archive. Nothing was touched. They are: call_of_nobody."
    )
    assert our.archive.objects() == before


def test_without_a_reason_the_launch_is_refused(launch: Launch) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="reason"):
        launch("erase_calls", "erase", call_ids=["a"])


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {check.check_name: (check.passed, check.description or "") for check in result.get_asset_check_evaluations()}


def test_changed_bytes_make_the_check_red_which_says_where_and_what_to_do(our: Account, launch: Launch) -> None:
    result = launch("verify_archive", "verification", days=[str(DAY)])
    assert result.success
    assert checks_of(result)["every_object_is_as_it_was_archived"][0]
    key = audio_key(DAY, ids_of(our)[0])
    body = bytearray(our.archive.read(key))
    body[100] ^= 255
    our.archive.write(key, bytes(body))
    result = launch("verify_archive", "verification", everything=True)
    passed, words = checks_of(result)["every_object_is_as_it_was_archived"]
    assert not result.success and not passed
    assert said(result) == f"every_object_is_as_it_was_archived is red. {words}"
    assert words.startswith(f"1 × object with other bytes than were archived: {key}. Where bytes are others: restore")
    # What the sentence says to do, done: moved away, and the day materialized again.
    our.archive.delete(key)
    assert our.run_day().verdict.verdict == "complete"
    assert launch("verify_archive", "verification", everything=True).success


@pytest.mark.parametrize(
    ("days", "words"), [(["10.1.2025"], "write them like 2025-01-10"), (["2025-01-08"], "never archived: 2025-01-08")]
)
def test_days_that_cannot_be_read_back_are_named(launch: Launch, days: list[str], words: str) -> None:
    assert words in said(launch("verify_archive", "verification", days=days))


def test_the_audit_log_names_dagsters_run(our: Account, launch: Launch) -> None:
    result = launch("verify_archive", "verification", days=[str(DAY)])
    (key,) = [key for key in our.archive.objects(f"audit/dt={DAY}/") if key.endswith("-verify.jsonl")]
    assert key == f"audit/dt={DAY}/{result.run_id}-verify.jsonl"
    lines = [json.loads(line) for line in our.archive.read(key).splitlines()]
    assert {line["run"] for line in lines} == {result.run_id}
    assert {frozenset(line) for line in lines} == {
        frozenset({"at", "run", "step", "event", "premis", "call", "sha256"})
    }


def test_a_kept_body_is_accepted_by_a_job_after_a_dry_run_and_then_erased(our: Account, launch: Launch) -> None:
    call_id = ids_of(our)[0]
    our.archive.delete(audio_key(DAY, call_id))
    our.archive.delete(table_key("recordings", DAY))
    our.krosai.set_faults(Faults(storage_rubbish=Fault(calls=(call_id,))))
    red = our.run_day()
    assert red.verdict.verdict == "incomplete"
    body = our.archive.read(next(iter(our.archive.objects("quarantine/"))))

    assert said(launch("accept_quarantined", "accept", reason="heard it", dry_run=False)).startswith("Name the calls")
    assert said(launch("accept_quarantined", "accept", reason="heard it", day="10.1.2025")).startswith("day: ")
    config = {"day": str(DAY), "reason": "heard it"}
    dry = launch("accept_quarantined", "accept", **config)
    assert dry.success and shown(dry)["calls"] == 1 and "nothing was changed" in shown(dry)["dry run"]
    [record] = shown(dry)["would be accepted"].records
    assert record.data["call"] == call_id and record.data["rejected because"].startswith(
        "not a whole MP3: audio is lost"
    )
    assert audio_key(DAY, call_id) not in our.archive.objects()

    assert launch("accept_quarantined", "accept", **config, dry_run=False).success
    assert our.archive.read(audio_key(DAY, call_id)) == body
    assert our.archive.by_call("recordings", DAY)[call_id]["status"] == "archived"
    [row] = our.archive.table("reconciliation", DAY)
    assert row["verdict"] == "complete", row["problems"]

    assert launch("erase_calls", "erase", call_ids=[call_id], reason="a request").success
    assert not [key for key in our.archive.objects() if call_id in key]


def test_one_call_is_tried_again_by_the_config_of_recordings(our: Account, launch: Launch) -> None:
    call_id = ids_of(our)[0]
    our.archive.delete(audio_key(DAY, call_id))
    our.archive.delete(table_key("recordings", DAY))
    our.krosai.set_faults(Faults(storage_rubbish=Fault(calls=(call_id,))))
    our.run_day()
    our.krosai.set_faults(Faults())
    our.run_day()
    assert our.archive.by_call("recordings", DAY)[call_id]["status"] == "failed", "it rests"
    with dg.DagsterInstance.ephemeral() as instance:
        done = (
            defs()
            .resolve_job_def("daily_archive")
            .execute_in_process(
                instance=instance,
                partition_key=str(DAY),
                asset_selection=[dg.AssetKey("recordings")],
                run_config={"ops": {"recordings": {"config": {"call_ids": [call_id]}}}},
            )
        )
    assert done.success
    assert our.archive.by_call("recordings", DAY)[call_id]["status"] == "archived"


def test_a_dry_run_names_keys_days_and_near_matches_and_says_what_to_do_next(our: Account, launch: Launch) -> None:
    first, second = our.archive.table("calls", DAY)[:2]
    number = first["from_number"]
    config: dict[str, Any] = {"phone_number": f"0{number[4:]}", "reason": "request 1"}
    reported = shown(launch("erase_calls", "erase", dry_run=True, **config))
    assert reported["calls"] == 0 and "(2025-01-10): from_number ends in the same digits" in reported["near matches"]
    assert "candidates" in reported["what to do next"] and number[4:] not in str(reported)
    config = {"call_ids": [first["call_id"], second["call_id"]], "reason": "request 1"}
    reported = shown(launch("erase_calls", "erase", dry_run=True, **config))
    assert audio_key(DAY, first["call_id"]) in reported["keys of these calls only"]
    assert f"tables/calls/dt={DAY}/part-0.parquet" in reported["keys that hold something of them"]
    assert reported["days"] == str(DAY) and "dry_run: false" in reported["what to do next"]
    assert "not archived yet" in reported["not reached"]
    done = shown(launch("erase_calls", "erase", **config))
    assert "in every form" in done["the proof covers"] and "upload of a recording" in done["not reached"]


def test_every_text_of_the_config_may_come_from_the_environment(
    our: Account, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids_of(our)[0]
    monkeypatch.setenv("TEST_ID_TO_ERASE", first)
    monkeypatch.setenv("TEST_REASON", "request 7")
    config = {"call_ids": [{"env": "TEST_ID_TO_ERASE"}], "reason": {"env": "TEST_REASON"}}
    assert launch("erase_calls", "erase", **config).success
    assert first not in ids_of(our)
