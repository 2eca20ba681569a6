"""Monday morning: what the UI shows of an archive with a day that fails answers the seven questions of an operator.

The UI gets all that it shows by GraphQL. `chromium/test_monday_morning.py` finds the same answers with a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_graphql.test.utils import define_out_of_process_context, execute_dagster_graphql

import kros_pipeline.steps.run_context
from kros_pipeline.archive_checks import DAYS_CHECK, REFUSALS_CHECK
from kros_pipeline.core.verdict import RECORDINGS_CHECK
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Fault, Faults, KrosaiSimulator, SandboxConfig
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import PLAIN, environment_of
from kros_pipeline_tests.support.archive_check import completed_of
from kros_pipeline_tests.support.memory_store import MemoryArchive, open_memory_archive

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
TODAY = datetime.now(UTC).date()
GOOD, BAD = TODAY - timedelta(days=3), TODAY - timedelta(days=2)
YESTERDAY_MAY_BE_DUE = (0, 1)
RULES = "rules:\n  - {id: all, extend_days: 300}\n"

ASSET = """
query($key: AssetKeyInput!, $partitions: [String!]) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(limit: 1) { ...entries }
    assetObservations(limit: 1, partitions: $partitions) { description ...observed }
    assetChecksOrError { ... on AssetChecks { checks {
      name description
      executionForLatestMaterialization { status evaluation { success severity description metadataEntries { label } } }
    } } }
  } }
}
fragment entries on MaterializationEvent { metadataEntries { ...entry } }
fragment observed on ObservationEvent { metadataEntries { ...entry } }
fragment entry on MetadataEntry {
  label
  ... on TextMetadataEntry { text }
  ... on IntMetadataEntry { intValue }
  ... on FloatMetadataEntry { floatValue }
}
"""


def values_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    [event] = events
    found = {}
    for entry in event["metadataEntries"]:
        value = [entry.get(name) for name in ("text", "intValue", "floatValue")]
        found[entry["label"]] = next((one for one in value if one is not None), None)
    return found


class UI:
    """What the UI asks."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def asset(self, name: str, *partitions: str) -> dict[str, Any]:
        variables = {"key": {"path": [name]}, "partitions": list(partitions) or None}
        node: dict[str, Any] = execute_dagster_graphql(self._context, ASSET, variables).data["assetNodeOrError"]
        return node

    def numbers(self) -> dict[str, Any]:
        return values_of(self.asset("archive")["assetMaterializations"])

    def check(self, asset: str, name: str) -> dict[str, Any]:
        checks = self.asset(asset)["assetChecksOrError"]["checks"]
        [found] = [check for check in checks if check["name"] == name]
        evaluation: dict[str, Any] = found["executionForLatestMaterialization"]["evaluation"]
        return evaluation


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def ui(
    simulators: Callable[[SandboxConfig], KrosaiSimulator],
    monkeypatch_module: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[UI]:
    """Archive a good and a bad day, and look at the archive, as the schedules do; then open the UI's own schema."""
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    krosai = simulators(replace(PLAIN, days={str(GOOD): 3, str(BAD): 8}))
    archive = MemoryArchive("memory", "monday")
    settings = {"KROS_START_DATE": str(GOOD), "KROS_FLAG_RULES": str(rules), "KROS_LOOKBACK_DAYS": "0"}

    def opened(texts: Any) -> RunContext:
        return open_run_context(texts, open_archive=open_memory_archive)

    monkeypatch_module.setattr(kros_pipeline.steps.run_context, "open_run_context", opened)
    for name, value in (environment_of(krosai, archive) | settings).items():
        monkeypatch_module.setenv(name, value)
    broken = sorted(completed_of(krosai, BAD))
    with dg.DagsterInstance.local_temp() as instance:
        repository = defs().get_repository_def()

        def launch(job: str, **tags: str) -> None:
            repository.get_job(job).execute_in_process(instance=instance, raise_on_error=False, tags=tags)

        launch("daily_archive", **{"dagster/partition": str(GOOD)})
        krosai.set_faults(
            Faults(
                storage_html=Fault(calls=tuple(broken[:3])),
                storage_denied=Fault(calls=tuple(broken[3:5])),
                extend_refused=Fault(),
            )
        )
        launch("daily_archive", **{"dagster/partition": str(BAD)})
        launch("standing_checks_job")
        with define_out_of_process_context(str(WORKSPACE), None, instance) as context:
            yield UI(context)
    archive.forget()


def test_is_everything_safe(ui: UI) -> None:
    numbers = ui.numbers()
    assert (numbers["days complete"], numbers["days incomplete"]) == (1, 1)
    assert numbers["days missing"] in YESTERDAY_MAY_BE_DUE
    check = ui.check("archive", DAYS_CHECK)
    assert not check["success"] and f"{BAD} is incomplete: 5 × recording failed" in check["description"]


def test_what_is_owed(ui: UI) -> None:
    numbers = ui.numbers()
    assert (numbers["days owed"], numbers["oldest day owed"]) == (1 + numbers["days missing"], str(BAD))
    assert numbers["days left before upstream deletes the oldest day owed"] == 90 - 2


def test_how_much_of_the_quota_is_used(ui: UI) -> None:
    numbers = ui.numbers()
    assert 10 < numbers["API requests today"] < 1_000
    assert numbers["API requests that the plan allows a day"] == 500_000


def test_what_was_moved(ui: UI) -> None:
    numbers = ui.numbers()
    assert numbers["recordings archived"] == numbers["recordings archived today"] == 3 + 3
    assert numbers["audio (minutes)"] > 0 and numbers["calls"] == 11


def test_what_does_it_cost(ui: UI) -> None:
    numbers = ui.numbers()
    assert numbers["S3 cost of the month (US dollars, estimate)"] >= 0
    assert numbers["S3 write requests this month"] > 20
    assert numbers["S3 cost is estimated by"].startswith("list prices of 20")


def test_which_days_fail_and_why(ui: UI) -> None:
    assert str(BAD) in ui.numbers()["which days, and why"]
    day = ui.asset("reconciliation", str(BAD))
    assert day["assetMaterializations"], "the good day is materialized, and the bad one is not"
    seen = values_of(day["assetObservations"])
    assert seen["verdict"] == "incomplete"
    assert (
        "3 × not a whole MP3" in seen["problems"]
        and "2 × the storage does not accept the URL (status 403)" in seen["problems"]
    )
    assert "owed_days_schedule tries the day again" in seen["what happens next"]
    assert (seen["recordings safe"], seen["recordings expected"], seen["recordings failed"]) == (3, 8, 5)


def test_the_check_of_a_failed_day_has_the_reason_and_what_to_do(ui: UI) -> None:
    checks = ui.asset("reconciliation")["assetChecksOrError"]["checks"]
    assert all('"Partitions"' in check["description"] for check in checks)
    assert RECORDINGS_CHECK in {check["name"] for check in checks}


def test_refused_extensions_are_a_warning_with_their_days(ui: UI) -> None:
    check = ui.check("archive", REFUSALS_CHECK)
    assert (check["success"], check["severity"]) == (False, "WARN")
    assert "8 extensions of the retention were refused." in check["description"] and str(BAD) in check["description"]
    assert (
        "8 × extension of the retention refused by upstream"
        in values_of(ui.asset("reconciliation", str(BAD))["assetObservations"])["problems"]
    )
