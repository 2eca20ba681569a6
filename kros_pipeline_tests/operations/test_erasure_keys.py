"""What still works, and what does not, once `KROS_ERASURE_KEY` is lost or has to be another one."""

from __future__ import annotations

import pytest

from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.core.object_keys import NUMBER_TOMBSTONES
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.sealing import seal_days_of
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls

OLD, NEW = "o" * 32, "n" * 32
FORGET_THE_KEY = ("state/erasure.json", "state/erased.json", "state/erased_rows/", NUMBER_TOMBSTONES)
"""What `docs/custody.md` says to delete by hand. The tombstones of calls stay: sealed days need their number."""


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    made = memory_account(PLAIN, KROS_ERASURE_KEY=OLD)
    made.run_day()
    return made


def use_key(our: Account, key: str) -> None:
    our.environment["KROS_ERASURE_KEY"] = key
    our.__dict__.pop("ctx", None)


def forget_the_key(our: Account) -> None:
    for prefix in FORGET_THE_KEY:
        for key in our.archive.objects(prefix):
            our.archive.delete(key)


def test_before_the_first_erasure_the_key_may_change(our: Account) -> None:
    use_key(our, NEW)
    assert our.run_day().verdict.verdict == "complete"


def test_with_another_key_no_run_starts_and_nothing_is_erased_or_restored(our: Account) -> None:
    first, second = sorted(our.archive.by_call("calls", DAY))[:2]
    erase_calls(our.open(), ErasureRequest((first,), reason="request 1"))
    before = our.archive.objects()
    use_key(our, NEW)
    with pytest.raises(ArchiveDenied, match="is not the key"):
        our.run_day()
    with pytest.raises(ArchiveDenied, match="is not the key"):
        erase_calls(our.open(), ErasureRequest((second,), reason="request 2"))
    assert our.archive.objects() == before


def test_after_a_lost_key_is_given_up_what_was_erased_is_gone_and_comes_back_only_from_upstream(our: Account) -> None:
    first, second = sorted(our.archive.by_call("calls", DAY))[:2]
    assert seal_days_of(our.open()).sealed == [DAY]
    erase_calls(our.open(), ErasureRequest((first, second), reason="request 1"))
    forget_the_key(our)
    use_key(our, NEW)
    our.open()  # works, without the old key
    assert {first, second}.isdisjoint(our.archive.by_call("calls", DAY))
    assert our.run_day().verdict.verdict == "complete"
    assert {first, second} <= our.archive.by_call("calls", DAY).keys()  # upstream still lists them
    report = seal_days_of(our.open())
    assert (report.sealed, report.refused) == ([DAY], []), "the old tombstones account for the old records"
    erase_calls(our.open(), ErasureRequest((first, second), reason="request 1, again"))
    assert our.run_day().verdict.verdict == "complete"
    assert not seal_days_of(our.open()).refused
    assert {first, second}.isdisjoint(our.archive.by_call("calls", DAY))
