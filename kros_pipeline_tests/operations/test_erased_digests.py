"""The listing names the calls that a day has to hold: an erased call is taken out of it."""

from __future__ import annotations

from kros_pipeline.archive.listings import read_listing
from kros_pipeline.core.id_digests import digest_id, unpack_digests
from kros_pipeline.operations.erasure_request import ErasureRequest
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
