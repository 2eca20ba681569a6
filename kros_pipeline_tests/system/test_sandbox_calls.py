"""The drawn calls are reproducible and have what an archive must handle."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from kros_pipeline.sandbox import Fault, Faults, KrosaiSimulator, SandboxConfig
from kros_pipeline.sandbox.transcripts import HOSTILE_ODDITIES, ODDITIES, Script, write_transcript
from kros_pipeline_tests.support.sandbox_client import DAY, PLAIN, VARIED, InProcessApi


def test_equal_seeds_give_equal_calls_and_different_seeds_different_calls() -> None:
    def shown(seed: int) -> str:
        calls = InProcessApi(replace(VARIED, seed=seed)).all_calls()
        return json.dumps([{**call, "recording_url": bool(call.get("recording_url"))} for call in calls])

    assert shown(1) == shown(1) != shown(2)


def test_every_call_of_a_plain_day_is_completed_recorded_and_listed_whole(plain: InProcessApi) -> None:
    for call in plain.all_calls():
        assert call["status"] == "completed" and call["recording_url"] and call["transcript"].startswith("[Agent]: ")


def test_varied_days_have_every_status_and_every_way_to_list_recording_and_transcript(varied: InProcessApi) -> None:
    calls = varied.all_calls()
    truth = {call.id: call for call in varied.world.list_final_calls()}
    assert {call["status"] for call in calls} == {"completed", "failed", "in_progress", "busy", "no_answer"}
    assert sum(call["status"] == "completed" for call in calls) > 0.8 * len(calls)
    completed = [call for call in calls if call["status"] == "completed"]
    assert {truth[call["id"]].listed_recording for call in completed} == {"url", "null", "absent"}
    assert {truth[call["id"]].recorded for call in completed} == {True, False}
    shown = {truth[call["id"]].listed_transcript for call in completed}
    assert shown >= {"whole", "shortened", "unlabelled", "null", "absent"}
    assert any("metadata" in call for call in calls) and any("sentiment" in call for call in calls)
    assert any("recording_url" not in call for call in completed) and any(
        "transcript" not in call for call in completed
    )
    assert any(len(call["transcript"] or "") >= 20_000 for call in completed if "transcript" in call)


def test_a_varied_day_has_calls_at_its_first_and_last_moments(varied: InProcessApi) -> None:
    calls = varied.all_calls(from_date="2025-01-10T00:00:00Z", to_date="2025-01-10T23:59:59.999Z")
    times = {call["created_at"] for call in calls}
    assert {f"2025-01-10T{time}Z" for time in ("00:00:00", "00:00:01", "23:59:59", "23:59:59.500")} <= times
    assert any((call["completed_at"] or "").startswith("2025-01-11") for call in calls)


def test_the_routes_of_a_call_answer_what_the_list_does_not_show(varied: InProcessApi) -> None:
    for listed in varied.all_calls(status="completed"):
        call = next(call for call in [varied.world.find(listed["id"])] if call)
        recording = varied.answer("GET", f"/calls/{call.id}/recording")
        assert recording.status == (200 if call.recorded else 404)
        transcript = varied.answer("GET", f"/calls/{call.id}/transcript")
        assert transcript.status == (200 if call.script else 404)
        if call.script and listed.get("transcript"):
            text = json.loads(bytes(transcript.body))["transcript"]
            assert (text == listed["transcript"]) is (call.listed_transcript == "whole")
            assert call.listed_transcript == "whole" or listed["transcript"].endswith(("...", "…"))


def test_late_recordings_and_transcripts_appear_when_they_are_released() -> None:
    api = InProcessApi(replace(PLAIN, late_share=0.5))
    late = [call["id"] for call in api.all_calls() if call["recording_url"] is None]
    assert 10 < len(late) < 35
    assert api.refusal("GET", f"/calls/{late[0]}/recording") == (404, "NOT_FOUND")
    assert api.refusal("GET", f"/calls/{late[0]}/transcript") == (404, "NOT_FOUND")
    api.world.release_late()
    assert all(call["recording_url"] and call["transcript"] for call in api.all_calls())


def test_added_calls_are_listed_with_the_earlier_calls() -> None:
    api = InProcessApi(VARIED)
    before = {call["id"] for call in api.all_calls()}
    added = set(api.world.add_calls(DAY, 20))
    assert {call["id"] for call in api.all_calls()} == before | added and not before & added


def test_a_call_can_be_added_at_an_exact_moment_and_with_a_given_duration() -> None:
    api = InProcessApi(replace(VARIED, late_share=1.0))
    call_id = api.world.add_call("2025-01-10T18:30:00-05:00", duration_seconds=14_400, recorded=False)
    call = api.get(f"/calls/{call_id}")
    assert (call["created_at"], call["completed_at"][:13]) == ("2025-01-10T23:30:00Z", "2025-01-11T03")
    assert (call["duration"], call["status"], call["recording_url"]) == (14_400, "completed", None)
    assert call["transcript"].startswith("[Agent]: ")
    window = {"from_date": "2025-01-10T23:30:00Z", "to_date": "2025-01-10T23:30:00Z", "status": "completed"}
    assert call in api.all_calls(**window)


def test_an_added_call_is_ordinary_and_recorded_unless_it_says_otherwise() -> None:
    api = InProcessApi(replace(VARIED, late_share=1.0))
    added = [api.world.add_call("2025-02-01T00:00:00", call_id=name) for name in (None, None, "call_mine")]
    calls = [api.get(f"/calls/{call_id}") for call_id in added]
    assert len(set(added)) == 3 and added[2] == "call_mine"
    assert len({call["transcript"] for call in calls}) == 3
    for call in calls:
        assert call["created_at"] == "2025-02-01T00:00:00Z" and call["status"] == "completed"
        assert api.get(f"/calls/{call['id']}/recording")["duration_seconds"] == call["duration"]


@pytest.mark.parametrize("status", ["failed", "in_progress", "ringing"])
def test_an_added_call_can_have_any_status(status: str) -> None:
    api = InProcessApi(replace(PLAIN, days={DAY: 0}))
    call_id = api.world.add_call("2025-01-10T12:00:00Z", status=status)
    [call] = api.all_calls(status=status)
    assert (call["id"], call["recording_url"], call["transcript"]) == (call_id, None, None)
    assert (call["answered_at"] is None, call["completed_at"] is None) == (
        status != "in_progress",
        status == "in_progress",
    )


def test_a_call_that_cannot_be_added_is_refused() -> None:
    api = InProcessApi(replace(PLAIN, days={DAY: 1}))
    [known] = [call.id for call in api.world.list_final_calls()]
    with pytest.raises(ValueError, match=f"there is a call {known} already"):
        api.world.add_call("2025-01-10T12:00:00Z", call_id=known)
    with pytest.raises(ValueError, match="duration_seconds must not be negative, but is -1"):
        api.world.add_call("2025-01-10T12:00:00Z", duration_seconds=-1)
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        api.world.add_call("noon")
    assert api.get("/calls")["total"] == 1


def test_a_removed_call_can_be_added_again_with_other_properties() -> None:
    api = InProcessApi(replace(PLAIN, days={DAY: 0}))
    for seconds in (10, 20):
        call_id = api.world.add_call("2025-01-10T12:00:00Z", call_id="call_mine", duration_seconds=seconds)
        assert api.get(f"/calls/{call_id}")["duration"] == seconds
        api.world.remove_call(call_id)


def test_a_moved_call_keeps_everything_but_its_times() -> None:
    api = InProcessApi(replace(PLAIN, days={DAY: 3}))
    before = api.all_calls()[0]
    seconds = 86_400.5
    moved_to = api.world.move_call(before["id"], seconds)
    after = api.get(f"/calls/{before['id']}")
    names = {name for name in after if after[name] != before[name]}
    assert names == {"created_at", "answered_at", "completed_at", "recording_url"}
    for name in names - {"recording_url"}:
        moved = datetime.fromisoformat(after[name]) - datetime.fromisoformat(before[name])
        assert moved == timedelta(seconds=seconds)
    assert after["created_at"] == moved_to and moved_to.startswith("2025-01-11T")
    window = {"from_date": "2025-01-11T00:00:00Z", "to_date": "2025-01-11T23:59:59.999Z"}
    assert [call["id"] for call in api.all_calls(**window)] == [before["id"]]


def test_a_call_that_is_moved_before_it_completes_stays_in_progress() -> None:
    api = InProcessApi(replace(PLAIN, faults=Faults(list_completing=Fault())))
    call_id = api.world.list_final_calls()[0].id
    moved_to = api.world.move_call(call_id, -3600)
    assert api.get(f"/calls/{call_id}")["status"] == "in_progress"
    api.world.complete_calls()
    call = api.get(f"/calls/{call_id}")
    assert (call["status"], call["created_at"]) == ("completed", moved_to)


def test_a_simulator_in_another_process_adds_and_moves_calls_and_changes_how_they_are_listed() -> None:
    with KrosaiSimulator(replace(PLAIN, days={DAY: 0})) as krosai:
        call_id = krosai.add_call("2025-01-10T23:30:00Z", duration_seconds=60)
        assert krosai.move_call(call_id, 3600) == "2025-01-11T00:30:00Z"
        assert [call["id"] for call in krosai.expected_calls("2025-01-11")] == [call_id]
        krosai.change_config(times="naive", zone_hours=1.0)
        assert (krosai.config.times, krosai.config.zone_hours) == ("naive", 1.0)
        headers = {"x-api-key": krosai.config.api_key}
        page = requests.get(f"{krosai.base_url}/calls", headers=headers, timeout=10).json()
        assert [call["created_at"] for call in page["calls"]] == ["2025-01-11T01:30:00"]
        with pytest.raises(ValueError, match="change_config: a running simulator cannot change seed"):
            krosai.change_config(seed=1)
        with pytest.raises(ValueError, match="move_call: 'call_unknown'"):
            krosai.move_call("call_unknown", 1)


def test_each_day_can_have_its_own_number_of_calls() -> None:
    api = InProcessApi(SandboxConfig(days={DAY: 20_000, "2025-01-11": 3}))
    assert api.get("/calls", limit=100, offset=19_990)["total"] == 20_003


@pytest.mark.parametrize("style", ["uuid", "hostile"])
def test_every_id_can_be_requested_when_it_is_percent_encoded(style: Any) -> None:
    api = InProcessApi(replace(PLAIN, id_style=style, days=(DAY, "2025-01-11")))
    ids = [call["id"] for call in api.all_calls()]
    assert len(set(ids)) == len(ids) == 90
    for call_id in ids:
        assert api.get(f"/calls/{quote(call_id, safe='')}")["id"] == call_id
    if style == "hostile":
        assert {"..", "../../etc/passwd", "%2F", "call_ABC", "call_abc", "x" * 600} <= set(ids)


@pytest.mark.parametrize("oddity", ["", *ODDITIES, *HOSTILE_ODDITIES])
def test_each_transcript_oddity_changes_the_text_in_the_same_way_each_time(oddity: str) -> None:
    script = Script("seed", turns=12, oddity=oddity)
    write_transcript.cache_clear()
    text = write_transcript(script)
    write_transcript.cache_clear()
    assert text == write_transcript(script)
    assert (text == write_transcript(Script("seed", turns=12))) is (oddity == "")


def test_transcripts_have_many_languages_and_a_minority_of_oddities(varied: InProcessApi) -> None:
    scripts = [call.script for call in varied.world.list_final_calls() if call.script]
    assert 0.05 < sum(script.oddity != "" for script in scripts) / len(scripts) < 0.25
    assert {script.language_code for script in scripts} >= {"en", "yo", "ha", "ig", "fr", "es", "ar", "zh"}
    assert sum(script.language_code == "en" for script in scripts) > 0.7 * len(scripts)
    texts = [write_transcript(script) for script in scripts]
    assert any("lawyer" in text for text in texts) and any("refund" in text for text in texts)
