"""The listing names the calls that a day has to hold: an erased call is taken out of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kros_pipeline.archive.listings import read_listing, update_listing
from kros_pipeline.core.id_digests import digest_id, pack_digests, unpack_digests
from kros_pipeline.core.listing import DIGEST_FIELDS, Listing
from kros_pipeline.core.object_keys import listing_key
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.residue_search import ResidueSearch
from kros_pipeline_tests.support.accounts import DAY, PLAIN, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls


def test_after_an_erasure_the_listing_names_the_other_calls_and_the_day_is_complete(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    call_ids = sorted(our.archive.by_call("calls", DAY))
    erase_calls(our.ctx, ErasureRequest(call_ids=(call_ids[0],), reason="asked for"))
    after = read_listing(our.ctx.store, DAY)
    assert after is not None and after.call_digests is not None
    assert unpack_digests(after.call_digests) == {digest_id(call_id) for call_id in call_ids[1:]}
    [row] = our.archive.table("reconciliation", DAY)
    assert (row["verdict"], row["erased"], row["api_requests"]) == ("complete", 1, None), row["problems"]


def test_a_call_is_taken_out_of_the_listing_of_a_day_that_has_lost_its_rows(memory_account: MakeAccount) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    call_id, *kept = sorted(our.archive.by_call("calls", DAY))
    other_day = DAY + timedelta(days=5)
    both = pack_digests(map(digest_id, (call_id, kept[0])))
    update_listing(our.ctx.store, other_day, lambda _: replace(Listing(True, 2), call_digests=both))
    found = erase_calls(our.ctx, ErasureRequest(call_ids=(call_id,), reason="asked for"))
    assert (found.days, found.residue) == ([DAY, other_day], [])
    after = read_listing(our.ctx.store, other_day)
    assert after is not None and after.call_digests == pack_digests([digest_id(kept[0])])


@pytest.mark.parametrize("name", DIGEST_FIELDS)
def test_a_call_is_found_and_erased_by_every_field_that_names_it(memory_account: MakeAccount, name: str) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    other_day = DAY + timedelta(days=5)
    named: Any = {name: pack_digests(map(digest_id, ("call_x", "call_y")))}
    update_listing(our.ctx.store, other_day, lambda _: replace(Listing(True, 2), **named))
    assert ResidueSearch({"call_x"}, None).find(our.ctx.governance, threads=1)
    found = erase_calls(our.ctx, ErasureRequest(call_ids=("call_x",), reason="asked for"))
    assert (found.days, found.residue) == ([other_day], [])
    after = read_listing(our.ctx.store, other_day)
    assert getattr(after, name) == pack_digests([digest_id("call_y")])


@pytest.mark.parametrize(
    ("packed", "is_residue"),
    [
        (pack_digests(map(digest_id, ("a", "b/1", "c"))), True),
        (pack_digests(map(digest_id, ("a", "c"))), False),
        (pack_digests(map(digest_id, ("b/1",)))[:-4], True),  # cut: it may be the erased call's
        ("?", True),
        (None, False),
    ],
)
def test_a_digest_that_is_left_in_a_listing_is_residue(
    memory_account: MakeAccount, packed: str | None, *, is_residue: bool
) -> None:
    ctx = memory_account(PLAIN).ctx
    update_listing(ctx.store, DAY, lambda _: replace(Listing(proved=True, listed_total=3), call_digests=packed))
    found = ResidueSearch({"b/1"}, None).find(ctx.governance, threads=1)
    assert [key.split(" ")[0] for key in found] == ([listing_key(DAY)] if is_residue else [])
