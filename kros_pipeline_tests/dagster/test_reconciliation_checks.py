"""Each check of `reconciliation` says what it means, and what to do where it is red."""

from collections import Counter
from dataclasses import replace

import dagster as dg

from kros_pipeline.checks import RECONCILIATION_CHECKS, WHAT_TO_DO, day_check_specs, reconciliation_check_results
from kros_pipeline.core.day_summary import CheckSummary
from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.core.verdict import CHECKS, RECORDINGS_CHECK, Verdict, decide_verdict


def test_every_check_has_a_description_and_says_what_to_do() -> None:
    verdict = decide_verdict(Evidence(None, 0, Counter(), Counter()))
    assert set(RECONCILIATION_CHECKS) == set(WHAT_TO_DO) == set(CHECKS) == set(verdict.failures)


SUMMARIES = {name: CheckSummary(f"{name}: 3 of 3.", {"calls": 3}) for name in CHECKS}
FAILURES: dict[str, list[str]] = {name: [] for name in CHECKS}


def test_a_red_check_gives_its_sentences_and_what_to_do_and_a_green_one_its_numbers() -> None:
    failures = FAILURES | {RECORDINGS_CHECK: ["1 × recording lost: call_a."]}
    for result in reconciliation_check_results(Verdict(DayVerdict.INCOMPLETE, failures, []), SUMMARIES):
        name = str(result.check_name)
        is_red = name == RECORDINGS_CHECK
        assert result.passed is not is_red
        red = f"1 × recording lost: call_a. {WHAT_TO_DO[RECORDINGS_CHECK]}"
        assert result.description == (red if is_red else f"{name}: 3 of 3.")
        assert result.metadata["calls"].value == 3
        assert type(result.metadata["verdict"].value) is str, "Dagster's serializer refuses Enum members"


def test_a_check_that_waits_is_a_warning_and_not_green() -> None:
    waiting = replace(SUMMARIES[RECORDINGS_CHECK], is_waiting=True)
    results = reconciliation_check_results(
        Verdict(DayVerdict.WAITING, FAILURES, []), SUMMARIES | {RECORDINGS_CHECK: waiting}
    )
    [result] = [result for result in results if not result.passed]
    assert (result.check_name, result.severity) == (RECORDINGS_CHECK, dg.AssetCheckSeverity.WARN)
    assert result.description == waiting.sentence


def test_a_check_of_a_day_says_where_the_other_days_are() -> None:
    days = dg.DailyPartitionsDefinition("2025-01-01")
    specs = [spec for table in TABLES.values() for spec in day_check_specs(table, days)]
    assert len(specs) == len(CHECKS) + 4
    assert all('"Partitions"' in str(spec.description) for spec in specs)
