"""Two machines run one day at the same time, over one archive: the day is as if one had run it."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.archive.governance import Governance
from kros_pipeline.archive.object_store import ObjectStore
from kros_pipeline.archive.request_quota import read_requests_of_day
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_archive_is_true, completed_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore
from kros_pipeline_tests.support.steps import (
    archive_recordings,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    reconcile_day,
    split_utterances,
)

WORLD = replace(PLAIN, days={"2025-01-09": 3, "2025-01-10": 12, "2025-01-11": 3}, audio_seconds=(1, 20))
STEPS = (list_calls, archive_recordings, fetch_transcripts, split_utterances, flag_calls, extend_retention)


class DistantStore(MemoryObjectStore):
    """Each request takes a moment, so that those of the other machine come in between."""

    def __init__(self, bucket: str, prefix: str, moments: random.Random) -> None:
        super().__init__(bucket, prefix)
        self._moments = moments

    def _get(self, key: str) -> Any:
        time.sleep(self._moments.random() * 0.004)
        return super()._get(key)

    def put(self, *args: Any, **named: Any) -> Any:
        time.sleep(self._moments.random() * 0.004)
        return super().put(*args, **named)


def open_machine(our: Account, seed: int) -> RunContext:
    def open_archive(settings: ArchiveSettings) -> tuple[ObjectStore, Governance]:
        store = DistantStore(settings.bucket, settings.prefix, random.Random(seed))
        return store, MemoryGovernance(store)

    ctx = open_run_context(our.environment, clock=our.clock, open_archive=open_archive)
    our.opened.callback(ctx.close)
    return ctx


def run_day(ctx: RunContext) -> str:
    """All that one run does, with the retry that Dagster would make of a step."""
    ctx.prepare_archive()
    ctx.quota.begin_day(DAY)
    for step in STEPS:
        step(ctx, DAY)
    verdict = str(reconcile_day(ctx, DAY).verdict.verdict)
    ctx.close()
    return verdict


@pytest.mark.parametrize("seed", range(2))
def test_two_machines_run_one_day_and_nothing_is_lost_doubled_or_sent_twice(
    memory_account: MakeAccount, tmp_path: Path, seed: int
) -> None:
    """Among them: the first claim of the archive, a body that goes to quarantine, and an extension for each call."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: everyone, extend_days: 200}\n")
    config = replace(WORLD, seed=seed)
    our = memory_account(config, fresh=True, KROS_FLAG_RULES=str(rules), KROS_PARALLEL_DAYS="2")
    calls = sorted(completed_of(our.krosai, DAY))
    our.krosai.set_faults(Faults(storage_html=Fault(calls=(calls[0],))))
    machines = [open_machine(our, 2 * seed + number) for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run_day, machines))
    assert our.krosai.counters()["extend_requests_by_call"] == dict.fromkeys(calls, 1)
    sent = sum(our.requests().values())
    store = MemoryObjectStore(our.archive.bucket, our.archive.prefix)
    assert read_requests_of_day(store, our.now.date()) == sent
    assert list(our.archive.objects("state/quota/")) == [f"state/quota/{our.now.date()}.json"]

    our.krosai.set_faults(Faults())
    our.now += timedelta(days=30)  # the rejected body rests the longer, the more machines have met it
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(run_day, [open_machine(our, 100 + seed + number) for number in range(2)]))
    assert verdicts == ["complete"] * 2
    assert_archive_is_true(our.krosai, our.archive, DAY)
    assert our.krosai.counters()["extend_requests_by_call"] == dict.fromkeys(calls, 1)
