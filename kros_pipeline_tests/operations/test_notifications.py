"""The targets of notifications: each service by its URL, which is a secret and never shown."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from kros_pipeline.core.errors import NotificationFailed
from kros_pipeline.operations.heartbeat import ping_heartbeat
from kros_pipeline.operations.notification_trial import try_targets
from kros_pipeline.operations.notifications import notify, open_targets
from kros_pipeline_tests.support.webhook_server import webhook_server

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "Slack"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        (f"mailtos://user:{SECRET}@smtp.example.com?to=ops@example.com", "E-Mail at smtp.example.com"),
        (f"jsons://user:{SECRET}@hooks.example.com/{SECRET}", "JSON at hooks.example.com"),
        (f"json://127.0.0.1:99/{SECRET}", "JSON at 127.0.0.1"),
        (f"https://hooks.example.com/{SECRET}", "webhook at hooks.example.com"),
        ("discord://123456789/abcdefghijklmnop", "Discord"),
    ],
)
def test_a_target_is_named_by_its_service_and_shows_no_secret(url: str, name: str) -> None:
    [target] = open_targets([url])
    assert target.name == name
    assert SECRET not in repr(target) and "TIiajk" not in repr(target)


def test_targets_of_one_service_get_numbers_and_the_same_url_counts_once() -> None:
    urls = [f"https://hooks.example.com/{number}" for number in (1, 2, 2)]
    assert [target.name for target in open_targets(urls)] == [
        "webhook at hooks.example.com",
        "webhook at hooks.example.com (2)",
    ]


@pytest.mark.parametrize(
    "url", [f"nosuchservice://{SECRET}", f"slack://{SECRET}", f"msteams://{SECRET}", f"jsons://:{SECRET}@:x/"]
)
def test_a_url_that_no_service_accepts_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(NotificationFailed, match=rf"^Notification target 2 \({url.split(':')[0]}://…\)") as refusal:
        open_targets(["https://h.example/x", url])
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["json", "xml", "form"])
def test_a_message_never_crosses_the_network_in_the_clear(scheme: str) -> None:
    with pytest.raises(NotificationFailed, match=f"is not encrypted: use {scheme}s://"):
        open_targets([f"{scheme}://hooks.example.com/{SECRET}"])
    assert open_targets([f"{scheme}://localhost/x"])


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_message_arrives_as_it_was_written(scheme: str) -> None:
    with webhook_server() as hook:
        [target] = open_targets([hook.url(scheme)])
        target.send("1 red", "RED: a * _b_ \\n <c>")
    [posted] = hook.posted
    if scheme == "http":
        assert posted == {"text": "1 red\n\nRED: a * _b_ \\n <c>"}
    else:
        assert (posted["title"], posted["message"]) == ("1 red", "RED: a * _b_ \\n <c>")


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_target_that_does_not_accept_it_is_an_error_without_its_path(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with webhook_server() as hook:
        hook.answers = [503]
        [target] = open_targets([hook.url(scheme)])
        with pytest.raises(NotificationFailed, match="503") as refusal:
            target.send("1 red", "body")
    assert SECRET not in str(refusal.value) + caplog.text


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_target_that_is_not_there_is_an_error_without_its_path(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [target] = open_targets([f"{scheme}://127.0.0.1:9/{SECRET}"])
    with pytest.raises(NotificationFailed) as refusal:
        target.send("1 red", "body")
    assert SECRET not in str(refusal.value) + caplog.text


@pytest.mark.parametrize("url", ["{}", "{}?redirect=yes"])
@pytest.mark.parametrize("scheme", ["http", "json"])
def test_no_redirect_is_followed(scheme: str, url: str) -> None:
    with webhook_server() as hook, webhook_server() as inside:
        hook.answers, hook.location = [307], inside.url()
        [target] = open_targets([url.format(hook.url(scheme))])
        with pytest.raises(NotificationFailed):
            target.send("1 red", "body")
        assert hook.posted and not inside.posted


@pytest.mark.parametrize("url", ["", "ftp://host/s3cr3t", "http://example.com/s3cr3t", "https://[s3cr3t", "s3cr3t"])
def test_a_webhook_that_is_no_https_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(NotificationFailed) as refusal:
        notify(url, "a day failed")
    assert SECRET not in str(refusal.value)


def test_loading_and_opening_targets_sends_nothing() -> None:
    script = (
        "import socket\n"
        "def refuse(*_, **__): raise SystemExit('a connection was made')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from kros_pipeline.operations.notifications import open_targets\n"
        "urls = ['slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ', 'mailtos://a:b@h.example', 'jsons://h.example']\n"
        "print(len(open_targets(urls)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "3\n", done.stderr


# The heartbeat.


def test_the_heartbeat_is_one_get() -> None:
    with webhook_server() as hook:
        ping_heartbeat(hook.url())
    assert hook.asked == ["/s3cr3t-path"] and not hook.posted


@pytest.mark.parametrize("status", [301, 404, 503])
def test_a_heartbeat_that_is_not_accepted_is_an_error_without_its_path(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with webhook_server() as hook:
        hook.answers, hook.location = [status], hook.url()
        with pytest.raises(NotificationFailed, match=f"answered {status}") as refusal:
            ping_heartbeat(hook.url())
    assert len(hook.asked) == 1 and SECRET not in str(refusal.value) + caplog.text
    with pytest.raises(NotificationFailed, match="gave no answer") as refusal:
        ping_heartbeat(f"http://127.0.0.1:9/{SECRET}")
    assert SECRET not in str(refusal.value) + caplog.text


# `make notify-test`.


def lines(**texts: str) -> list[str]:
    return [str(result) for result in try_targets(texts)]


def test_the_test_command_sends_one_message_to_each_target_and_prints_a_line_for_each() -> None:
    with webhook_server() as first, webhook_server() as second:
        second.answers = [503]
        urls = f"{first.url('json')} {second.url()}"
        printed = lines(
            KROS_NOTIFY=urls,
            KROS_WEBHOOK_URL=first.url(),
            KROS_HEARTBEAT_URL=first.url(),
        )
    assert printed == [
        "ok      JSON at 127.0.0.1: the message was accepted. Look whether it arrived.",
        "FAILED  webhook at 127.0.0.1: The webhook at 127.0.0.1 answered 503. Compare the URL with the service's page.",
        "ok      webhook at 127.0.0.1 (2): the message was accepted. Look whether it arrived.",
        "ok      heartbeat: the ping was accepted.",
    ]
    assert len(first.posted) == 2 and len(second.posted) == 1 and len(first.asked) == 1
    assert "make notify-test" in str(first.posted)


@pytest.mark.parametrize(
    ("texts", "printed"),
    [
        (
            {},
            [
                "skipped targets: none is set: set KROS_NOTIFY or KROS_WEBHOOK_URL to be notified.",
                "skipped heartbeat: KROS_HEARTBEAT_URL is not set.",
            ],
        ),
        (
            {"KROS_WEBHOOK_URL": "http://h.example/s3cr3t"},
            ["FAILED  settings: KROS_WEBHOOK_URL must be a whole https URL."],
        ),
    ],
)
def test_the_test_command_says_what_is_not_set_or_wrong(texts: dict[str, Any], printed: list[str]) -> None:
    assert lines(**texts) == printed


def test_the_test_command_refuses_a_url_that_no_service_accepts() -> None:
    [line] = lines(KROS_NOTIFY=f"slack://{SECRET}")
    assert line.startswith("FAILED  settings: KROS_NOTIFY: Notification target 1 (slack://…)") and SECRET not in line
