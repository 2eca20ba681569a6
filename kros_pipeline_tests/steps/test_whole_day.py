"""One day, end to end, without Dagster: what upstream has, the archive has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kros_pipeline.sandbox import SandboxConfig
from kros_pipeline_tests.support.accounts import DAY, UNTIL_SECOND_ANSWER, VARIED, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true, assert_nothing_is_false, completed_of


def asked_by_call(our: Account) -> dict[str, int]:
    """Requests for single calls, by route."""
    return {route: our.requests().get(route, 0) for route in ("recording", "transcript")}


# Every dialect, every order, every kind of filter and id: the same archive.
@pytest.mark.parametrize(
    "config",
    [
        VARIED,
        replace(VARIED, dialect="page", order="shuffled"),
        replace(VARIED, order="oldest", to_date_inclusive=False, id_style="uuid"),
        replace(VARIED, filter_by="completed_at"),
        replace(VARIED, filter_reads_days_only=True, auth="bearer"),
        replace(VARIED, id_style="hostile", calls_per_day=45, days=("2025-01-10", "2025-01-11")),
        replace(VARIED, hostile_text=True, organization_id="0b9f6a5e-6f0e-4d8e-9f55-1f2d3c4b5a69"),
        replace(VARIED, days={"2025-01-09": 2, "2025-01-10": 0, "2025-01-11": 2}),
        replace(VARIED, date_filter="ignored"),
        replace(VARIED, date_filter="refused", dialect="page", order="oldest"),
        replace(VARIED, date_filter="refused", dialect="page", order="shuffled"),
    ],
    ids=[
        *("as is", "pages", "oldest", "by completion", "days only", "hostile ids", "hostile texts", "no calls"),
        *("dates ignored", "dates refused", "no order"),
    ],
)
def test_a_day_is_archived_whole_in_two_runs_and_a_third_run_changes_nothing(
    account: MakeAccount, config: SandboxConfig
) -> None:
    our = account(config)
    truth = completed_of(our.krosai, DAY).values()
    has_silent = any(not call["recorded"] or call["transcript"] is None for call in truth)
    assert our.run_day().verdict.verdict == ("waiting" if has_silent else "complete")
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    asked = asked_by_call(our)
    assert asked["recording"] == sum(call["listed_recording"] != "url" for call in truth)
    our.now += UNTIL_SECOND_ANSWER
    our.run_day()  # its list gives the second answers
    assert_archive_is_true(our.krosai, our.archive, DAY)
    before, downloads = our.archive.objects(), our.krosai.counters()["storage_requests"]
    our.run_day()
    assert asked_by_call(our) == asked
    after = our.archive.objects()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert {key for key in changed if not key.startswith("state/listings/")} <= {
        f"tables/reconciliation/dt={DAY}/part-0.parquet",
        f"state/tables/dt={DAY}.json",
    }
    assert our.krosai.counters()["storage_requests"] == downloads
    assert our.krosai.counters()["leaked_credentials"] == 0
