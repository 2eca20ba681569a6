"""Killed at any moment, and run again: the archive is the undisturbed one. `make soak` does the same at length."""

from __future__ import annotations

import pytest

from kros_pipeline_tests.support.crash_trial import crash_trial


@pytest.mark.slow
def test_six_kills_leave_the_same_archive_as_no_kill() -> None:
    report = crash_trial(kills=6, seed=8, calls=48)
    print(report)
    assert report.breaches == []
    assert report.kills.total() == 6
    # A kill is worth little where nothing moves: the seed's moments lie in several steps, one of which moves audio.
    assert len(report.kills) >= 3
    assert report.kills["recordings"] >= 1
