"""Every row of the fault matrix comes to what the table promises, and the published page shows it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kros_pipeline_tests.support.accounts import MakeAccount
from kros_pipeline_tests.support.archive_check import SECRETS
from kros_pipeline_tests.support.fault_cases import Case
from kros_pipeline_tests.support.fault_matrix import PAGE, ROWS, WRITE, Outcome, is_as, page, run

_outcomes: dict[tuple[str, Case, str], Outcome] = {}
Look = Callable[[tuple[str, Case, str]], Outcome]


@pytest.fixture
def outcome(memory_account: MakeAccount, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Look:
    """The outcome of a row, which is run once. No log shows a secret, however talkative it is made."""
    caplog.set_level(logging.DEBUG)

    def look(row: tuple[str, Case, str]) -> Outcome:
        if row not in _outcomes:
            rules = tmp_path / "rules.yaml"
            rules.write_text("rules: [{id: everyone, extend_days: 120}]")
            caplog.clear()
            _outcomes[row] = run(row[1], row[2], memory_account, rules)
            assert not SECRETS.search(caplog.text.encode())
        return _outcomes[row]

    return look


# urllib3 leaves a socket to the garbage collector where two Content-Lengths differ.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1].wrong}, {row[2]}")
def test_nothing_is_lost_duplicated_or_corrupt_and_the_day_says_so(outcome: Look, row: tuple[str, Case, str]) -> None:
    out, (_, case, often) = outcome(row), row
    expected = case.once if often == "first attempt" else case.always
    assert expected is not None
    assert is_as(out.verdict, out.sentences, expected), (out.verdict, out.sentences)
    assert (out.lost, out.duplicated, out.corrupt) == (0, 0, 0)
    assert is_as(out.verdict_after, out.sentences_after, case.afterwards), (out.verdict_after, out.sentences_after)


@pytest.mark.timeout(600)  # alone, it runs all rows
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_published_page_is_what_the_runs_give(outcome: Look) -> None:
    text = page({row: outcome(row) for row in ROWS})
    if WRITE in os.environ:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "make fault-matrix writes the page anew"
