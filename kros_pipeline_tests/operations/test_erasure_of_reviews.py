"""What reviewers noted of a call is erased with it, and so is who listened to it."""

from __future__ import annotations

import json

from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.browser.access_log import AccessLog
from kros_pipeline.browser.reviews import Reviews
from kros_pipeline.core.object_keys import call_key, call_reviews_prefix, review_key
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.residue_search import ResidueSearch
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, PLAIN, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls, reconcile_day, verify_days

CONTENT = {"verdict": "good", "answers": {}, "comment": "as agreed", "form": "x"}


def test_reviews_and_plays_of_an_erased_call_are_gone_and_others_stay(memory_account: MakeAccount) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    erased, kept = sorted(our.archive.by_call("calls", DAY))[:2]
    reviews, log = Reviews(our.ctx.store, our.clock), AccessLog(our.ctx.store, our.ctx.tombstones, our.clock)
    for call_id in (erased, kept):
        reviews.add(DAY, call_key(call_id), call_id, "amina", CONTENT)
        log.played("amina", DAY, call_id, from_begin=True)
        log.read("amina", [(DAY, call_id)], "page")
    log.close()
    dry = erase_calls(our.ctx, ErasureRequest(call_ids=(erased,), reason="asked for"), dry_run=True)
    assert any(key.startswith("reviews/") for key in dry.owned_keys)
    found = erase_calls(our.ctx, ErasureRequest(call_ids=(erased,), reason="asked for"))
    assert found.residue == []
    assert list(our.archive.objects("reviews/")) == [review_key(DAY, call_key(kept), AFTER_GRACE, "amina")]
    lines = [json.loads(line) for key in our.archive.objects("audit/") for line in our.archive.read(key).splitlines()]
    plays = {line["call"] for line in lines if line["event"] in ("played", "read")}
    assert plays == {kept, our.ctx.tombstones.pseudonym(call_key(erased))}
    assert all(erased not in our.archive.read(key).decode(errors="replace") for key in our.archive.objects("reviews/"))


def test_a_review_that_survives_its_calls_erasure_makes_checks_red_until_it_is_erased_again(
    memory_account: MakeAccount,
) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    our.run_day()
    erased, kept = sorted(our.archive.by_call("calls", DAY))[:2]
    asked_for = ErasureRequest(call_ids=(erased,), reason="asked for")
    erase_calls(our.ctx, asked_for)
    assert reconcile_day(our.open(), DAY).verdict.verdict == "complete"
    for call_id in (erased, kept):  # as a page does that looked at the tombstones before there was one
        Reviews(our.ctx.store, our.clock).add(DAY, call_key(call_id), call_id, "amina", CONTENT)
    verdict = reconcile_day(our.open(), DAY).verdict
    assert verdict.verdict == "incomplete"
    [sentence] = verdict.failures["no_object_is_unknown"]
    assert sentence.startswith("1 × object of an erased call") and f"reviews/dt={DAY}/" in sentence
    assert verify_days(our.ctx, [DAY]).erased == [call_reviews_prefix(DAY, call_key(erased))]
    assert erase_calls(our.ctx, asked_for).residue == []
    assert list(our.archive.objects("reviews/")) == [review_key(DAY, call_key(kept), AFTER_GRACE, "amina")]
    assert reconcile_day(our.open(), DAY).verdict.verdict == "complete"


def test_a_comment_that_names_an_erased_call_is_found(memory_account: MakeAccount) -> None:
    our = memory_account(PLAIN, KROS_ERASURE_KEY="k" * 32)
    key = review_key(DAY, "call_other", AFTER_GRACE, "amina")
    create_json(our.ctx.store, key, {**CONTENT, "call_id": "call_other", "comment": "the same as call_named12"})
    assert ResidueSearch({"call_named12"}, None).find(our.ctx.governance, threads=1) == [f"{key} (null)"]
    assert ResidueSearch({"call_other"}, None).find(our.ctx.governance, threads=1) == [f"{key} (null)"]
    assert ResidueSearch({"call_absent"}, None).find(our.ctx.governance, threads=1) == []
