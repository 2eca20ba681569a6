"""Writes whose answer is lost, and outcomes that S3 throttles: nothing is skipped, and nothing is done twice."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.archive.governance import Governance
from kros_pipeline.archive.object_store import ObjectStore, Replace, VersionToken
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable, ObjectChanged, ObjectExists
from kros_pipeline.core.statuses import DayVerdict
from kros_pipeline.operations.erasure import ErasureUnfinished
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_nothing_is_false, completed_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore
from kros_pipeline_tests.support.steps import (
    erase_calls,
    extend_retention,
    fetch_transcripts,
    flag_calls,
    list_calls,
    split_utterances,
)

FEW = replace(PLAIN, days={"2025-01-10": 4}, idempotency=False)  # upstream hides no request that is sent twice

Trouble = Callable[[str, Any], ArchiveError | None]


class TroubledStore(MemoryObjectStore):
    """A store that raises what `trouble` returns for a key and its mode: before the write, or after it."""

    def __init__(self, settings: ArchiveSettings, before: Trouble, after: Trouble) -> None:
        super().__init__(settings.bucket, settings.prefix)
        self._before, self._after = before, after

    def put(self, key: str, body: Any, *, mode: Any, **how: Any) -> VersionToken:
        if (error := self._before(key, mode)) is not None:
            raise error
        version = super().put(key, body, mode=mode, **how)
        if (error := self._after(key, mode)) is not None:
            raise error
        return version


def nothing(key: str, mode: Any) -> None:
    return None


@pytest.fixture
def ruled(memory_account: MakeAccount, tmp_path: Path) -> Callable[..., Account]:
    """An account of its own with a rule that flags every call, over a store with trouble."""

    def make(before: Trouble = nothing, after: Trouble = nothing) -> Account:
        (tmp_path / "rules.yaml").write_text("rules:\n  - {id: everyone, extend_days: 120}\n")
        settings = {"KROS_FLAG_RULES": str(tmp_path / "rules.yaml"), "KROS_ERASURE_KEY": "k" * 32}
        our = memory_account(FEW, fresh=True, **settings)

        def open_archive(settings: ArchiveSettings) -> tuple[ObjectStore, Governance]:
            store = TroubledStore(settings, before, after)
            return store, MemoryGovernance(store)

        our.open_archive = open_archive
        return our

    return make


def extension_statuses(our: Account) -> dict[str, int]:
    return dict(Counter(row["status"] for row in our.archive.table("retention_extensions", DAY)))


def audit_facts(our: Account) -> Counter[tuple[str, str]]:
    lines = b"".join(map(our.archive.read, our.archive.objects("audit/"))).splitlines()
    return Counter((line["event"], line["call"]) for line in map(json.loads, lines))


def test_every_write_of_a_day_and_of_an_erasure_may_lose_its_answer(ruled: Callable[..., Account]) -> None:
    def lose_answer(key: str, mode: Any) -> ArchiveError:
        kind = ObjectChanged if isinstance(mode, Replace) else ObjectExists
        return kind(f"{key}: as after a repeated request")

    our = ruled(after=lose_answer)
    times = itertools.count()
    our.clock = replace(our.clock, now=lambda: our.now + timedelta(seconds=next(times)))  # no row is made twice alike
    for _ in range(2):
        assert our.run_day().verdict.verdict == DayVerdict.COMPLETE
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    assert extension_statuses(our) == {"extended": 4}
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    assert set(audit_facts(our).values()) == {1}

    call_id = min(completed_of(our.krosai, DAY))
    found = erase_calls(our.open(), ErasureRequest((call_id,), reason="request 1", delete_upstream=True))
    assert found.upstream == {"deleted": 1} and found.problems == []
    assert our.krosai.counters()["deletes_by_call"] == {call_id: 1}
    assert set(audit_facts(our).values()) == {1}


@pytest.mark.parametrize("times", [1, 5])
def test_an_outcome_is_written_however_long_s3_throttles(ruled: Callable[..., Account], times: int) -> None:
    tried: Counter[str] = Counter()

    def throttle_outcomes(key: str, mode: Any) -> ArchiveError | None:
        tried[key] += 1
        return ArchiveUnavailable("S3 says SlowDown") if "outcome" in key and tried[key] <= times else None

    our = ruled(before=throttle_outcomes)
    our.run_day()
    assert extension_statuses(our) == {"extended": 4}
    call_id = min(completed_of(our.krosai, DAY))
    found = erase_calls(our.open(), ErasureRequest((call_id,), reason="request 1", delete_upstream=True))
    assert found.upstream == {"deleted": 1} and found.problems == []
    outcomes = [key for key in tried if "outcome" in key]
    assert len(outcomes) == 5 and all(tried[key] == times + 1 for key in outcomes)


@pytest.mark.parametrize("error", [ArchiveUnavailable, ArchiveDenied])
def test_an_outcome_that_s3_never_takes_is_kept_by_the_table_for_the_next_run(
    ruled: Callable[..., Account], error: type[ArchiveError]
) -> None:
    refused = {"outcome"}

    def refuse_outcomes(key: str, mode: Any) -> ArchiveError | None:
        return error("S3 says no") if any(part in key for part in refused) else None

    our = ruled(before=refuse_outcomes)
    with pytest.raises(error, match="S3 says no"):
        our.run_day()
    known = extension_statuses(our)
    assert known.keys() == {"extended"}
    refused.clear()
    our.run_day()
    assert extension_statuses(our) == {"extended": 4}
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
    keys = our.archive.objects("state/extensions/")
    assert len([key for key in keys if "outcome" in key]) == 4
    our.archive.delete(f"tables/retention_extensions/dt={DAY}/part-0.parquet")
    our.run_day()
    assert extension_statuses(our) == {"extended": 4}  # the journal gives the same


def test_the_table_is_written_however_long_s3_throttles_where_nothing_else_has_the_outcomes(
    ruled: Callable[..., Account],
) -> None:
    tried: Counter[str] = Counter()

    def throttle(key: str, mode: Any) -> ArchiveError | None:
        tried[key] += 1
        is_table = key.startswith(("audit/", "tables/retention_extensions")) and tried[key] < 30
        return ArchiveUnavailable("S3 says SlowDown") if "outcome" in key or is_table else None

    our = ruled(before=throttle)
    for step in (list_calls, fetch_transcripts, split_utterances, flag_calls):
        step(our.ctx, DAY)
    with pytest.raises(ArchiveUnavailable):
        extend_retention(our.ctx, DAY)
    assert extension_statuses(our).keys() == {"extended"}
    assert set(audit_facts(our).values()) == {1}


@pytest.mark.parametrize("error", [ArchiveUnavailable, ArchiveDenied])
def test_an_answer_to_a_deletion_that_cannot_be_stored_is_kept_for_the_next_run(
    ruled: Callable[..., Account], error: type[ArchiveError]
) -> None:
    refused = {"outcome"}

    def refuse_outcomes(key: str, mode: Any) -> ArchiveError | None:
        is_refused = "erased_upstream" in key and any(part in key for part in refused)
        return error("S3 says no") if is_refused else None

    our = ruled(before=refuse_outcomes)
    our.run_day()
    call_id = min(completed_of(our.krosai, DAY))
    request = ErasureRequest((call_id,), reason="request 1", delete_upstream=True)
    for _ in range(2):
        with pytest.raises(ErasureUnfinished, match=r"answered \(1 deleted\).*S3 says no"):
            erase_calls(our.open(), request)
    refused.clear()
    found = erase_calls(our.open(), ErasureRequest(phone_number="+4900000000000", reason="whatever is left"))
    assert found.upstream == {"deleted": 1} and found.problems == []
    assert erase_calls(our.open(), request).upstream == {"deleted": 1}
    assert our.krosai.counters()["deletes_by_call"] == {call_id: 1}
    assert not our.archive.objects("state/erasing/")


def test_nothing_that_s3_refuses_after_the_request_hides_what_upstream_answered(ruled: Callable[..., Account]) -> None:
    """The look for tombstones, the note that extensions are offered, the outcome: each is a request to S3."""
    our = ruled()
    our.run_day()
    store, sent = our.ctx.store, our.krosai.counters()["extend_requests_by_call"]
    assert set(sent.values()) == {1}
    for key in our.archive.objects():
        if key.startswith(("state/extensions/", "state/decisions/", "tables/retention_extensions/")):
            our.archive.delete(key)
    source, is_throttled = our.ctx.source, [False]
    extend, head, read = source.extend, store.head, store.read

    def extend_and_throttle(*args: Any, **how: Any) -> None:
        extend(*args, **how)
        is_throttled[0] = True

    def throttled(answer: Any) -> Any:
        def ask(key: str) -> Any:
            if (is_throttled[0] and key.startswith("state/erased")) or (is_throttled[0] and "not_offered" in key):
                raise ArchiveUnavailable(f"{key}: S3 says SlowDown")
            return answer(key)

        return ask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "extend", extend_and_throttle)
        patch.setattr(store, "head", throttled(head))
        patch.setattr(store, "read", throttled(read))
        patch.setattr("kros_pipeline.archive.tombstones.MAX_AGE_SECONDS", 3_600.0)
        with pytest.raises(ArchiveUnavailable):
            extend_retention(our.ctx, DAY)
    for _ in range(2):
        our.run_day()
    assert extension_statuses(our) == {"extended": 4}
    assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {2}, "once for each of the two journals"
