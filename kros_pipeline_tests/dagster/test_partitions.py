"""A day that a command line names by hand may be older than the first day that Dagster shows."""

from __future__ import annotations

from datetime import date

import pytest

from kros_pipeline.partitions import daily_partitions, find_day_by_hand

BY_HAND = ["dagster", "job", "execute", "-j", "daily_archive", "--tags", '{"dagster/partition": "2025-01-10"}']


@pytest.mark.parametrize(
    ("arguments", "day"),
    [
        (BY_HAND, date(2025, 1, 10)),
        (['--tags={"a": "b", "dagster/partition":"2025-02-28"}'], date(2025, 2, 28)),
        (['{"dagster/partition": "2025-02-30"}'], None),
        (["dagster", "dev"], None),
        ([], None),
    ],
)
def test_the_day_of_a_command_line_is_found(arguments: list[str], day: date | None) -> None:
    assert find_day_by_hand(arguments) == day


def test_it_is_a_partition_unless_the_start_date_is_set() -> None:
    assert daily_partitions({}, None, BY_HAND).start.date() == date(2025, 1, 10)
    assert daily_partitions({}, None).start.date() > date(2025, 1, 10)
    assert daily_partitions({"KROS_START_DATE": "2025-06-01"}, None, BY_HAND).start.date() == date(2025, 6, 1)
