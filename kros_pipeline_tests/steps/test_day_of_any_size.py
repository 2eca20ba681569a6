"""What a step holds of a day, and what it writes, does not grow faster than the day: a day may have a million calls.

Both are counted at a small share of that size. Arrow's memory is not counted here: it holds a batch and a row group.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from kros_pipeline.archive import parquet
from kros_pipeline.archive.seal_chain import SealChain
from kros_pipeline.core import digest_set, hash_set, object_sizes
from kros_pipeline.operations.seal_day import DayFacts, seal_day
from kros_pipeline.steps import (
    answer_file,
    known_extensions,
    local_file,
    pending_recordings,
    recordings,
    retention_extensions,
)
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support import steps
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.sized_days import SizedStore, open_sized_day

# A process has 1 GB for a million calls: 1,000 bytes each. Python, Dagster, Arrow and batches take 500 MB of it.
_MOST_BYTES_A_CALL = 500
_MOST_BYTES_OF_DIGESTS = 200  # of a step that compares what is there, and holds nothing else
_SHARE = 50
_AUDIO = f"audio/dt={DAY}"
_EVERYONE = "rules:\n  - {id: everyone, extend_days: 120}\n"


# Texts, rows and calls that are held at once, at the same share of their number as the calls of the day.
_AT_ONCE = {
    answer_file: ("_SAVE_EVERY_CALLS",),
    digest_set: ("_TEXTS_AT_ONCE", "_FEWEST_HELD"),
    hash_set: ("_AT_ONCE",),
    object_sizes: ("_AT_ONCE",),
    local_file: ("MAX_BYTES_IN_MEMORY",),
    parquet: ("ROWS_PER_BATCH",),
    pending_recordings: ("ROWS_PER_BATCH",),
    recordings: ("_SAVE_EVERY_CALLS",),
    known_extensions: ("_DECISIONS_AT_ONCE",),
    retention_extensions: ("_DECISIONS_AT_ONCE", "_ROWS_AT_ONCE", "_LINES_AT_ONCE"),
}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in _AT_ONCE.items():
        for name in names:
            monkeypatch.setattr(module, name, max(20, getattr(module, name) // _SHARE))


def archive_recordings(ctx: RunContext) -> None:
    report = steps.archive_recordings(ctx, DAY)
    assert report.error is None and report.counts["archived"] > 0


def fetch_transcripts(ctx: RunContext) -> None:
    assert steps.fetch_transcripts(ctx, DAY).counts["kept"] > 0


def flag_calls(ctx: RunContext) -> None:
    assert steps.flag_calls(ctx, DAY).counts["new_flags"] > 0


def extend_retention(ctx: RunContext) -> None:
    assert steps.extend_retention(ctx, DAY).counts["extended"] > 0


def reconcile(ctx: RunContext) -> None:
    assert steps.reconcile_day(ctx, DAY).verdict.verdict == "complete"


def seal(ctx: RunContext) -> None:
    sealed = seal_day(
        DAY,
        DayFacts("complete", {}, {}),
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        chain=SealChain(ctx.store, ctx.clock),
        clock=ctx.clock,
        is_signature_due=False,
    )
    assert sealed is not None and len(sealed.records) == len(sealed.audio) > 0


def nothing(ctx: RunContext) -> None:
    pass


def prepare_turns(ctx: RunContext) -> None:
    steps.split_utterances(ctx, DAY)


def prepare_extensions(ctx: RunContext) -> None:
    prepare_turns(ctx)
    flag_calls(ctx)
    extend_retention(ctx)


Step = Callable[[RunContext], None]
STEPS: dict[str, tuple[bool, Step, Step]] = {
    "recordings, all to be downloaded": (False, nothing, archive_recordings),
    "recordings, archived already": (True, nothing, archive_recordings),
    "transcripts": (True, nothing, fetch_transcripts),
    "flagged_calls": (True, prepare_turns, flag_calls),
    "retention_extensions, known": (True, prepare_extensions, extend_retention),
    "reconciliation": (True, prepare_extensions, reconcile),
    "sealing": (True, nothing, seal),
}
SIZES = {"sealing": (1_000, 2_500)}  # its files are read a megabyte at a time: a smaller day has less
HOLDING = {"recordings, all to be downloaded", "sealing"}  # rows up to a checkpoint; the hashes of a seal


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", STEPS)
def test_a_step_holds_few_bytes_of_each_call_and_writes_in_proportion(name: str, tmp_path: Path) -> None:
    """Requests, objects and bytes written grow no faster than the calls: checkpoints are as many for each day."""
    is_archived, prepare, step = STEPS[name]
    (tmp_path / "rules.yaml").write_text(_EVERYONE)
    few, many = SIZES.get(name, (400, 1_600))
    peaks, written = {}, {}
    for calls in (20, few, many):  # the first one fills caches
        ctx = open_sized_day("memory", calls, is_archived=is_archived, KROS_FLAG_RULES=str(tmp_path / "rules.yaml"))
        prepare(ctx)
        store = ctx.store
        assert isinstance(store, SizedStore)
        store.forget_counts()
        tracemalloc.start(1)
        step(ctx)
        peaks[calls] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        written[calls] = store.requests_made, store.puts.total(), store.bytes_put.total() - store.bytes_put[_AUDIO]
    bytes_a_call = (peaks[many] - peaks[few]) / (many - few)
    assert bytes_a_call <= (_MOST_BYTES_A_CALL if name in HOLDING else _MOST_BYTES_OF_DIGESTS)
    for before, now in zip(written[few], written[many], strict=True):
        assert now <= before * many / few * 1.1, (name, written)
