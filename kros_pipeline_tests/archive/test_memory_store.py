"""A day that is archived in memory is the day that is archived in S3."""

from __future__ import annotations

from kros_pipeline_tests.support.accounts import DAY, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true


def test_a_day_leaves_the_same_objects(account: MakeAccount, memory_account: MakeAccount) -> None:
    in_memory, real = memory_account(), account()
    for our in (in_memory, real):
        our.run_day()
        assert_archive_is_true(our.krosai, our.archive, DAY)
    keys = [{key.replace(our.ctx.run_id, "RUN") for key in our.archive.objects()} for our in (in_memory, real)]
    assert keys[0] == keys[1]
    tables = [f"tables/{name}/dt={DAY}/part-0.parquet" for name in ("utterances", "flagged_calls")]  # have no time
    for key in [key for key in real.archive.objects() if key.startswith("audio/")] + tables:
        assert in_memory.archive.read(key) == real.archive.read(key), key
