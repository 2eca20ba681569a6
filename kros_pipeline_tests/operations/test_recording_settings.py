"""The job that turns recording on: one request, launched only by an operator."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
import requests

from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import Account, MakeAccount

TURN_ON = {"ops": {"change_settings_at_krosai": {"config": {"dry_run": False}}}}


def launch(
    our: Account, monkeypatch: pytest.MonkeyPatch, run_config: dict[str, Any] | None = TURN_ON
) -> dg.ExecuteInProcessResult:
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs().resolve_job_def("turn_on_recording")
        return job.execute_in_process(run_config=run_config, instance=instance, raise_on_error=False)


def said(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


@pytest.fixture
def our(account: MakeAccount) -> Account:
    return account()


def test_recording_and_transcription_are_turned_on_by_one_request(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    request = requests.Session.request

    def noting(session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        sent.append((method, url, options["json"]))
        return request(session, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", noting)
    result = launch(our, monkeypatch)
    assert result.success
    assert sent == [
        ("PATCH", our.krosai.base_url + "/settings", {"recording_enabled": True, "transcription_enabled": True})
    ]
    assert our.requests() == {"settings": 1}
    assert our.archive.objects() == {}
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    shown = output.step_output_data.metadata
    assert {name: value.value for name, value in shown.items()} == {
        "recording_enabled": True, "transcription_enabled": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(api_error=Fault(value=503)), "status 503"),
        (Faults(api_reset=Fault()), "no answer"),
        (Faults(api_key_refused=Fault()), "Check KROSAI_API_KEY"),
    ],
    ids=["503", "reset", "key"],
)
def test_a_failure_is_reported_and_never_followed_by_a_second_request(
    our: Account, monkeypatch: pytest.MonkeyPatch, faults: Faults, words: str
) -> None:
    our.krosai.set_faults(faults)
    result = launch(our, monkeypatch)
    assert not result.success
    assert words in said(result) and "launch the job once more" in said(result)
    assert our.requests() == {"settings": 1}


def test_a_launch_as_the_launchpad_opens_sends_nothing_and_says_what_would_be_sent(
    our: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = launch(our, monkeypatch, run_config=None)
    assert result.success and our.requests() == {}
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    shown = output.step_output_data.metadata["dry run"].value
    assert shown == "nothing was sent: PATCH /settings with recording_enabled: true, transcription_enabled: true"


# 429 is an answer: the request had no effect, and is sent again when the server says so.
def test_a_request_that_is_throttled_for_a_moment_is_retried(our: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    our.krosai.set_faults(Faults(api_rate_limited=Fault(attempts=1)))
    assert launch(our, monkeypatch).success
    assert our.requests() == {"settings": 2}


def test_no_schedule_and_no_sensor_launches_it() -> None:
    repository = defs().get_repository_def()
    assert repository.has_job("turn_on_recording")
    assert "turn_on_recording" not in {schedule.job_name for schedule in repository.schedule_defs}
    assert [target.job_name for sensor in repository.sensor_defs for target in sensor.targets] == []
