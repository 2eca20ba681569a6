"""An extension whose outcome is unknown is not requested again, and equal requests are sent once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kros_pipeline.core import schemas
from kros_pipeline.core.errors import ObjectExists
from kros_pipeline.core.statuses import ExtensionStatus
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.plans import PLANS
from kros_pipeline_tests.support.accounts import DAY, PLAIN, MakeAccount


def rules(tmp_path: Any, **days: int) -> str:
    """A rules file in which every rule flags every call."""
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"rules": [{"id": name, "extend_days": count} for name, count in days.items()]}))
    return str(path)


def test_two_rules_that_the_plan_limits_to_the_same_days_send_one_request(account: MakeAccount, tmp_path: Any) -> None:
    our = account(PLAIN, KROSAI_PLAN="pro")
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365, b=400))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    assert PLANS["pro"].maximum_retention_days == 90


def test_a_call_with_an_unconfirmed_extension_is_not_extended_by_another_rule(
    account: MakeAccount, tmp_path: Any
) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(extend_lost=Fault()))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    our.krosai.set_faults(Faults())
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365, b=365))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    rows = our.ctx.tables.rows(schemas.RETENTION_EXTENSIONS, DAY)
    assert {line["status"] for line in rows} == {ExtensionStatus.UNCONFIRMED}


def test_an_unconfirmed_extension_stays_unconfirmed_without_its_journal(account: MakeAccount, tmp_path: Any) -> None:
    our = account(PLAIN)
    our.krosai.set_faults(Faults(extend_lost=Fault()))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    our.krosai.set_faults(Faults())
    for key in our.archive.objects("state/extensions/"):
        our.archive.delete(key)
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, b=365))
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}


def test_an_intent_that_was_written_twice_by_a_repeated_request_is_sent(
    account: MakeAccount, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(PLAIN)
    ctx = our.open(KROS_FLAG_RULES=rules(tmp_path, a=365))
    put: Callable[..., Any] = ctx.store.put

    def put_twice(key: str, body: Any, **options: Any) -> Any:
        version = put(key, body, **options)
        if key.startswith("state/extensions/"):
            raise ObjectExists("as after a repeated request")
        return version

    monkeypatch.setattr(type(ctx.store), "put", lambda _, *args, **kwargs: put_twice(*args, **kwargs))
    our.run_day(KROS_FLAG_RULES=rules(tmp_path, a=365))
    rows = our.ctx.tables.rows(schemas.RETENTION_EXTENSIONS, DAY)
    assert {line["status"] for line in rows} == {ExtensionStatus.EXTENDED}
