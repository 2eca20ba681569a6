"""Another account's key is noticed before anything is written; a new key of the same account is not refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.core.digest_set import DigestSet
from kros_pipeline.core.errors import ApiUnauthorized, UnreadablePartition, WrongArchive
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY, table_key
from kros_pipeline.core.pseudonyms import api_key_fingerprint
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.account_check import check_known_ids, confirm_account
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.fake_call_source import FakeCall, FakeCallSource
from kros_pipeline_tests.support.steps import archive_recordings, list_calls

CUSTODY = Path(__file__).parents[2] / "docs/custody.md"
FEW = replace(PLAIN, audio_seconds=(1, 2))
ORGANIZATION = "5c1f8a52-0000-4000-8000-000000000000"


@pytest.fixture
def our(memory_account: MakeAccount) -> Account:
    """An account of which three days are listed."""
    made = memory_account(FEW)
    for day in (date(2025, 1, 9), DAY, date(2025, 1, 11)):
        list_calls(made.ctx, day)
    made.krosai.reset_counters()
    return made


def with_other_key(our: Account, **settings: str) -> RunContext:
    """A run with a key that the archive does not know. The simulator takes the source's own key."""
    ctx = our.open(KROSAI_API_KEY="another-key", **settings)
    return replace(ctx, source=our.ctx.source)


def write_identity(our: Account, **changes: Any) -> None:
    stored = our.archive.json(ARCHIVE_IDENTITY) | changes
    our.archive.delete(ARCHIVE_IDENTITY)
    create_json(our.ctx.store, ARCHIVE_IDENTITY, {name: value for name, value in stored.items() if value != "absent"})


def source_of(ctx: RunContext, ids: dict[date, Iterable[str]], *, page_limit: int = 100) -> FakeCallSource:
    """An account with calls of these ids."""
    noon = time(12, tzinfo=UTC)
    calls = [FakeCall(one, datetime.combine(day, noon)) for day, of_day in ids.items() for one in of_day]
    return FakeCallSource(calls, ctx.clock, page_limit=page_limit)


def test_a_known_key_costs_no_request_and_a_probed_store_one(our: Account) -> None:
    our.open().prepare_archive()  # the store is probed
    ctx = our.open()
    s3_requests = ctx.store.requests_made
    for _ in range(2):
        ctx.prepare_archive()
    assert (ctx.store.requests_made, our.requests()) == (s3_requests + 1, {})


def test_a_new_key_of_the_same_account_is_confirmed_once(our: Account) -> None:
    with_other_key(our).prepare_archive()
    assert sum(our.requests().values()) == 1
    assert len(our.archive.json(ARCHIVE_IDENTITY)["key_fingerprints"]) == 2
    again = with_other_key(our)
    again.prepare_archive()
    our.open().prepare_archive()
    assert sum(our.requests().values()) == 1


def test_another_accounts_key_is_refused_and_nothing_is_written(our: Account) -> None:
    before = our.archive.objects()
    ctx = with_other_key(our)
    other = source_of(ctx, {day: [f"other-{day}-{number}" for number in range(7)] for day in (DAY, date(2025, 1, 11))})
    with pytest.raises(WrongArchive) as refused:
        replace(ctx, source=other).prepare_archive()
    assert "of 2025-01-11, 2025-01-10, 2025-01-09 it lists 14 calls, and the archive has none" in str(refused.value)
    assert "KROSAI_API_KEY" in str(refused.value) and "KROS_ARCHIVE_URL" in str(refused.value)
    assert our.archive.objects() == before


def test_an_account_without_calls_is_refused(our: Account) -> None:
    before = our.archive.objects()
    ctx = with_other_key(our)
    with pytest.raises(WrongArchive, match="it lists no call"):
        replace(ctx, source=source_of(ctx, {})).prepare_archive()
    assert our.archive.objects() == before


