"""The first partition follows from upstream's retention, and archived days never vanish when time passes."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from kros_pipeline.core.settings import BadSettings
from kros_pipeline.steps.start_date import WITHOUT_END, find_start_date, read_start_date, record_start_date

TODAY = date(2026, 3, 31)


# The settings, and the first partition of a deployment that starts today.
@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({}, date(2026, 3, 1)),  # pro: 30 days
        ({"KROSAI_PLAN": "free"}, date(2026, 3, 24)),
        ({"KROSAI_PLAN": "business"}, date(2025, 12, 31)),
        ({"KROSAI_PLAN": "business", "KROSAI_RETENTION_DAYS": "365"}, date(2025, 3, 31)),
        ({"KROSAI_PLAN": "enterprise"}, WITHOUT_END),
        ({"KROSAI_PLAN": "enterprise", "KROSAI_RETENTION_DAYS": "10"}, date(2026, 3, 21)),
        ({"KROS_START_DATE": "2024-02-29"}, date(2024, 2, 29)),
    ],
)
def test_the_first_partition_follows_from_the_retention(settings: dict[str, str], first: date, tmp_path: Path) -> None:
    assert find_start_date(settings, None, TODAY) == first
    assert find_start_date(settings, tmp_path, TODAY) == first
    assert read_start_date(tmp_path) == (None if "KROS_START_DATE" in settings else first)


# A run says what is wrong with these; the code location loads.
@pytest.mark.parametrize("bad", [{"KROSAI_PLAN": "gold"}, {"KROSAI_RETENTION_DAYS": "many"}])
def test_what_a_bad_setting_leaves_to_guess_is_not_recorded(bad: dict[str, str], tmp_path: Path) -> None:
    assert find_start_date(bad, None, TODAY) == find_start_date(bad, tmp_path, TODAY) == date(2026, 3, 1)
    assert list(tmp_path.iterdir()) == []
    first = find_start_date({"KROSAI_PLAN": "free"}, tmp_path, TODAY)
    assert find_start_date(bad, tmp_path, TODAY) == first == date(2026, 3, 24)


def test_a_record_is_replaced_whole_and_never_by_a_later_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_start_date(tmp_path, date(2025, 5, 5))
    record_start_date(tmp_path, date(2026, 5, 5))  # of another process, which had read the record before
    assert read_start_date(tmp_path) == date(2025, 5, 5)

    def break_off(path: Path, *_: str) -> None:
        path.touch()
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "write_text", break_off)
    record_start_date(tmp_path, date(2024, 5, 5))
    assert read_start_date(tmp_path) == date(2025, 5, 5) and len(list(tmp_path.iterdir())) == 1


def test_the_first_partition_stays_when_time_passes(tmp_path: Path) -> None:
    first = find_start_date({}, tmp_path, TODAY)
    assert find_start_date({}, tmp_path, date(2027, 1, 1)) == first
    assert find_start_date({}, None, date(2027, 1, 1)) > first  # nowhere to record it: README says to set it


def test_a_longer_retention_shows_more_days(tmp_path: Path) -> None:
    find_start_date({"KROSAI_PLAN": "free"}, tmp_path, TODAY)
    longer = find_start_date({"KROSAI_PLAN": "business"}, tmp_path, TODAY)
    assert longer == date(2025, 12, 31) == find_start_date({"KROSAI_PLAN": "free"}, tmp_path, TODAY)


def test_the_setting_wins_over_the_record_and_a_bad_one_is_named(tmp_path: Path) -> None:
    record_start_date(tmp_path, date(2025, 5, 5))
    assert find_start_date({}, tmp_path, TODAY) == date(2025, 5, 5)
    assert find_start_date({"KROS_START_DATE": "2026-01-01"}, tmp_path, TODAY) == date(2026, 1, 1)
    with pytest.raises(BadSettings, match="KROS_START_DATE is 'soon'"):
        find_start_date({"KROS_START_DATE": "soon"}, tmp_path, TODAY)


@pytest.mark.parametrize("text", ["", "soon", "2025-02-30"])
def test_a_broken_record_is_written_anew(text: str, tmp_path: Path) -> None:
    (tmp_path / "kros_start_date").write_text(text)
    assert find_start_date({}, tmp_path, TODAY) == date(2026, 3, 1) == read_start_date(tmp_path)


def test_a_home_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert find_start_date({}, tmp_path / "absent", TODAY) == date(2026, 3, 1)
