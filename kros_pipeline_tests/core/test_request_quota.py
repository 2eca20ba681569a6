"""What each kind of run may take of a day's quota."""

import pytest

from kros_pipeline.core.request_quota import QuotaDay, QuotaRule, Reservation, RunKind

NEWEST, OLDER, OTHER = RunKind.NEWEST_DAY, RunKind.OLDER_DAY, RunKind.OTHER
FREE = QuotaRule(1_000, 500)


@pytest.mark.parametrize(
    ("requests_per_day", "block"),
    [(None, 200), (500_000, 200), (50_000, 200), (4_000, 200), (3_999, 199), (1_000, 50), (30, 1), (1, 1)],
)
def test_a_block_has_200_requests_and_fewer_where_the_quota_is_small(requests_per_day: int | None, block: int) -> None:
    assert QuotaRule(requests_per_day, None).block == block


# The quota, what runs have sent of it or hold, whether the newest day is done; then what each kind may still take.
@pytest.mark.parametrize(
    ("rule", "sent", "held", "is_done", "older", "others"),
    [
        # Older days leave what one run of the newest day may send.
        (FREE, {}, {}, False, 500, 1_000),
        (FREE, {OLDER: 500}, {}, False, 0, 500),
        (FREE, {OLDER: 400}, {"a": (OLDER, 100)}, False, 0, 500),
        # What the newest day has sent or holds is reserved no more.
        (FREE, {NEWEST: 65}, {}, False, 500, 935),
        (FREE, {NEWEST: 15}, {"a": (NEWEST, 50)}, False, 500, 935),
        # A tenth stays: the newest day may be tried again, and operators launch jobs.
        (FREE, {NEWEST: 450}, {}, False, 450, 550),
        (FREE, {NEWEST: 65}, {}, True, 835, 935),
        (FREE, {NEWEST: 65, OLDER: 835}, {}, True, 0, 100),
        (FREE, {NEWEST: 65, OLDER: 835, OTHER: 100}, {}, True, 0, 0),
        # More was sent than the quota has: upstream counted otherwise, or the plan was changed.
        (FREE, {OLDER: 1_200}, {}, False, 0, 0),
        # A share in the settings: no more than half is kept, and no more than one run may send.
        (QuotaRule(1_000, 900), {}, {}, False, 500, 1_000),
        (QuotaRule(1_000, 200), {}, {}, False, 800, 1_000),
        (QuotaRule(1_000, 20), {}, {}, False, 900, 1_000),
        (QuotaRule(1_000, None), {}, {}, False, 500, 1_000),
        # A plan without a quota.
        (QuotaRule(None, None), {OLDER: 10_000_000}, {}, False, None, None),
    ],
)
def test_older_days_leave_a_reserve_for_the_newest_one(
    rule: QuotaRule,
    sent: dict[RunKind, int],
    held: dict[str, tuple[RunKind, int]],
    is_done: bool,
    older: int | None,
    others: int | None,
) -> None:
    day = QuotaDay(sent, {run: Reservation(*one) for run, one in held.items()}, is_done)
    assert [rule.available(day, kind) for kind in (OLDER, NEWEST, OTHER)] == [older, others, others]


def test_a_run_that_ends_holds_nothing_and_what_it_sent_stays() -> None:
    day = QuotaDay().with_reservation("a", OLDER, 200).with_reservation("b", NEWEST, 200)
    assert day.taken == 400
    ended = day.with_ended_run("b", NEWEST, 65, is_newest_day_done=True)
    assert (ended.taken, ended.taken_by(NEWEST), ended.is_newest_day_done) == (265, 65, True)
    assert ended.with_ended_run("a", OLDER, 0, is_newest_day_done=False).is_newest_day_done, "it stays done"
    assert QuotaDay.from_json(ended.to_json()) == ended


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"sent": [], "reserved": {}, "is_newest_day_done": False},
        {"sent": {"newest_day": -1}, "reserved": {}, "is_newest_day_done": False},
        {"sent": {"newest_day": True}, "reserved": {}, "is_newest_day_done": False},
        {"sent": {"nobody": 1}, "reserved": {}, "is_newest_day_done": False},
        {"sent": {}, "reserved": {"a": 5}, "is_newest_day_done": False},
        {"sent": {}, "reserved": {"a": {"kind": "other"}}, "is_newest_day_done": False},
    ],
)
def test_what_no_run_wrote_is_not_read(stored: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        QuotaDay.from_json(stored)
