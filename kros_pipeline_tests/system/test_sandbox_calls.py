"""The drawn calls are reproducible and have what an archive must handle."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from kros_pipeline.sandbox import SandboxConfig
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