def test_one_known_call_of_one_of_the_three_newest_days_is_enough(our: Account) -> None:
    ctx = with_other_key(our)
    known = our.archive.table("calls", date(2025, 1, 9))[0]["call_id"]
    late = [f"late-{number}" for number in range(30)]  # listed before the known call
    source = source_of(ctx, {date(2025, 1, 9): [*late, known], DAY: ["other"]}, page_limit=10)
    replace(ctx, source=source).prepare_archive()
    assert len(our.archive.json(ARCHIVE_IDENTITY)["key_fingerprints"]) == 2


def test_only_the_three_newest_days_with_calls_are_listed(our: Account) -> None:
    for day in (date(2025, 1, 12), date(2025, 1, 8)):
        list_calls(replace(our.ctx, source=source_of(our.ctx, {date(2025, 1, 8): ["old"]})), day)
    assert our.archive.table("calls", date(2025, 1, 12)) == []
    ctx = with_other_key(our)
    source = source_of(ctx, {date(2025, 1, 8): ["old"]})
    with pytest.raises(WrongArchive, match="of 2025-01-11, 2025-01-10, 2025-01-09 it lists no call"):
        replace(ctx, source=source).prepare_archive()
    assert source.requests_made == 3


def test_a_key_that_the_api_refuses_is_reported_as_such(our: Account) -> None:
    our.krosai.set_faults(Faults(api_error=Fault(value="401")))
    before = our.archive.objects()
    with pytest.raises(ApiUnauthorized):
        our.open(KROSAI_API_KEY="another-key").prepare_archive()
    assert our.archive.objects() == before


def test_the_first_run_after_version_0_1_0_confirms_its_key(our: Account) -> None:
    write_identity(our, format=1, migration="absent", key_fingerprints="absent")
    ctx = our.open()
    ctx.prepare_archive()
    stored = our.archive.json(ARCHIVE_IDENTITY)
    assert (stored["format"], stored["migration"], len(stored["key_fingerprints"])) == (2, "done", 1)
    assert sum(our.requests().values()) == 1
    ctx.prepare_archive()
    assert sum(our.requests().values()) == 1


def test_another_accounts_key_does_not_migrate_the_archive(our: Account) -> None:
    write_identity(our, format=1, migration="absent", key_fingerprints="absent")
    refused_other(our, WrongArchive, "Nothing was written")


