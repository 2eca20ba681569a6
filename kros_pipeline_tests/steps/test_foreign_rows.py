"""Rows of another organization: refused, kept nowhere, and red until the list shows them no more."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from kros_pipeline.archive.listings import read_listing
from kros_pipeline.core.errors import WrongArchive
from kros_pipeline.core.id_digests import digest_id, unpack_digests
from kros_pipeline.core.listing import DIGEST_FIELDS
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.sandbox.faults import MALFORMED
from kros_pipeline.sandbox.mp3 import mp3_audio
from kros_pipeline.sandbox.world import OTHER_ORGANIZATION
from kros_pipeline_tests.support.accounts import DAY, PLAIN, VARIED, Account, MakeAccount, faults_by_name
from kros_pipeline_tests.support.archive_check import assert_archive_is_true, completed_of
from kros_pipeline_tests.support.steps import list_calls, reconcile_day

ORGANIZATION = "0b9f6a5e-6f0e-4d8e-9f55-1f2d3c4b5a69"
OLD = replace(PLAIN, organization_id=ORGANIZATION)
BRIDGE = replace(OLD, bridge="/api/v1")
SHOWN = {"list_foreign_rows": Fault()}
SENTENCE = "The list shows rows of another organization ("


@dataclass(frozen=True)
class Foreign:
    """The calls of the other organization, as the list shows them."""

    rows: list[dict[str, Any]]

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]

    def traces(self, our: Account) -> Iterator[bytes]:
        """What must be in no object: names, numbers, lines that only they speak, audio, and digests of their ids."""
        our_texts = "\n".join(call["transcript"] or "" for call in our.krosai.expected_calls(hashes=False))
        yield OTHER_ORGANIZATION.encode()
        for row in self.rows:
            customer = row["from_number" if row["direction"] == "inbound" else "to_number"]
            lines = [line for line in row["transcript"].splitlines() if line not in our_texts]
            assert lines
            yield from (text.encode() for text in (row["id"], customer, *lines))
            yield bytes(mp3_audio(our.krosai.config.seed, row["id"], 100))[1_000:1_100]
            yield hashlib.sha256(row["id"].encode()).hexdigest().encode()


def foreign_of(our: Account) -> Foreign:
    """Ask for the whole list, as a client does that the organization does not concern."""
    our.krosai.set_faults(faults_by_name(SHOWN))
    headers = {"Authorization": f"Bearer {our.krosai.config.api_key}"}
    answer = requests.get(f"{our.krosai.base_url}/calls?limit=100", headers=headers, timeout=10).json()
    our.krosai.set_faults(Faults())
    rows = [row for row in answer["calls"] if row.get("organization_id") == OTHER_ORGANIZATION]
    assert len(rows) == 3 * len(our.krosai.config.calls_by_day)
    return Foreign(rows)


def assert_nothing_is_kept(our: Account, foreign: Foreign) -> None:
    """Search every object of the archive, the tables decoded."""
    bodies = {}
    for key in our.archive.objects():
        body = our.archive.read(key)
        bodies[key] = repr(pq.read_table(io.BytesIO(body)).to_pylist()).encode() if key.endswith(".parquet") else body
    assert len(bodies) >= 19
    for trace in foreign.traces(our):
        assert not [key for key, body in bodies.items() if trace in body or trace in key.encode()], trace
    for key, body in bodies.items():
        if key.startswith("state/listings/"):
            packed = [json.loads(body).get(name) for name in DIGEST_FIELDS]
            digests = set().union(*(unpack_digests(text) for text in packed if text))
            assert digests.isdisjoint(map(digest_id, foreign.ids))
    assert set(our.krosai.counters()["downloads_by_call"]).isdisjoint(foreign.ids)


@pytest.mark.parametrize("bridge", ["/api/v1", "/v1"])
@pytest.mark.parametrize("dialect", ["offset", "page"])
def test_a_day_over_the_bridge_is_archived_whole(memory_account: MakeAccount, bridge: Any, dialect: Any) -> None:
    our = memory_account(replace(VARIED, bridge=bridge, dialect=dialect, organization_id=ORGANIZATION))
    our.run_day()
    our.now += timedelta(hours=21)  # a second answer settles what upstream does not have
    our.run_day()
    assert_archive_is_true(our.krosai, our.archive, DAY)
    assert {row["organization_id"] for row in our.archive.table("calls", DAY)} == {ORGANIZATION}
    assert our.ctx.source.dialect == f"{dialect}, Bridge"


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BRIDGE, None),
        (replace(BRIDGE, bridge="/v1"), None),
        (OLD, None),
        *((BRIDGE, kind) for kind in MALFORMED if kind != "not_an_object"),
    ],
)
def test_foreign_rows_make_the_day_incomplete_and_nothing_of_them_is_kept(
    account: MakeAccount, config: SandboxConfig, kind: str | None
) -> None:
    our = account(config)
    foreign = foreign_of(our)
    malformed = {"list_malformed": Fault(calls=tuple(foreign.ids), value=kind)} if kind else {}
    our.krosai.set_faults(faults_by_name(SHOWN | malformed))
    result = our.run_day()
    assert result.verdict.verdict == "incomplete"
    assert [problem for problem in result.verdict.problems if not problem.startswith(SENTENCE)] == []
    assert "Compare KROSAI_ORGANIZATION_ID with the organization" in " ".join(result.verdict.problems)
    assert set(our.archive.by_call("calls", DAY)) == set(completed_of(our.krosai, DAY))
    assert_nothing_is_kept(our, foreign)

    our.krosai.set_faults(Faults())
    assert our.run_day().verdict.verdict == "complete"
    assert_archive_is_true(our.krosai, our.archive, DAY)
    assert_nothing_is_kept(our, foreign)


def test_foreign_rows_make_a_complete_day_incomplete(memory_account: MakeAccount) -> None:
    our = memory_account(BRIDGE)
    assert our.run_day().verdict.verdict == "complete"
    our.krosai.set_faults(faults_by_name(SHOWN))
    assert our.run_day().verdict.verdict == "incomplete"


def test_foreign_rows_need_a_person_also_where_the_requests_are_used_up(memory_account: MakeAccount) -> None:
    our = memory_account(BRIDGE)
    our.krosai.set_faults(faults_by_name(SHOWN))
    ctx = our.open(KROSAI_REQUESTS_PER_RUN="2")
    _, listing = list_calls(ctx, DAY)
    assert not listing.out_of_requests and "budget" in " ".join(listing.problems)
    assert reconcile_day(ctx, DAY).verdict.verdict == "incomplete"


# A wrong KROSAI_ORGANIZATION_ID, and an API that does not mind it.
NONE_OF_OURS = replace(PLAIN, days={str(DAY): 0})


def test_a_list_that_is_all_foreign_begins_no_archive(memory_account: MakeAccount) -> None:
    our = memory_account(NONE_OF_OURS, KROSAI_ORGANIZATION_ID="mistyped")
    our.krosai.set_faults(faults_by_name(SHOWN))
    with pytest.raises(
        WrongArchive, match=r"is another organization's. Nothing was written. Compare KROSAI_ORGANIZATION_ID"
    ):
        list_calls(our.ctx, DAY)
    assert our.archive.objects() == {}
    our.environment["KROSAI_ORGANIZATION_ID"] = OTHER_ORGANIZATION
    _, listing = list_calls(our.open(), DAY)
    assert listing.proved and len(our.archive.table("calls", DAY)) == 3


def test_a_list_that_is_all_foreign_makes_a_day_of_an_archive_incomplete(memory_account: MakeAccount) -> None:
    our = memory_account(NONE_OF_OURS, KROSAI_ORGANIZATION_ID=ORGANIZATION)
    assert our.run_day().verdict.verdict == "complete"
    our.krosai.set_faults(faults_by_name(SHOWN))
    assert our.run_day().verdict.verdict == "incomplete"
    listing = read_listing(our.ctx.store, DAY)
    assert listing is not None and [problem[: len(SENTENCE)] for problem in listing.problems] == [SENTENCE]
