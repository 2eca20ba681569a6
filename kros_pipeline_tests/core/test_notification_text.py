"""A message says what happened, to what, and what to do; nothing of upstream's text acts in a chat or names a call."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from kros_pipeline.core.notification_state import Change, Kind, Level, Problem, Resolution, day_subject
from kros_pipeline.core.notification_text import neutralise, shorten_reason, write_body, write_title

AT = datetime(2025, 1, 20, tzinfo=UTC).isoformat()
CHECK = "check no_recent_day_is_missing"


def change(
    subject: str, reason: str = "It is red.", kind: Kind = Kind.RED, level: Level = Level.ERROR, run_id: str = "r1"
) -> Change:
    return Change(kind, subject, Problem(level, reason, AT, "Mend it.", run_id))


def body_of(*changes: Change) -> str:
    return write_body(
        list(changes),
        run_url=lambda run_id: f"https://ui.example/runs/{run_id}",
        runbook_url=lambda subject: f"docs/runbook.md#{subject.replace(' ', '-')}",
    )


@pytest.mark.parametrize(
    ("hostile", "gone"),
    [
        # mentions of Slack, Discord, Mattermost, Teams, Telegram
        ("<!channel> look", "<!channel>"),
        ("<@U012AB3CD> look", "<@"),
        ("<#C012> and <!subteam^S1>", "<"),
        ("@everyone and @here and @all", "@"),
        ("<at>all</at>", "<at>"),
        # links, images, and what loads something
        ("<https://evil.example|click>", "https://"),
        ("[click](https://evil.example)", "]("),
        ("![x](http://evil.example/pixel.png)", "http://"),
        ("<img src=https://evil.example/x.png onerror=alert(1)>", "<img"),
        ("<script>alert(1)</script>", "<script"),
        ("javascript:alert(1)", "javascript:"),
        # markup that would hide or frame the rest
        ("```\nall of the rest", "`"),
        ("||spoiler|| ~~struck~~ **bold**", "~"),
        ("&lt;!channel&gt;", "&"),
    ],
)
def test_a_hostile_text_does_nothing(hostile: str, gone: str) -> None:
    assert gone not in neutralise(hostile)
    assert gone not in write_title([change(hostile)], hostile)
    links = "Runbook: docs/runbook.md#x\nRun: https://ui.example/runs/r1"
    body = write_body(
        [change("job x", shorten_reason(hostile))],
        run_url=lambda run_id: f"https://ui.example/runs/{run_id}",
        runbook_url=lambda _: "docs/runbook.md#x",
    )
    assert body.endswith(links) and gone not in body.removesuffix(links)


def test_an_address_in_s3_and_a_name_of_a_check_stay_as_they_are() -> None:
    text = "s3://bucket/krosai/tables/calls: no_recent_day_is_missing, 5 × 403 (HTML)"
    assert neutralise(text) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("5 × recording failed: call_a, call_b, sha256.abc, …. Mend it.", "5 × recording failed. Mend it."),
        ("1 × recording lost: call_a.", "1 × recording lost."),
        ("3 × recording failed: call_a, call_b (3 × not audio: HTML).", "3 × recording failed (3 × not audio: HTML)."),
        (
            "2025-01-10 is incomplete: 6 × recording failed: call_a, call_b, … (6 × 403); 2 more problems.",
            "2025-01-10 is incomplete: 6 × recording failed (6 × 403); 2 more problems.",
        ),
        ("2025-01-10 is incomplete: 1 × call lost: call_…", "2025-01-10 is incomplete: 1 × call lost"),
        ("1 × recording that is no MP3 (wav): it plays: call_a.", "1 × recording that is no MP3 (wav): it plays."),
        (
            "2 × object of an erased call: audio/dt=2025-01-10/call_a.mp3, audio/dt=2025-01-10/sha256.ab.mp3. Look.",
            "2 × object of an erased call. Look.",
        ),
        ("s3://b/p/audio/dt=2025-01-10/call_a.mp3: denied.", "s3://b/p/audio/dt=2025-01-10/…: denied."),
        ("GET /calls/call_a/transcript answered 403.", "GET /calls/…/transcript answered 403."),
        (
            "call_ids: 2 of them are no calls of 2025-01-10: call_a, call_b",
            "call_ids: 2 of them are no calls of 2025-01-10",
        ),
        ("call_a is not held: access was denied.", "A call is not held: access was denied."),
        ("5 failed: 3 × not audio (HTML), 2 × 403.", "5 failed: 3 × not audio (HTML), 2 × 403."),
        ("KROSAI_API_KEY is missing: set it.", "KROSAI_API_KEY is missing: set it."),
        ("The number is +234 803 123 4567.", "The number is (number)."),
        ("GET https://h.example/x?X-Amz-Signature=abc failed.", "GET https://h.example/x failed."),
        ("key kros_live_abcdef is wrong.", "key (secret) is wrong."),
        ("line\nline\x1b[31m", "line line"),
    ],
)
def test_a_reason_names_no_call_and_shows_no_secret(said: str, shown: str) -> None:
    assert shorten_reason(said) == shown


def test_a_long_reason_keeps_its_first_sentences() -> None:
    shown = shorten_reason("First. " + f"{'x' * 150}. " * 9)
    assert shown == f"First. {'x' * 150}. {'x' * 150}."


def test_each_change_has_reason_what_to_do_runbook_and_run() -> None:
    assert body_of(
        change(CHECK, level=Level.WARNING),
        change("job erase_calls", "It failed."),
        Change(Kind.RESOLVED, day_subject(date(2025, 1, 10)), Resolution("2025-01-10 is complete.", AT, "r2")),
        change("check other", kind=Kind.WORSE),
    ).split("\n\n") == [
        "RED: job erase_calls: It failed.\nWhat to do: Mend it.\nRunbook: docs/runbook.md#job-erase_calls\n"
        "Run: https://ui.example/runs/r1",
        "WORSE: check other: It is red.\nWhat to do: Mend it.\nRunbook: docs/runbook.md#check-other\n"
        "Run: https://ui.example/runs/r1",
        f"WARNING: {CHECK}: It is red.\nWhat to do: Mend it.\nRunbook: docs/runbook.md#{CHECK.replace(' ', '-')}\n"
        "Run: https://ui.example/runs/r1",
        "RESOLVED: day 2025-01-10: 2025-01-10 is complete.\nRun: https://ui.example/runs/r2",
    ]


def test_days_with_the_same_reason_share_a_paragraph() -> None:
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(300)]
    body = body_of(*(change(day_subject(day), f"{day} is incomplete. {number} × recording failed.")
                     for number, day in enumerate(days)))  # fmt: skip
    assert body.count("\n\n") == 0 and len(body) < 500
    assert body.startswith(
        "RED: 300 days (2025-01-01, 2025-01-02, 2025-01-03, …); of the first: 2025-01-01 is incomplete. 0 × recording"
    )


def test_a_message_has_at_most_twelve_paragraphs_and_says_how_many_changes_it_left_out() -> None:
    body = body_of(*(change(f"job {number:03}") for number in range(100)))
    assert body.count("\n\n") == 12 and body.endswith("And 88 more changes: see the Dagster UI.")


def test_a_message_ends_with_the_head_of_the_seal_chain_whatever_it_left_out() -> None:
    changes = [change(f"job {number:03}") for number in range(100)]
    body = write_body(changes, run_url=str, runbook_url=str, seal_head="000012 " + "a" * 64)
    assert body.endswith("UI.\n\nHead of the seal chain: 000012 " + "a" * 64)


def test_the_title_counts_what_changed_in_which_archive() -> None:
    changes = [
        change(CHECK),
        change("job x"),
        change("check y", level=Level.WARNING),
        change("check z", kind=Kind.WORSE, level=Level.WARNING),
        Change(Kind.RESOLVED, "job y", Resolution("", AT)),
    ]
    assert write_title(changes, "s3://b/p") == "2 red, 1 warning, 1 worse, 1 resolved: s3://b/p"