def test_an_archive_without_calls_takes_any_key_and_knows_only_the_last(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    list_calls(our.ctx, date(2025, 1, 20))  # an empty day
    with_other_key(our).prepare_archive()
    assert len(our.archive.json(ARCHIVE_IDENTITY)["key_fingerprints"]) == 1
    assert our.requests().keys() <= {"list"}
    list_calls(with_other_key(our), DAY)
    ctx = our.open()
    with pytest.raises(WrongArchive):
        replace(ctx, source=source_of(ctx, {DAY: ["other"]})).prepare_archive()


def test_an_organization_that_is_only_named_now_is_confirmed_and_stored(our: Account) -> None:
    ctx = our.open(KROSAI_ORGANIZATION_ID=ORGANIZATION)
    other = source_of(ctx, {DAY: ["other"]})
    with pytest.raises(WrongArchive):
        replace(ctx, source=other).prepare_archive()
    assert our.archive.json(ARCHIVE_IDENTITY)["organization_id"] is None
    replace(ctx, source=our.ctx.source).prepare_archive()
    assert our.archive.json(ARCHIVE_IDENTITY)["organization_id"] == ORGANIZATION
    with pytest.raises(WrongArchive, match="organization_id"):
        open_run_context(our.environment, clock=our.clock, open_archive=our.open_archive)


def test_an_unreadable_partition_stops_no_confirmation(our: Account) -> None:
    our.archive.write("tables/calls/dt=2025-01-11/part-0.parquet", b"cut")
    ctx = with_other_key(our)
    confirm_account(source=ctx.source, store=ctx.store, tables=ctx.tables, identity=ctx.identity)
    assert ctx.identity.is_confirmed


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the command needs openssl")
def test_a_key_that_is_entered_by_hand_as_the_page_says_is_confirmed(our: Account) -> None:
    """Upstream lists none of the archive's calls any more."""
    ctx = with_other_key(our)
    source = source_of(ctx, {})
    with pytest.raises(WrongArchive, match=r"docs/custody\.md says how it is entered by hand"):
        replace(ctx, source=source).prepare_archive()
    [command] = re.findall(r"^ *(printf .*KROSAI_API_KEY.*)$", CUSTODY.read_text("utf-8"), re.MULTILINE)
    environment = {"PATH": os.environ["PATH"], "KROSAI_API_KEY": "another-key"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    fingerprint = done.stdout.rpartition("=")[2].strip()
    assert fingerprint == api_key_fingerprint("another-key")
    write_identity(our, key_fingerprints=[*our.archive.json(ARCHIVE_IDENTITY)["key_fingerprints"], fingerprint])
    asked = source.requests_made
    replace(with_other_key(our), source=source).prepare_archive()
    assert source.requests_made == asked


DAYS = (date(2025, 1, 9), DAY, date(2025, 1, 11))


def refused_other(our: Account, error: type[Exception], words: str) -> None:
    """Another account's key is refused, and nothing is written."""
    before = our.archive.objects()
    ctx = with_other_key(our)
    with pytest.raises(error, match=words):
        replace(ctx, source=source_of(ctx, {DAY: ["other"]})).prepare_archive()
    assert our.archive.objects() == before


@pytest.mark.parametrize("cut", [DAYS, DAYS[2:], DAYS[:1]])
def test_a_key_that_no_readable_day_confirms_is_refused_while_a_day_cannot_be_read(
    our: Account, cut: tuple[date, ...]
) -> None:
    for day in cut:
        our.archive.write(table_key("calls", day), b"cut")
    refused_other(our, UnreadablePartition, f"{table_key('calls', cut[-1])} cannot be read")


def test_a_key_is_refused_where_recordings_have_no_table_of_calls(our: Account) -> None:
    archive_recordings(our.ctx, DAY)
    for day in DAYS:
        our.archive.delete(table_key("calls", day))
    refused_other(our, WrongArchive, "has recordings, and no table `calls`.*Restore the partitions of tables/calls/")
    our.archive.delete(table_key("recordings", DAY))
    refused_other(our, WrongArchive, "has recordings, and no table `calls`")  # the audio is there


def test_days_that_never_had_a_call_take_any_key(memory_account: MakeAccount) -> None:
    our = memory_account(FEW)
    our.run_day(date(2025, 1, 20))
    assert our.archive.objects(table_key("recordings", date(2025, 1, 20)))
    with_other_key(our).prepare_archive()
    assert len(our.archive.json(ARCHIVE_IDENTITY)["key_fingerprints"]) == 1


@pytest.mark.parametrize(
    ("known", "listed", "is_refused"),
    [
        ({"a", "b", "c"}, {"d", "e", "f"}, True),
        ({"a", "b", "c"}, {"c", "d", "e"}, False),
        ({"a", "b", "c"}, {"d", "e"}, False),  # so few may be late ones of the same account
        ({"a", "b"}, {"d", "e", "f"}, False),
        ({"a", "b", "c"}, set(), False),
        (set(), {"d", "e", "f"}, False),
        ({"a", "b", "c"}, ["d", "e", "f"], True),
    ],
)
def test_a_day_whose_list_shows_none_of_its_calls_is_not_mixed(known: Any, listed: Any, *, is_refused: bool) -> None:
    if is_refused:
        with pytest.raises(WrongArchive, match=r"^2025-01-10: the archive has . calls, the list shows \d, and none"):
            check_known_ids(DAY, DigestSet(known), [list(listed)])
    else:
        check_known_ids(DAY, DigestSet(known), [list(listed)])
