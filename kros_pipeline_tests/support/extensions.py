"""An account whose day is listed and flagged, and what upstream was asked to extend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.steps.retention_extensions import ExtensionReport
from kros_pipeline.steps.run_context import RunContext
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.steps import (
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    split_utterances,
)

# Upstream honours no Idempotency-Key here: it would hide a request that is sent twice.
FEW = replace(PLAIN, days={"2025-01-10": 5}, audio_seconds=(1, 120), idempotency=False)
EVERYONE = "rules:\n  - {id: everyone, extend_days: 120}\n"

_before: dict[str, int] = {}


@pytest.fixture
def ruled(account: MakeAccount, tmp_path: Path) -> Callable[..., Account]:
    """An account with a rules file, whose day is listed and transcribed."""

    def make(rules: str = EVERYONE, config: Any = FEW, **settings: Any) -> Account:
        path = tmp_path / "rules.yaml"
        path.write_text(rules)
        our = account(config, KROS_FLAG_RULES=str(path), **settings)
        _before.clear()
        _before.update({call_id: len(days) for call_id, days in our.krosai.extended_days().items()})
        list_calls(our.ctx, DAY)
        fetch_transcripts(our.ctx, DAY)
        split_utterances(our.ctx, DAY)
        return our

    return make


def extend(our: Account, ctx: RunContext | None = None) -> ExtensionReport:
    ctx = ctx or our.open()
    flag_calls(ctx, DAY)
    return extend_retention(ctx, DAY)


def extensions(our: Account) -> list[dict[str, Any]]:
    return our.archive.table("retention_extensions", DAY)


def extended_days(our: Account) -> dict[str, list[int]]:
    """By call, the days of what upstream did for this test: it remembers those of others."""
    done = {call_id: days[_before.get(call_id, 0) :] for call_id, days in our.krosai.extended_days().items()}
    return {call_id: days for call_id, days in done.items() if days}


def posts(our: Account) -> dict[str, int]:
    sent: dict[str, int] = our.krosai.counters()["extend_requests_by_call"]
    return sent
