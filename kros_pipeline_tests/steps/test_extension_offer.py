"""A deployment that does not offer extensions is asked once a week, and not once for each call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, Account
from kros_pipeline_tests.support.archive_check import completed_of
from kros_pipeline_tests.support.extensions import EVERYONE, extend, extensions, posts, ruled
from kros_pipeline_tests.support.steps import extend_retention, flag_calls, list_calls

__all__ = ["ruled"]

NOT_OFFERED = Faults(api_gateway=Fault(routes=("extend",), value="404 NOT_FOUND"))
MEMORY = "state/not_offered/extend.json"


def asked(our: Account) -> int:
    return our.requests().get("extend", 0)


def refused_rows(our: Account) -> set[tuple[str, str]]:
    return {(row["status"], (row["reason"] or "").split(":")[0]) for row in extensions(our)}


def test_upstream_is_asked_once_and_every_decision_says_why(ruled: Callable[..., Account]) -> None:
    our = ruled()
    our.krosai.set_faults(NOT_OFFERED)
    our.krosai.reset_counters()
    report = extend(our)
    assert (asked(our), our.requests()["recording"]) == (1, 1)
    assert len(extensions(our)) == 5 and refused_rows(our) == {("refused", "not offered here")}
    assert our.archive.json(MEMORY) == {"not_offered_at": AFTER_GRACE.isoformat()}
    assert report.problem_count == 5 and "not offered here" in " ".join(report.to_do)
    extend(our)
    assert asked(our) == 1


def test_it_is_asked_again_after_a_week_and_remembered_anew(ruled: Callable[..., Account]) -> None:
    our = ruled(fresh=True)
    our.krosai.set_faults(NOT_OFFERED)
    extend(our)
    for days, requests in ((6.9, 1), (7, 2), (8, 2), (14, 3)):
        our.now = AFTER_GRACE + timedelta(days=days)
        our.krosai.add_calls(str(DAY), 2)
        list_calls(our.ctx, DAY)
        extend(our)
        assert asked(our) == requests
    assert len(extensions(our)) == 13 and refused_rows(our) == {("refused", "not offered here")}
    assert our.archive.json(MEMORY)["not_offered_at"] == our.now.isoformat()


def test_an_operator_resends_at_once_and_an_accepted_request_ends_the_memory(ruled: Callable[..., Account]) -> None:
    our = ruled(fresh=True)
    our.krosai.set_faults(NOT_OFFERED)
    extend(our)
    first, second, *_ = sorted(completed_of(our.krosai, DAY))
    still = resend(our, first, "one")
    assert asked(our) == 2 and still == {"refused"}
    our.krosai.set_faults(Faults())
    [late] = our.krosai.add_calls(str(DAY), 1)
    list_calls(our.ctx, DAY)
    assert resend(our, second, "two") == {"refused", "extended"}
    assert posts(our) == {second: 1, late: 1}  # the ordered one is sent first, and then the new one
    assert our.archive.json(MEMORY) == {"not_offered_at": None}


def resend(our: Account, call_id: str, run_id: str) -> set[str]:
    ctx = our.open(KROS_DOWNLOAD_WORKERS="1")
    flag_calls(ctx, DAY)
    extend_retention(ctx, DAY, resend=[call_id], run_id=run_id)
    return {row["status"] for row in extensions(our)}


def test_a_404_for_a_recording_that_is_gone_is_about_that_call_only(ruled: Callable[..., Account]) -> None:
    our = ruled(fresh=True)
    gone = min(completed_of(our.krosai, DAY))
    our.krosai.set_faults(
        Faults(api_gateway=Fault(routes=("extend", "recording"), calls=(gone,), value="404 NOT_FOUND"))
    )
    extend(our)
    statuses = {row["call_id"]: row["status"] for row in extensions(our)}
    assert statuses.pop(gone) == "refused" and set(statuses.values()) == {"extended"}
    [row] = [row for row in extensions(our) if row["call_id"] == gone]
    assert "status 404" in row["reason"]
    assert MEMORY not in our.archive.objects("state/")


@pytest.mark.parametrize("value", ["404 html", "404 message", "302 html", "409 CONFLICT", "200 html"])
def test_a_gateways_answer_leaves_each_decision_in_doubt(ruled: Callable[..., Account], value: str) -> None:
    our = ruled(EVERYONE)
    our.krosai.set_faults(Faults(api_gateway=Fault(routes=("extend",), value=value)))
    extend(our)
    assert {row["status"] for row in extensions(our)} == {"unconfirmed"}
    assert MEMORY not in our.archive.objects("state/")
