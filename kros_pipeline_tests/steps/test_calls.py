"""The list of a day: read whole and proved, or saved as far as it goes, with a sentence that says what was seen."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from kros_pipeline.archive.listings import read_listing
from kros_pipeline.core.errors import (
    ApiServerError,
    ApiUnauthorized,
    ApiUnreachable,
    ArchiveUnavailable,
    ExternalError,
    TooManyRequests,
    UnexpectedResponse,
)
from kros_pipeline.core.listing import Listing
from kros_pipeline.sandbox import Fault, Faults, SandboxConfig
from kros_pipeline.sandbox.faults import MALFORMED
from kros_pipeline.steps import list_proof
from kros_pipeline.steps.report import Report
from kros_pipeline_tests.support.accounts import DAY, VARIED, Account, MakeAccount, faults_by_name
from kros_pipeline_tests.support.archive_check import assert_nothing_is_false, completed_of, table_key
from kros_pipeline_tests.support.steps import list_calls

# Two pages for the day, a few calls of the three hours after it, and days that are not asked for.
BUSY = SandboxConfig(
    days={"2025-01-02": 5, "2025-01-09": 30, "2025-01-10": 150, "2025-01-11": 30}, variety=False, audio_seconds=(1, 2)
)
PAGES = replace(BUSY, dialect="page", order="oldest")
EDGES = replace(
    VARIED, days={"2025-01-09": 130, "2025-01-10": 130, "2025-01-11": 40}
)  # calls at the very edges of the day, and others than completed ones


def list_day(our: Account, **settings: str) -> tuple[Report, Listing]:
    return list_calls(our.open(**settings) if settings else our.ctx, DAY)


def ids(our: Account) -> set[str]:
    return set(our.archive.by_call("calls", DAY))


# Whatever is not documented of the list, the day comes out the same.
@pytest.mark.parametrize("dialect", ["offset", "page"])
@pytest.mark.parametrize(
    "differences",
    [
        {"order": "newest"},
        {"order": "oldest"},
        {"order": "shuffled"},
        {"to_date_inclusive": False},
        {"filter_by": "completed_at"},
        {"filter_by": "completed_at", "to_date_inclusive": False, "order": "oldest"},
        {"filter_reads_days_only": True},
        {"filter_reads_days_only": True, "filter_by": "completed_at", "order": "shuffled"},
    ],
    ids=lambda differences: ", ".join(str(value) for value in differences.values()),
)
def test_every_kind_of_list_is_read_whole_and_proved(
    account: MakeAccount, dialect: Any, differences: dict[str, Any]
) -> None:
    our = account(replace(EDGES, dialect=dialect, **differences))
    report, listing = list_day(our)
    assert ids(our) == set(completed_of(our.krosai, DAY))
    assert listing.proved and not listing.problems and not listing.unparsed and report.error is None
    assert listing.listed_total == len(ids(our))
    assert our.requests()["list"] == report.counts["pages"] <= 12
    assert read_listing(our.ctx.store, DAY) == listing
    assert_nothing_is_false(our.krosai, our.archive, DAY)


# Lists that lie, but let themselves be proved all the same.
@pytest.mark.parametrize(
    ("config", "faults", "oddity"),
    [
        (BUSY, Faults(list_offset_ignored=Fault()), None),
        (PAGES, Faults(list_offset_ignored=Fault()), None),
        (BUSY, Faults(list_limit_ignored=Fault()), None),
        (PAGES, Faults(list_limit_ignored=Fault(value=7)), None),
        (BUSY, Faults(list_dates_ignored=Fault()), "the date filter is ignored upstream"),
        (PAGES, Faults(list_dates_ignored=Fault()), "the date filter is ignored upstream"),
        (EDGES, Faults(list_status_ignored=Fault()), "the status filter is ignored upstream"),
        (BUSY, Faults(list_duplicates=Fault(share=0.3)), None),
        (PAGES, Faults(list_duplicates=Fault()), None),
        (BUSY, Faults(list_total_wrong=Fault(attempts=1)), None),
        (BUSY, Faults(list_total_wrong=Fault(attempts=2, value=-3)), None),
        # For a while, and not for good:
        (BUSY, Faults(list_not_json=Fault(attempts=1)), None),
        (BUSY, Faults(api_error=Fault(attempts=3)), None),
        (BUSY, Faults(api_error=Fault(attempts=1, value=503)), None),
        (BUSY, Faults(api_reset=Fault(attempts=2)), None),
        (BUSY, Faults(api_timeout=Fault(attempts=1, value=0.05)), None),
        (BUSY, Faults(api_rate_limited=Fault(attempts=2)), None),
        (BUSY, Faults(api_rate_limited=Fault(attempts=3, value="absent")), None),
        (BUSY, Faults(api_rate_limited=Fault(attempts=1, value="http-date")), None),
    ],
    ids=lambda value: next(iter(value.to_json().items())) if isinstance(value, Faults) else "",
)
def test_a_list_with_passing_faults_is_proved(
    account: MakeAccount, config: SandboxConfig, faults: Faults, oddity: str | None
) -> None:
    our = account(config)
    our.krosai.set_faults(faults)
    report, listing = list_day(our)
    assert ids(our) == set(completed_of(our.krosai, DAY))
    assert listing.proved and not listing.problems and report.error is None, listing.problems
    assert listing.listed_total == len(ids(our))
    assert [text for text in listing.oddities if oddity and text.startswith(oddity)] == listing.oddities
    assert bool(listing.oddities) == bool(oddity)
    assert_nothing_is_false(our.krosai, our.archive, DAY)


# Lists that no pass can prove: all that could be had is there, and one sentence says what was seen.
@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(list_total_wrong=Fault()), r"`total` says (\d+), and (\d+) distinct rows came"),
        (Faults(list_total_wrong=Fault(value=-1)), r"`total` says (\d+), and (\d+) distinct rows came"),
        (Faults(list_total_wrong=Fault(value=500)), r"`total` says (\d+), and (\d+) distinct rows came"),
        (
            Faults(list_offset_ignored=Fault(), list_dates_ignored=Fault()),
            r"no date filter\): a page repeated an earlier one, as if the offset were ignored; `total` says (\d+)",
        ),
    ],
    ids=["one more", "one less", "many more", "neither offset nor dates"],
)
@pytest.mark.parametrize("config", [BUSY, PAGES], ids=["offset", "page"])
def test_a_list_with_lasting_faults_is_saved_and_not_proved(
    account: MakeAccount, config: SandboxConfig, faults: Faults, words: str
) -> None:
    our = account(config)
    our.krosai.set_faults(faults)
    report, listing = list_day(our)
    truth = set(completed_of(our.krosai, DAY))
    assert ids(our) <= truth
    if not faults.list_offset_ignored:
        assert ids(our) == truth
    assert not listing.proved and report.error is None
    sentence = listing.problems[0]
    assert len(listing.problems) == 1 and re.search(words, sentence)
    assert faults.list_dates_ignored or "2025-01-09T23:59:00Z to 2025-01-11T00:01:00Z" in sentence
    assert_nothing_is_false(our.krosai, our.archive, DAY)


@pytest.mark.parametrize("config", [BUSY, replace(BUSY, order="oldest"), PAGES], ids=["newest", "oldest", "pages"])
def test_calls_that_complete_while_the_list_is_read_are_in_it(account: MakeAccount, config: SandboxConfig) -> None:
    our = account(config)
    our.krosai.set_faults(Faults(list_completing=Fault(share=0.15)))
    _, listing = list_day(our)
    still_held = set(our.krosai.complete_calls())
    assert ids(our) <= set(completed_of(our.krosai, DAY))
    assert still_held and not listing.proved and listing.is_moving
    assert "changed in each of 3 looks" in listing.problems[0]
    # The next reading, of a list that has come to rest, has all of them and the proof.
    our.krosai.set_faults(Faults())
    _, listing = list_day(our)
    assert listing.proved and ids(our) == set(completed_of(our.krosai, DAY))


@pytest.mark.parametrize("config", [BUSY, PAGES], ids=["newest", "oldest pages"])
def test_calls_that_vanish_while_the_list_is_read_hide_no_others(account: MakeAccount, config: SandboxConfig) -> None:
    our = account(config, fresh=True)
    before = set(completed_of(our.krosai, DAY))
    our.krosai.set_faults(Faults(list_vanishing=Fault(share=0.1)))
    list_day(our)
    remaining = set(completed_of(our.krosai, DAY))
    assert remaining < before
    assert remaining <= ids(our) <= before


def test_a_call_that_upstream_no_longer_lists_stays_and_new_ones_are_added(account: MakeAccount) -> None:
    our = account(replace(BUSY, days={"2025-01-10": 12}), fresh=True)
    list_day(our)
    first = our.archive.by_call("calls", DAY)
    gone = min(first)
    our.krosai.remove_call(gone)
    late = set(our.krosai.add_calls(str(DAY), 3))
    _, listing = list_day(our)
    second = our.archive.by_call("calls", DAY)
    assert set(second) == set(first) | late
    assert {call_id: second[call_id] for call_id in first} == first  # and `listed_at` says when a row last changed
    assert listing.proved and listing.listed_total == len(first) - 1 + len(late)


def test_a_second_listing_changes_nothing(account: MakeAccount) -> None:
    our = account(EDGES)
    list_day(our)
    before = our.archive.objects("tables/")
    our.krosai.set_faults(Faults(list_duplicates=Fault(share=0.5)))
    report, _ = list_day(our)
    assert our.archive.objects("tables/") == before
    assert report.written is not None and not report.written.changed


# Windows.


@pytest.mark.parametrize(
    ("differences", "faults", "halved"),
    [
        ({}, Faults(), True),
        ({"dialect": "page", "to_date_inclusive": False, "order": "shuffled"}, Faults(), True),
        ({"filter_by": "completed_at"}, Faults(), True),
        ({}, Faults(list_limit_ignored=Fault()), True),
        # Halving helps only where a half is smaller.
        ({"filter_reads_days_only": True}, Faults(), False),
    ],
)
def test_a_window_that_is_too_large_is_halved_where_that_helps(
    account: MakeAccount,
    monkeypatch: pytest.MonkeyPatch,
    differences: dict[str, Any],
    faults: Faults,
    halved: bool,
) -> None:
    monkeypatch.setattr(list_proof, "_MAX_ROWS_PER_WINDOW", 40)
    our = account(replace(BUSY, **differences))
    our.krosai.set_faults(faults)
    _, listing = list_day(our)
    assert ids(our) == set(completed_of(our.krosai, DAY))
    assert listing.proved and listing.listed_total == 150
    assert (len(listing.windows) >= 2) == halved
    edges = sorted(listing.windows)
    assert edges[0][0] == "2025-01-09T23:59:00Z" and edges[-1][1] >= "2025-01-11T00:01:00Z"
    assert all(end > start for (_, end), (start, _) in itertools.pairwise(edges))  # they overlap
    assert our.requests()["list"] < 60


def test_calls_of_one_second_that_no_halving_can_separate_are_listed(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_proof, "_MAX_ROWS_PER_WINDOW", 1)
    our = account(replace(BUSY, days={"2025-01-10": 6}))
    _, listing = list_day(our)
    assert listing.proved and ids(our) == set(completed_of(our.krosai, DAY))


# Rows that are no calls: kept as they are, named, and no reason to stop.
@pytest.mark.parametrize("kind", [*MALFORMED, None], ids=str)
def test_a_malformed_row_is_kept_and_stops_no_other(account: MakeAccount, kind: str | None) -> None:
    our = account(BUSY)
    truth = set(completed_of(our.krosai, DAY))
    broken = sorted(truth)[:3]
    our.krosai.set_faults(Faults(list_malformed=Fault(calls=tuple(broken), value=kind)))
    report, listing = list_day(our)
    assert ids(our) == truth - set(broken)
    assert report.counts["unparsed"] == len(listing.unparsed) == report.problem_count == 3
    assert listing.proved  # each row was seen
    fields = {"missing_id": "'id'", "id_not_text": "'id'", "missing_created_at": "'created_at'",
              "unreadable_created_at": "'created_at'", "not_an_object": "not an object"}  # fmt: skip
    for sentence in listing.unparsed:
        assert fields.get(str(kind), "") in sentence
        assert "yesterday" not in sentence  # which field, never its value
    kept = our.archive.objects(f"state/unparsed/dt={DAY}/")
    assert len(kept) == 3
    for key in kept:
        assert "recording_url" not in json.dumps(json.loads(our.archive.read(key)))
    assert_nothing_is_false(our.krosai, our.archive, DAY)

    # Listed as it should be, the call is a call, and nothing is held against the day.
    our.krosai.set_faults(Faults())
    _, listing = list_day(our)
    assert ids(our) == truth and listing.unparsed == []


def test_rows_that_cannot_be_kept_cost_no_call_and_leave_the_list_unproved(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    our = account(BUSY)
    truth = set(completed_of(our.krosai, DAY))
    broken = sorted(truth)[:3]
    our.krosai.set_faults(Faults(list_malformed=Fault(calls=tuple(broken), value="missing_created_at")))
    true = our.ctx.store.put

    def put(key: str, body: Any, **how: Any) -> Any:
        if key.startswith("state/unparsed/"):
            raise ArchiveUnavailable(f"{key}: no answer")
        return true(key, body, **how)

    monkeypatch.setattr(our.ctx.store, "put", put)
    with pytest.raises(ArchiveUnavailable):
        list_day(our)
    assert ids(our) == truth - set(broken)
    assert read_listing(our.ctx.store, DAY) is None


# Nothing could be listed: nothing is written, not even whose archive it is.
@pytest.mark.parametrize(
    ("faults", "error", "words"),
    [
        (Faults(list_not_json=Fault()), ApiServerError, "not JSON"),
        (Faults(list_unknown_shape=Fault()), UnexpectedResponse, "neither 'calls' nor 'data': it has count, items"),
        (Faults(api_error=Fault()), ApiServerError, "status 500"),
        (Faults(api_error=Fault(value=404)), ExternalError, "status 404"),
        (Faults(api_error=Fault(value=302)), UnexpectedResponse, "redirect"),
        (Faults(api_reset=Fault()), ApiUnreachable, "no answer"),
        (Faults(api_timeout=Fault(value=0.02)), ApiUnreachable, "no answer"),
        (Faults(api_key_refused=Fault()), ApiUnauthorized, "KROSAI_API_KEY"),
        (Faults(api_error=Fault(value=403)), ApiUnauthorized, "KROSAI_ORGANIZATION_ID"),
        (Faults(api_rate_limited=Fault(value="3600")), TooManyRequests, "asks to wait 3,600 seconds"),
        (Faults(api_rate_limited=Fault(value="1e300")), TooManyRequests, "asks to wait 1,000,000,000 seconds"),
        (Faults(api_rate_limited=Fault(value="0.01")), TooManyRequests, "again and again"),
    ],
    ids=lambda value: next(iter(value.to_json().items())) if isinstance(value, Faults) else "",
)
def test_a_list_that_cannot_be_read_at_all_touches_nothing(
    account: MakeAccount, faults: Faults, error: type[Exception], words: str
) -> None:
    our = account(BUSY)
    our.krosai.set_faults(faults)
    with pytest.raises(error, match=re.escape(words)) as raised:
        list_day(our)
    assert our.environment["KROSAI_API_KEY"] not in str(raised.value)
    assert our.archive.objects() == {}
    assert sum(our.requests().values()) <= 10  # and no door is knocked at for ever


# An end in the middle: what came is there, and the sentence says why no more did.


def test_a_quota_that_ends_in_the_middle_keeps_the_listed_calls_and_the_next_run_goes_on(account: MakeAccount) -> None:
    our = account(BUSY)
    report, listing = list_day(our, KROSAI_REQUESTS_PER_RUN="1")
    assert isinstance(report.error, TooManyRequests)
    assert listing.out_of_requests and not listing.proved
    [sentence] = listing.problems
    assert "not read to its end" in sentence and "budget" in sentence
    assert 80 <= len(ids(our)) < 150 and ids(our) < set(completed_of(our.krosai, DAY))
    _, listing = list_day(our)
    assert listing.proved and not listing.out_of_requests
    assert ids(our) == set(completed_of(our.krosai, DAY))


@pytest.mark.parametrize(
    ("knob", "error", "words"),
    [
        ("list_unknown_shape", UnexpectedResponse, "neither 'calls' nor 'data'"),
        ("list_not_json", ApiServerError, "not JSON"),
    ],
)
def test_an_unreadable_page_loses_no_page_before_it(
    account: MakeAccount, knob: str, error: type[Exception], words: str
) -> None:
    our = account(replace(BUSY, days={"2025-01-10": 300}))
    second = "status=completed&from_date=2025-01-09T23%3A59%3A00Z&to_date=2025-01-10T12%3A00%3A02Z&limit=100&offset=100"
    our.krosai.set_faults(faults_by_name({knob: Fault(calls=(second,))}))
    report, listing = list_day(our)
    assert our.krosai.counters()["faults"][knob] >= 1  # it was this page
    assert isinstance(report.error, error)
    assert not listing.proved and not listing.out_of_requests and words in listing.problems[0]
    assert 100 <= len(ids(our)) < 300
    before = ids(our)
    our.krosai.set_faults(Faults())
    list_day(our)
    assert before < ids(our) == set(completed_of(our.krosai, DAY))


def test_an_empty_day_is_a_table_of_no_rows(account: MakeAccount) -> None:
    our = account(replace(BUSY, days={"2025-01-09": 3, "2025-01-10": 0}))
    _, listing = list_day(our)
    assert listing.proved and listing.listed_total == 0
    assert our.archive.table("calls", DAY) == [] and table_key("calls", DAY) in our.archive.objects()


# Requests.


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 230])
@pytest.mark.parametrize("shift_hours", [0.0, -8.0])
def test_the_api_requests_of_a_day_stay_within_their_budget(
    memory_account: MakeAccount, count: int, shift_hours: float
) -> None:
    """Two requests for each hundred rows and 12 more; one and 10 more for a complete day again."""
    around = {"2025-01-09": 0, "2025-01-10": count, "2025-01-11": 0} if not shift_hours else {"2025-01-10": count}
    our = memory_account(
        SandboxConfig(days=around, variety=False, audio_seconds=(1, 2), filter_shift_hours=shift_hours)
    )
    pages = math.ceil(count / 100)
    for most in (2 * pages + 12, pages + 10):
        our.krosai.reset_counters()
        our.ctx = our.open()
        assert our.run_day().verdict.verdict == "complete"
        assert sum(our.requests().values()) <= most
