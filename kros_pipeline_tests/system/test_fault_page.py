"""Each fault of the sandbox's page turns the check red that it names, and the runbook has the same table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from kros_pipeline.core.errors import ApiUnauthorized
from kros_pipeline.core.recorded_share import RecordedDay, find_drops
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Faults, LocalS3, Sandbox
from kros_pipeline.sandbox.fault_page import FaultPage
from kros_pipeline.sandbox.scenarios import SCENARIOS, Done, Scenario, ScenarioRefused, merge_faults, move_away
from kros_pipeline_tests.support.accounts import DAY, VARIED, Account, MakeAccount
from kros_pipeline_tests.support.steps import check_health, reconcile_day, verify_days

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
SWITCHES = [scenario for scenario in SCENARIOS if scenario.act is None and scenario.name != "key_refused"]
BEFORE = [DAY - timedelta(days=number) for number in (3, 2, 1)]
WORLD = replace(VARIED, days={**{str(day): 1 for day in BEFORE}, str(DAY): 40})
RULES = "rules:\n  - {id: everyone, description: all, duration_seconds_at_least: 0, extend_days: 120}\n"


def red_checks(our: Account, day: date = DAY) -> set[str]:
    """The checks of a day that are red after a run of all steps."""
    verdict = our.run_day(day).verdict
    red = {name for name, sentences in verdict.failures.items() if sentences}
    reports: dict[str, Any] = our.reports
    if "every_call_is_accounted_for" in red:
        red.add("the_list_was_read_whole")  # the same listing
    if reports["archive_recordings"].error:
        red.add("every_recording_was_tried")
    if reports["fetch_transcripts"].error or reports["fetch_transcripts"].problem_count:
        red.add("every_transcript_was_asked_for")
    if reports["extend_retention"].to_do:
        red.add("every_extension_is_confirmed")
    return red


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


@pytest.mark.parametrize("scenario", SWITCHES, ids=[scenario.name for scenario in SWITCHES])
def test_a_switch_turns_the_check_red_that_it_names(
    memory_account: MakeAccount, rules: str, scenario: Scenario
) -> None:
    our = memory_account(WORLD, KROS_FLAG_RULES=rules)
    our.krosai.set_faults(merge_faults([scenario.faults]))
    empty_day = BEFORE[0] - timedelta(days=3)
    assert scenario.turns_red in red_checks(our, empty_day if scenario.name == "counter_higher" else DAY)


def test_a_day_without_a_fault_is_green(memory_account: MakeAccount, rules: str) -> None:
    assert red_checks(memory_account(WORLD, KROS_FLAG_RULES=rules)) == set()


def test_a_refused_key_fails_the_run_and_leaves_the_day_missing(memory_account: MakeAccount) -> None:
    our = memory_account(WORLD)
    our.run_day(BEFORE[0])
    our.krosai.set_faults(merge_faults([BY_NAME["key_refused"].faults]))
    with pytest.raises(ApiUnauthorized):
        our.run_day(BEFORE[1])
    assert check_health(our.ctx, BEFORE[0], BEFORE[1]).days == [f"{BEFORE[1]} was never archived."]


def sandbox_of(our: Account, s3: LocalS3) -> Sandbox:
    config = replace(WORLD, days={str(DAY): 40}, bucket=our.archive.bucket, prefix=our.archive.prefix)
    stand_in: Any = SimpleNamespace(s3=s3, krosai=our.krosai, config=config)
    return stand_in  # type: ignore[no-any-return]


def test_each_action_of_somebody_else_turns_its_check_red(account: MakeAccount, s3: LocalS3) -> None:
    our = account(WORLD, bucket="plain")
    with pytest.raises(ScenarioRefused, match="archive a day first"):
        act("object_changed", sandbox_of(our, s3))
    our.run_day()
    sandbox = sandbox_of(our, s3)
    changed = act("object_changed", sandbox).key
    assert verify_days(our.ctx, [DAY]).drifted
    unknown = act("object_unknown", sandbox).key
    act("table_emptied", sandbox)
    failures = reconcile_day(our.ctx, DAY).verdict.failures
    assert failures[BY_NAME["object_unknown"].turns_red] and failures[BY_NAME["table_emptied"].turns_red]
    for key in (changed, unknown):
        assert "out of audio/" in move_away(sandbox, key)
    assert not any(our.run_day().verdict.failures.values())
    assert verify_days(our.ctx, [DAY]).is_sound
    act("table_deleted", sandbox)
    assert f"{DAY}: deleted since its check: the table `utterances`." in check_health(our.ctx, DAY, DAY).days


def test_each_action_of_the_account_turns_its_check_red(account: MakeAccount, s3: LocalS3) -> None:
    our = account(WORLD, fresh=True)
    done = act("bytes_shared", sandbox_of(our, s3))
    our.krosai.set_faults(merge_faults([done.faults]))
    act("recording_off", sandbox_of(our, s3))
    verdict = our.run_day().verdict
    assert verdict.failures[BY_NAME["bytes_shared"].turns_red]
    [row] = our.archive.table("reconciliation", DAY)
    recorded = [
        RecordedDay(DAY - timedelta(days=1), 30, 30),
        RecordedDay(DAY, row["calls"], row["recordings_archived"]),
    ]
    assert [drop.recorded_day.day for drop in find_drops(recorded, since=DAY)] == [DAY]


def act(name: str, sandbox: Sandbox) -> Done:
    action = BY_NAME[name].act
    assert action is not None
    return action(sandbox)


# The page.


class Switched:
    """A simulator that notes the faults that are on."""

    def __init__(self) -> None:
        self.faults = Faults()

    def set_faults(self, faults: Faults) -> None:
        self.faults = faults


@pytest.fixture
def served() -> Iterator[tuple[FaultPage, Switched]]:
    krosai = Switched()
    sandbox: Any = SimpleNamespace(krosai=krosai)
    with FaultPage(sandbox, 0) as page:
        yield page, krosai


def test_a_button_switches_a_fault_on_and_off_beside_others(served: tuple[FaultPage, Switched]) -> None:
    page, krosai = served
    for name in ("audio_damaged", "counter_higher"):
        shown = requests.post(page.address, {"fault": name}, timeout=10)
        assert shown.status_code == 200 and f"{name} is on." in shown.text
    assert krosai.faults == merge_faults([BY_NAME["audio_damaged"].faults, BY_NAME["counter_higher"].faults])
    assert requests.post(page.address, {"fault": "audio_damaged"}, timeout=10).text.count("switch off") == 1
    assert krosai.faults == merge_faults([BY_NAME["counter_higher"].faults])
    assert requests.post(page.address, {"fault": "no_such_fault"}, timeout=10).status_code == 404


@pytest.mark.parametrize("headers", [{"Origin": "https://example.com"}, {"Origin": "null"}, {"Host": "example.com"}])
def test_a_page_of_another_site_can_switch_nothing(served: tuple[FaultPage, Switched], headers: dict[str, str]) -> None:
    page, krosai = served
    refused = requests.post(page.address, {"fault": "audio_damaged"}, headers=headers, timeout=10)
    assert refused.status_code == 403 and krosai.faults == Faults()


def test_the_page_listens_on_this_machine_only(served: tuple[FaultPage, Switched]) -> None:
    assert served[0].address.startswith("http://127.0.0.1:")


# The runbook's table.


def rows_of_the_runbook() -> dict[str, list[str]]:
    section = RUNBOOK.split("## See each check red")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    return {name: [text.replace("`", "") for text in texts] for name, *texts in rows}


def test_the_runbook_has_the_table_of_the_page() -> None:
    assert rows_of_the_runbook() == {
        scenario.name: [
            text.replace("`", "") for text in (scenario.happens, scenario.turns_red, scenario.see_it, scenario.mend_it)
        ]
        for scenario in SCENARIOS
    }


def test_every_check_can_be_seen_red() -> None:
    section = RUNBOOK.split("## See each check red")[1].split("\n## ")[0]
    for key in defs().resolve_asset_graph().asset_check_keys:
        assert f"`{key.name}`" in section, f"{key.name}: no row of the table says how it is seen red"
