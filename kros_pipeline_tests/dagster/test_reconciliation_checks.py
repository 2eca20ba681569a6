"""Each check of `reconciliation` says what it means, and what to do where it is red."""

from collections import Counter

from kros_pipeline.checks import RECONCILIATION_CHECKS, WHAT_TO_DO, reconciliation_check_results
from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.core.verdict import CHECKS, RECORDINGS_CHECK, Verdict, decide_verdict


def test_every_check_has_a_description_and_says_what_to_do() -> None:
    verdict = decide_verdict(Evidence(None, 0, Counter(), Counter()))
    assert set(RECONCILIATION_CHECKS) == set(WHAT_TO_DO) == set(CHECKS) == set(verdict.failures)


def test_a_red_check_gives_its_sentences_and_what_to_do_and_a_green_one_its_description() -> None:
    failures: dict[str, list[str]] = {name: [] for name in CHECKS} | {RECORDINGS_CHECK: ["1 × recording lost: call_a."]}
    for result in reconciliation_check_results(Verdict(DayVerdict.INCOMPLETE, failures, [])):
        name = str(result.check_name)
        is_red = name == RECORDINGS_CHECK
        assert result.passed is not is_red
        red = f"1 × recording lost: call_a. {WHAT_TO_DO[RECORDINGS_CHECK]}"
        assert result.description == (red if is_red else RECONCILIATION_CHECKS[name])
        assert type(result.metadata["verdict"].value) is str, "Dagster's serializer refuses Enum members"
