"""What a day says about its future is true: a schedule is named only while it takes the day up."""

from __future__ import annotations

from datetime import date

import pytest

from kros_pipeline.core.day_summary import describe_next_step
from kros_pipeline.core.evidence import Evidence
from kros_pipeline.core.statuses import DayVerdict

DAY = date(2025, 1, 10)
LAST = date(2025, 2, 9)  # of 30 days


@pytest.mark.parametrize(
    ("verdict", "today", "said"),
    [
        (DayVerdict.INCOMPLETE, LAST, "owed_days_schedule tries the day again until upstream deletes its recordings"),
        (DayVerdict.INCOMPLETE, date(2025, 2, 10), "Upstream kept its recordings until 2025-02-09: no schedule takes"),
        (DayVerdict.WAITING, LAST, "owed_days_schedule takes the day up by itself"),
        (DayVerdict.WAITING, date(2025, 2, 10), "Upstream kept its recordings until 2025-02-09: no schedule takes"),
        (DayVerdict.COMPLETE, LAST, "Nothing is owed. It is listed once more in every 28 days until 2025-02-09"),
        (DayVerdict.COMPLETE, date(2026, 1, 1), "Nothing is owed."),
    ],
)
def test_no_schedule_is_promised_once_upstream_has_deleted_the_day(verdict: DayVerdict, today: date, said: str) -> None:
    shown = describe_next_step(DAY, verdict, Evidence(None), None, retention_days=30, today=today)
    assert shown.startswith(said)
    assert "28 days" not in shown or today <= LAST


def test_where_upstream_deletes_nothing_a_day_is_tried_without_end() -> None:
    shown = describe_next_step(
        DAY, DayVerdict.INCOMPLETE, Evidence(None), None, retention_days=None, today=date(2030, 1, 1)
    )
    assert shown.startswith("owed_days_schedule tries the day again. ")
