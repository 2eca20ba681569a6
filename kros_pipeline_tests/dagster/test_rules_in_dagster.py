"""Rules as an operator meets them in Dagster: tried on old days, stale when they change, applied without a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kros_pipeline.definitions import defs
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount

OLD = "rules:\n  - {id: greeting, text_matches: 'thank you for calling', extend_days: 90}\n"
NEW = """
rules:
  - {id: greeting, text_matches: 'thank you for calling', speaker: caller, extend_days: 90}
  - {id: anything, text_matches: '.', extend_days: 90}
  - {id: never, text_matches: 'words that nobody says', extend_days: 90}
"""


@pytest.fixture
def our(account: MakeAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    path = tmp_path / "rules.yaml"
    path.write_text(OLD)
    made = account(replace(PLAIN, days={str(DAY): 5}, audio_seconds=(1, 2)), KROS_FLAG_RULES=str(path))
    made.run_day()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    made.krosai.reset_counters()
    return made


@contextmanager
def dagster() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def try_rules(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    job = defs().resolve_job_def("test_rules")
    config = {"ops": {"try_rules": {"config": config}}}
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    [output] = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


def test_rules_are_tried_on_archived_days_and_nothing_is_written_or_sent(our: Account, tmp_path: Path) -> None:
    new, before = tmp_path / "new.yaml", our.archive.objects()
    new.write_text(NEW)
    with dagster() as instance:
        result = try_rules(instance, days=[f"{DAY}..2025-01-12"], rules_file=str(new))
        assert result.success
        reported = shown(result)
        assert (reported["days"], reported["calls"], reported["flagged calls"]) == (1, 5, 5)
        assert reported["flagged nothing"] == "greeting, never"
        rows = {record.data["rule"]: record.data for record in reported["by rule"].records}
        assert [rows["anything"][name] for name in ("flagged calls", "new", "no more")] == [5, 5, 0]
        assert [rows["greeting"][name] for name in ("flagged calls", "new", "no more")] == [0, 0, 5]
        assert rows["anything"]["sample"].count(str(DAY)) == 5 and "call_" in rows["anything"]["sample"]
        assert "2025-01-11: calls of 2025-01-11 is missing" in reported["days without tables"]
        assert shown(try_rules(instance, days=[str(DAY)]))["flagged nothing"] == "none"  # KROS_FLAG_RULES
    assert our.archive.objects() == before and our.requests() == {}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"days": []}, "days: name at least one"),
        ({"days": ["10.1.2025"]}, "days: '10.1.2025' is no day like 2025-01-10"),
        ({"days": ["2025-01-10..2025-01-09"]}, "is an empty range"),
        ({"days": ["2025-01-10"], "rules_file": "/nowhere.yaml"}, "rules_file (/nowhere.yaml) cannot be read"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_sentence(our: Account, config: dict[str, Any], words: str) -> None:
    with dagster() as instance:
        result = try_rules(instance, **config)
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert words in str(event.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def materialize(instance: dg.DagsterInstance, *names: str) -> dg.ExecuteInProcessResult:
    job = defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        partition_key=str(DAY),
        asset_selection=[dg.AssetKey(name) for name in names],
        raise_on_error=False,
    )


def metadata_of(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    [materialization] = result.asset_materializations_for_node(name)
    return {key: value.value for key, value in materialization.metadata.items()}


def test_a_backfill_of_turns_and_flags_sends_no_request_and_leaves_the_day_proved(our: Account, tmp_path: Path) -> None:
    before = our.archive.table("reconciliation", DAY)[0]
    old_version = {asset.key.path[0]: asset.code_versions_by_key for asset in defs().assets or ()}["flagged_calls"]  # type: ignore[union-attr]
    Path(our.environment["KROS_FLAG_RULES"]).write_text(NEW)
    new_version = {asset.key.path[0]: asset.code_versions_by_key for asset in defs().assets or ()}["flagged_calls"]  # type: ignore[union-attr]
    assert old_version != new_version  # Dagster shows the old days as stale
    with dagster() as instance:
        result = materialize(instance, "utterances", "flagged_calls")
    assert result.success
    flags = metadata_of(result, "flagged_calls")
    assert (flags["new flags"], flags["flags gone"], flags["API requests"]) == (5, 5, 0)
    changes = [record.data["change"] for record in flags["sample of changed calls"].records]
    assert sorted(set(changes)) == ["rule anything flags it now", "rule greeting flags it no more"]
    assert metadata_of(result, "utterances")["changed calls"] == 0
    assert our.requests() == {}
    after = our.archive.table("reconciliation", DAY)[0]
    assert (after["verdict"], after["stats_total"]) == (before["verdict"], before["stats_total"])
    from kros_pipeline.operations.day_states import read_day_states

    assert read_day_states([DAY], store=our.ctx.store, tables=our.ctx.tables)[DAY].is_unchanged
