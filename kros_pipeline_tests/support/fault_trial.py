"""The trial: a day of 2,000 calls in which one in five meets some passing fault is complete after at most two runs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date

from kros_pipeline.sandbox import Fault, SandboxConfig
from kros_pipeline.steps.reconciliation import ReconciliationResult
from kros_pipeline_tests.support.accounts import (
    DAY,
    UNTIL_SECOND_ANSWER,
    VARIED,
    Account,
    MakeAccount,
    faults_by_name,
)
from kros_pipeline_tests.support.archive_check import completed_of

CALLS = 2_000
SHARE = 0.2
# Audio of a second or two, so that it is soon moved. Of so short a call half would still be within the tolerance of
# five seconds: the two faults that cut without a trace are in the matrix, with longer audio.
BUSY_DAY = replace(
    VARIED, days={"2025-01-10": 2_600, "2025-01-11": 40}, audio_seconds=(1, 2), longest_transcript_characters=2_000
)
# How often each call of a knob meets it. The first run tries a download four times: more is for the second one.
KNOBS = {
    "storage_reset": Fault(attempts=1),
    "storage_truncated": Fault(attempts=2),
    "storage_html": Fault(attempts=1),
    "storage_json": Fault(attempts=5),
    "storage_empty": Fault(attempts=1),
    "storage_rubbish": Fault(attempts=5),
    "storage_wav": Fault(attempts=1),
    "storage_gzip": Fault(attempts=1),
    "storage_denied": Fault(attempts=2),
    "storage_missing": Fault(attempts=5),
    "storage_error": Fault(attempts=1, value=500),
    "storage_slow_down": Fault(attempts=6),
    "storage_longer": Fault(),
    "api_error": Fault(attempts=2, routes=("recording", "transcript"), value=502),
    "api_reset": Fault(attempts=1, routes=("recording", "transcript")),
}
# What pages meet, beside the calls.
OF_PAGES = {
    "list_not_json": Fault(share=0.3, attempts=1),
    "list_total_wrong": Fault(attempts=1),
    "api_rate_limited": Fault(share=0.1, attempts=1, value="0.01"),
}


@dataclass
class Trial:
    """What came of it."""

    our: Account
    runs: list[ReconciliationResult]
    hit: set[str]
    calls: int
    met: Counter[str]


def trial(make: MakeAccount, seed: int, *, config: SandboxConfig = BUSY_DAY, day: date = DAY) -> Trial:
    """Runs the day until it is complete, twice at most, and the second time when second answers are due."""
    our = make(config)
    calls = sorted(completed_of(our.krosai, day))
    hit = random.Random(seed).sample(calls, round(SHARE * len(calls)))
    faults = {
        name: replace(fault, calls=tuple(hit[number :: len(KNOBS)]))
        for number, (name, fault) in enumerate(KNOBS.items())
    }
    our.krosai.set_faults(faults_by_name(faults | OF_PAGES))
    runs: list[ReconciliationResult] = []
    while len(runs) < 2 and not (runs and runs[-1].verdict.verdict == "complete"):
        our.ctx = our.open()  # a run of its own
        runs.append(our.run_day())
        our.now += UNTIL_SECOND_ANSWER
    return Trial(our, runs, set(hit), len(calls), Counter(our.krosai.counters()["faults"]))
