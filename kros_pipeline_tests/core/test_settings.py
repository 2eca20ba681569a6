"""A setting is declared once, its text is parsed once, and a reader collects every problem."""

import pytest

from kros_pipeline.core.settings import (
    BadValue,
    Setting,
    SettingsReader,
    choice,
    find_unknown_names,
    header_text,
    is_loopback,
    is_webhook,
    show_value,
    suggest_name,
    whole_number,
)

WORKERS = Setting("WORKERS", "4", "how many", whole_number(1, 9))
COLOR = Setting("COLOR", None, "which one", choice("red", "Blue"))
TOKEN = Setting("TOKEN", None, "who asks", header_text, missing="the token of the account", is_secret=True)


# The reader.


@pytest.mark.parametrize("blank", [{}, {"WORKERS": None}, {"WORKERS": ""}, {"WORKERS": " \t\n"}])
def test_an_absent_or_blank_text_is_the_default(blank: dict[str, str | None]) -> None:
    reader = SettingsReader(blank)
    assert (reader.value(WORKERS), reader.is_given(WORKERS), reader.problems) == (4, False, [])


def test_a_text_is_parsed_without_the_white_space_around_it() -> None:
    reader = SettingsReader({"WORKERS": " 7\n", "COLOR": "BLUE", "TOKEN": "t"})
    assert (reader.value(WORKERS), reader.optional(COLOR, None), reader.required(TOKEN, "")) == (7, "Blue", "t")
    assert reader.problems == []


def test_the_reader_goes_on_after_a_problem_and_collects_all() -> None:
    reader = SettingsReader({"WORKERS": "10", "COLOR": "green"})
    assert (reader.value(WORKERS), reader.optional(COLOR, None), reader.required(TOKEN, "?")) == (4, None, "?")
    assert reader.problems == [
        "WORKERS is '10'; it must be a whole number from 1 to 9.",
        "COLOR is 'green'; it must be one of red, Blue.",
        "TOKEN is missing: the token of the account.",
    ]


def test_a_setting_that_is_read_twice_is_one_problem() -> None:
    reader = SettingsReader({"WORKERS": "none"})
    assert [reader.value(WORKERS) for _ in range(2)] == [4, 4]
    assert len(reader.problems) == 1


def test_a_setting_without_a_default_cannot_be_read_as_if_it_had_one() -> None:
    with pytest.raises(TypeError, match="COLOR has no default"):
        SettingsReader({}).value(COLOR)


# Names that are no setting's.

DECLARED = ["KROSAI_API_KEY", "KROS_ARCHIVE_URL", "KROS_LOOKBACK_DAYS", "KROS_SSE"]


@pytest.mark.parametrize("name", ["KROS_LOOKBAK_DAYS", "KROSAI_", "KROS_", "kros_sse", "KROSAI_TEST_X", "KROS_TESTS"])
def test_a_name_with_our_prefix_that_is_not_declared_is_unknown(name: str) -> None:
    assert find_unknown_names([name, *DECLARED], DECLARED) == [name]


@pytest.mark.parametrize("name", ["KROS_TEST_", "KROS_TEST_FAULTS", "PATH", "KROSX", "KROSAI", "A_KROS_SSE", *DECLARED])
def test_a_name_of_the_tests_or_of_another_program_is_not_unknown(name: str) -> None:
    assert find_unknown_names([name], DECLARED) == []


@pytest.mark.parametrize("service", ["KROS", "KROS_ARCHIVE", "KROS_ARCHIVE_2", "KROSAI_PROXY"])
@pytest.mark.parametrize(
    "end",
    [
        "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "SERVICE_PORT_WEB_UI", "PORT", "PORT_443_TCP",
        "PORT_443_TCP_PROTO", "PORT_443_TCP_PORT", "PORT_443_TCP_ADDR", "PORT_53_UDP", "PORT_9_SCTP_ADDR",
    ],
)  # fmt: skip
def test_what_kubernetes_derives_from_the_name_of_a_service_is_not_unknown(service: str, end: str) -> None:
    assert find_unknown_names([f"{service}_{end}"], DECLARED) == []


@pytest.mark.parametrize(
    "name", ["KROS_SERVICE", "KROS_PORTS", "KROS_X_PORT_443", "KROS_X_PORT_A_TCP", "KROS_SERVICE_HOSTS", "kros_a_port"]
)
def test_a_name_that_only_resembles_those_of_kubernetes_is_unknown(name: str) -> None:
    assert find_unknown_names([name], DECLARED) == [name]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KROS_LOOKBAK_DAYS", "KROS_LOOKBACK_DAYS"),
        ("KROSAI_LOOKBACK_DAYS", "KROS_LOOKBACK_DAYS"),
        ("KROS_API_KEY", "KROSAI_API_KEY"),
        ("kros_sse", "KROS_SSE"),
        ("KROS_ARCHIVE_URI", "KROS_ARCHIVE_URL"),
        ("KROS_REGION", None),  # the prefix is no likeness
        ("KROS_", None),
    ],
)
def test_the_name_that_was_probably_meant_is_suggested(name: str, meant: str | None) -> None:
    assert suggest_name(name, DECLARED) == meant


def test_an_unknown_name_is_shown_on_one_line_without_its_value() -> None:
    reader = SettingsReader({"KROS_A\nB": "s3cr3t", "KROS_" + "X" * 500: "s3cr3t", "KROS_BLANK": " "})
    reader.refuse_unknown_names([WORKERS])
    assert reader.problems == [
        "'KROS_A\\nB' is no setting: the README lists all settings.",
        f"KROS_{'X' * 55}… is no setting: the README lists all settings.",
    ]


# Parsers.


@pytest.mark.parametrize("text", ["é", "a\nb", "a\x00", "\x7f"])
def test_a_header_text_is_printable_ascii_and_is_never_shown(text: str) -> None:
    with pytest.raises(BadValue, match=r"^holds characters that cannot be sent in a header\.$"):
        header_text(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("x" * 20, repr("x" * 20)), ("x" * 21, "'xxxx'… (not shown whole)"), ("9" * 30, repr("9" * 30))],
)
def test_a_long_bad_value_may_be_a_secret_and_is_cut(text: str, shown: str) -> None:
    assert show_value(text) == shown


# Addresses.


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://hooks.example.com/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://hooks.example.com/x", False),
        ("https://", False),
        ("https://h:99999/", False),
        ("https://[::1/", False),
        ("hooks.example.com", False),
    ],
)
def test_a_webhook_is_https_or_on_this_machine(url: str, is_allowed: bool) -> None:
    assert is_webhook(url) is is_allowed


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *(
            (host, False)
            for host in ("10.0.0.1", "0.0.0.0", "::", "localhost.example", "2130706433", "0x7f000001", "127.1", "")
        ),
    ],
)
def test_only_this_machines_own_names_are_loopback(host: str, is_own: bool) -> None:
    assert is_loopback(host) is is_own
