"""Every setting is read in one place; every bad one is named, all at once, and no secret is shown."""

from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kros_pipeline.core.settings import BadSettings
from kros_pipeline.core.speaker_roles import USUAL_ROLES
from kros_pipeline.source.plans import PLANS
from kros_pipeline.steps.settings import (
    SETTINGS,
    parse_settings,
    parse_settings_and_rules,
    parse_start_date,
    parse_webhook_url,
    read_code_versions,
)

# The names and defaults that operators rely on. A default that is no text stands beside its name.
CONTRACT = {
    "KROSAI_API_KEY": None,  # required
    "KROSAI_AUTH": "x-api-key",
    "KROSAI_BASE_URL": "https://api.krosai.com/v1",
    "KROSAI_ORGANIZATION_ID": None,
    "KROSAI_TIMEZONE": None,  # UTC
    "KROSAI_PLAN": "pro",
    "KROSAI_RETENTION_DAYS": None,  # the plan's default
    "KROSAI_REQUESTS_PER_SECOND": None,  # the plan's rate
    "KROSAI_REQUESTS_PER_RUN": None,  # half the plan's day
    "KROS_RECORDING_HOSTS": None,  # storage.krosai.com and the API's own host
    "KROS_DEFAULT_COUNTRY": None,  # national numbers stay as they came
    "KROS_ARCHIVE_URL": None,  # required
    "KROS_SSE": None,  # the bucket's default
    "KROS_KMS_KEY_ID": None,  # with KROS_SSE=aws:kms
    "KROS_START_DATE": "2025-01-01",
    "KROS_LOOKBACK_DAYS": "3",
    "KROS_TRANSCRIPT_DETAILS": "missing",
    "KROS_AGENT_LABELS": None,  # beside the usual names
    "KROS_CALLER_LABELS": None,
    "KROS_FLAG_RULES": None,
    "KROS_DOWNLOAD_WORKERS": "32",
    "KROS_LEGAL_HOLD": "off",
    "KROS_ERASURE_KEY": None,  # the key of the tombstones
    "KROS_WEBHOOK_URL": None,  # where failures are posted
    "KROS_BROWSE_LISTEN": "127.0.0.1:8757",  # this machine only
    "KROS_BROWSE_PROXIES": None,  # without a login
    "KROS_BROWSE_USER_HEADER": "X-Forwarded-User",
    "KROS_BROWSE_USERS": None,
    "KROS_BROWSE_CACHE": None,  # below ~/.cache
    "KROS_BROWSE_REVIEW_FORM": None,  # the package's own
    "KROS_BROWSE_DAGSTER_URL": "http://127.0.0.1:3000",
}
KEY = "kros_live_s3cr3t"
LEAST = {"KROSAI_API_KEY": KEY, "KROS_ARCHIVE_URL": "s3://bucket/archive"}
SECRETS = {
    "KROSAI_API_KEY": KEY,
    "KROS_ERASURE_KEY": "erasure-s3cr3t-0123456789abcdef-0123456789abcdef",
    "KROS_WEBHOOK_URL": "https://hooks.example.com/services/s3cr3t",
}
BRIDGE = {"KROSAI_BASE_URL": "https://api.krosai.com/api/v1/", "KROSAI_ORGANIZATION_ID": "0b8e2c9a"}
KMS = {"KROS_SSE": "aws:kms", "KROS_KMS_KEY_ID": "alias/archive"}


def problems_of(**texts: str | None) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        parse_settings({**LEAST, **texts})
    assert str(bad.value) == " ".join(bad.value.problems)
    return bad.value.problems


def test_the_settings_are_those_of_the_contract_in_its_order() -> None:
    assert [(setting.name, setting.default) for setting in SETTINGS] == list(CONTRACT.items())


def test_the_required_settings_and_the_secrets_are_declared() -> None:
    assert [setting.name for setting in SETTINGS if setting.missing] == list(LEAST)
    assert [setting.name for setting in SETTINGS if setting.is_secret] == list(SECRETS)


def test_every_default_is_a_value_that_its_own_parser_accepts() -> None:
    texts = {setting.name: setting.default for setting in SETTINGS}
    assert parse_settings(texts | LEAST) == parse_settings(LEAST)
    assert all(setting.help for setting in SETTINGS)


def test_two_settings_are_enough() -> None:
    settings = parse_settings(LEAST)
    assert settings.source.api_key == KEY
    assert settings.source.auth == "x-api-key"
    assert settings.source.base_url == "https://api.krosai.com/v1"
    assert settings.source.organization_id is None
    assert settings.source.plan == PLANS["pro"]
    assert settings.source.retention_days == 30
    assert settings.source.requests_per_second == 50
    assert settings.source.requests_per_run == 25_000
    assert settings.source.recording_hosts == {"storage.krosai.com", "api.krosai.com"}
    assert (settings.archive.bucket, settings.archive.prefix) == ("bucket", "archive")
    assert (settings.archive.sse, settings.archive.kms_key_id, settings.archive.erasure_key) == (None, None, None)
    assert settings.lookback_days == 3
    assert settings.ask_every_transcript is False
    assert settings.download_workers == 32
    assert (settings.source.connections, settings.archive.connections) == (32, 52)
    assert (settings.legal_hold, settings.rules_path, settings.webhook_url) == (False, None, None)


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n"])
@pytest.mark.parametrize("name", [name for name in CONTRACT if name not in LEAST])
def test_a_blank_setting_is_an_absent_one(name: str, blank: str | None) -> None:
    assert parse_settings({**LEAST, name: blank}) == parse_settings(LEAST)


def test_a_variable_that_is_no_setting_of_ours_is_ignored() -> None:
    others = {"KROS_TEST_TYPO": "x", "PATH": "/bin", "KROS": "x", "KROS_BLANK": " "}
    assert parse_settings({**LEAST, **others}) == parse_settings(LEAST)


def test_a_variable_that_is_named_like_a_setting_is_refused_without_its_value() -> None:
    assert problems_of(KROS_LOOKBAK_DAYS="5", KROSAI_APIKEY="s3cr3t", KROSAI_AUTH="basic") == [
        "KROSAI_AUTH is 'basic'; it must be one of x-api-key, bearer.",
        "KROSAI_APIKEY is no setting: did you mean KROSAI_API_KEY?",
        "KROS_LOOKBAK_DAYS is no setting: did you mean KROS_LOOKBACK_DAYS?",
    ]


# Good values.


@pytest.mark.parametrize(
    ("texts", "field", "value"),
    [
        ({"KROSAI_API_KEY": " k \n"}, "api_key", "k"),
        ({"KROSAI_AUTH": "Bearer"}, "auth", "bearer"),
        ({"KROSAI_ORGANIZATION_ID": "0b8e2c9a"}, "organization_id", "0b8e2c9a"),
        # addresses
        ({"KROSAI_BASE_URL": "https://eu.krosai.com/v1/"}, "base_url", "https://eu.krosai.com/v1"),
        ({"KROSAI_BASE_URL": "http://127.0.0.1:8080"}, "base_url", "http://127.0.0.1:8080"),
        ({"KROSAI_BASE_URL": "http://[::1]:8080/v1"}, "base_url", "http://[::1]:8080/v1"),
        ({"KROSAI_BASE_URL": "https://EU.krosai.com/v1"}, "recording_hosts", {"storage.krosai.com", "eu.krosai.com"}),
        (
            {"KROS_RECORDING_HOSTS": "CDN.krosai.com, b.example:8443"},
            "recording_hosts",
            {"cdn.krosai.com", "b.example:8443"},
        ),
        # the Bridge
        (BRIDGE, "auth", "bearer"),
        (BRIDGE, "is_bridge", True),
        ({**BRIDGE, "KROSAI_AUTH": "Bearer"}, "auth", "bearer"),
        ({**BRIDGE, "KROSAI_BASE_URL": "http://127.0.0.1:8080/x/api/v1//"}, "is_bridge", True),
        (BRIDGE, "requests_per_second", 10),
        ({**BRIDGE, "KROSAI_PLAN": "free"}, "requests_per_second", 10),
        ({**BRIDGE, "KROSAI_PLAN": "enterprise"}, "requests_per_second", 10),
        ({**BRIDGE, "KROSAI_REQUESTS_PER_SECOND": "25"}, "requests_per_second", 25),
        *(
            ({"KROSAI_BASE_URL": url}, "is_bridge", False)
            for url in (
                "https://api.krosai.com/v1",
                "https://api.krosai.com/api/v12",
                "https://api.krosai.com/api/v1/x",
            )
        ),
        # times without a zone
        ({"KROSAI_TIMEZONE": "Africa/Lagos"}, "timezone", ZoneInfo("Africa/Lagos")),
        ({"KROSAI_TIMEZONE": "UTC"}, "timezone", ZoneInfo("UTC")),
        ({"KROS_DEFAULT_COUNTRY": "ng"}, "default_country", "NG"),
        ({}, "timezone", None),
        # the plan, and our own share of it
        ({"KROSAI_PLAN": "Business"}, "plan", PLANS["business"]),
        ({"KROSAI_PLAN": "business"}, "retention_days", 90),
        ({"KROSAI_PLAN": "free"}, "requests_per_run", 500),
        ({"KROSAI_RETENTION_DAYS": "90"}, "retention_days", 90),
        ({"KROSAI_REQUESTS_PER_SECOND": "0.5"}, "requests_per_second", 0.5),
        ({"KROSAI_REQUESTS_PER_RUN": "100"}, "requests_per_run", 100),
        ({"KROSAI_PLAN": "enterprise", "KROSAI_REQUESTS_PER_SECOND": "500"}, "requests_per_run", None),
        ({"KROSAI_PLAN": "enterprise", "KROSAI_REQUESTS_PER_SECOND": "500"}, "retention_days", None),
        # the archive
        ({"KROS_ARCHIVE_URL": "s3://bucket"}, "prefix", ""),
        ({"KROS_ARCHIVE_URL": "s3://bucket/"}, "prefix", ""),
        ({"KROS_ARCHIVE_URL": "s3://b-1.c/a/b_c=d/"}, "prefix", "a/b_c=d"),
        ({"KROS_SSE": "aes256"}, "sse", "AES256"),
        (KMS, "kms_key_id", "alias/archive"),
        (KMS, "sse", "aws:kms"),
        # the rest
        ({"KROS_LOOKBACK_DAYS": "0"}, "lookback_days", 0),
        ({"KROS_TRANSCRIPT_DETAILS": "ALWAYS"}, "ask_every_transcript", True),
        ({"KROS_DOWNLOAD_WORKERS": "1"}, "download_workers", 1),
        ({"KROS_DOWNLOAD_WORKERS": "256"}, "download_workers", 256),
        ({"KROS_LEGAL_HOLD": "On"}, "legal_hold", True),
        ({"KROS_ERASURE_KEY": "x" * 32}, "erasure_key", "x" * 32),
        (
            {"KROS_AGENT_LABELS": "Maria, [Desk 1]:", "KROS_CALLER_LABELS": "Frau Müller"},
            "speaker_roles",
            USUAL_ROLES.with_labels(["maria", "desk 1"], ["frau müller"]),
        ),
        ({"KROS_FLAG_RULES": "rules.yaml"}, "rules_path", "rules.yaml"),
        ({"KROS_WEBHOOK_URL": "http://localhost/x"}, "webhook_url", "http://localhost/x"),
    ],
)
def test_a_good_text_becomes_its_value(texts: dict[str, str], field: str, value: Any) -> None:
    settings = parse_settings({**LEAST, **texts})
    [part] = [part for part in (settings, settings.source, settings.archive) if hasattr(part, field)]
    assert getattr(part, field) == value


# Bad values.


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        # required
        ({"KROSAI_API_KEY": None}, "KROSAI_API_KEY is missing: set it to the key that the KrosAI dashboard shows."),
        (
            {"KROS_ARCHIVE_URL": " "},
            "KROS_ARCHIVE_URL is missing: set it to where the archive is, like s3://bucket/prefix.",
        ),
        # texts that are sent in a header
        *(
            ({name: text, **more}, f"{name} holds characters that cannot be sent in a header.")
            for name, more in (
                ("KROSAI_API_KEY", {}),
                ("KROSAI_ORGANIZATION_ID", {}),
                ("KROS_KMS_KEY_ID", {"KROS_SSE": "aws:kms"}),
            )
            for text in ("a\nb", "ké", "a\x00")
        ),
        # one of a few
        ({"KROSAI_AUTH": "basic"}, "KROSAI_AUTH is 'basic'; it must be one of x-api-key, bearer."),
        ({"KROSAI_PLAN": "gold"}, "KROSAI_PLAN is 'gold'; it must be one of free, pro, business, enterprise."),
        ({"KROS_SSE": "kms"}, "KROS_SSE is 'kms'; it must be one of aws:kms, AES256."),
        (
            {"KROS_AGENT_LABELS": "a,,b"},
            "KROS_AGENT_LABELS has the label ''; a label has letters, and at most 64 signs.",
        ),
        (
            {"KROS_AGENT_LABELS": "A, Maria", "KROS_CALLER_LABELS": "[maria]"},
            "KROS_CALLER_LABELS has the label 'maria', which KROS_AGENT_LABELS has, too.",
        ),
        ({"KROS_TRANSCRIPT_DETAILS": "yes"}, "KROS_TRANSCRIPT_DETAILS is 'yes'; it must be one of missing, always."),
        # the Bridge
        (
            {**BRIDGE, "KROSAI_AUTH": "x-api-key"},
            "KROSAI_AUTH is 'x-api-key'; the Bridge (/api/v1) accepts bearer only.",
        ),
        ({**BRIDGE, "KROSAI_AUTH": "basic"}, "KROSAI_AUTH is 'basic'; it must be one of x-api-key, bearer."),
        (
            {**BRIDGE, "KROSAI_ORGANIZATION_ID": " "},
            "KROSAI_ORGANIZATION_ID is missing: the Bridge (/api/v1) shows calls of other organizations, too, unless "
            "each request names yours.",
        ),
        (
            {**BRIDGE, "KROSAI_ORGANIZATION_ID": "é"},
            "KROSAI_ORGANIZATION_ID holds characters that cannot be sent in a header.",
        ),
        # a time zone
        (
            {"KROSAI_TIMEZONE": "africa/lagoss"},
            "KROSAI_TIMEZONE is 'africa/lagoss'; it must be the IANA name of a time zone: did you mean Africa/Lagos?",
        ),
        *(
            (
                {"KROSAI_TIMEZONE": text},
                f"KROSAI_TIMEZONE is {text!r}; it must be the IANA name of a time zone such as Africa/Lagos.",
            )
            for text in ("+01:00", "../../etc/passwd", "/etc/passwd", "a\x00b", "Africa", "é")
        ),
        # a country
        *(
            (
                {"KROS_DEFAULT_COUNTRY": text},
                f"KROS_DEFAULT_COUNTRY is {text!r}; it must be the two letters (ISO 3166) of a country, such as NG.",
            )
            for text in ("Nigeria", "XX", "234", "é")
        ),
        # whole numbers within limits
        *(
            (
                {"KROSAI_RETENTION_DAYS": text},
                f"KROSAI_RETENTION_DAYS is {text!r}; it must be a whole number from 1 to 90.",
            )
            for text in ("0", "91", "-1", "30.0", "30 days", "1e1", "²", "9" * 5_000)
        ),
        (
            {"KROSAI_PLAN": "free", "KROSAI_RETENTION_DAYS": "30"},
            "KROSAI_RETENTION_DAYS is '30'; it must be a whole number from 1 to 7.",
        ),
        (
            {"KROSAI_PLAN": "enterprise", "KROSAI_REQUESTS_PER_SECOND": "9", "KROSAI_RETENTION_DAYS": "99999999"},
            "KROSAI_RETENTION_DAYS is '99999999'; it must be a whole number from 1 to 36500.",
        ),
        ({"KROSAI_REQUESTS_PER_RUN": "0"}, "KROSAI_REQUESTS_PER_RUN is '0'; it must be a whole number of at least 1."),
        ({"KROS_LOOKBACK_DAYS": "-1"}, "KROS_LOOKBACK_DAYS is '-1'; it must be a whole number of at least 0."),
        *(
            (
                {"KROS_DOWNLOAD_WORKERS": text},
                f"KROS_DOWNLOAD_WORKERS is {text!r}; it must be a whole number from 1 to 256.",
            )
            for text in ("0", "257", "many")
        ),
        # rates
        *(
            (
                {"KROSAI_REQUESTS_PER_SECOND": text},
                f"KROSAI_REQUESTS_PER_SECOND is {text!r}; it must be a number above 0.",
            )
            for text in ("0", "-5", "nan", "inf", "fast")
        ),
        (
            {"KROSAI_PLAN": "enterprise"},
            "KROSAI_REQUESTS_PER_SECOND is missing: the rate of plan enterprise is by contract.",
        ),
        # the API's address
        *(
            (
                {"KROSAI_BASE_URL": url},
                "KROSAI_BASE_URL must look like https://api.krosai.com/v1, without user, query or fragment.",
            )
            for url in (
                *("api.krosai.com/v1", "ftp://api.krosai.com", "https://", "https:///v1", "https://u:p@api.krosai.com"),
                *(
                    "https://api.krosai.com/v1?x=1",
                    "https://api.krosai.com/v1?",
                    "https://api.krosai.com/v1#",
                    "https://a b/v1",
                ),
                *("https://api.krosai.com:99999/v1", "https://[::1/v1", "https://good.example\\@evil.example/v1"),
            )
        ),
        *(
            ({"KROSAI_BASE_URL": url}, "KROSAI_BASE_URL must be https: the key would cross the network in the clear.")
            for url in (
                "http://api.krosai.com/v1",
                "http://10.0.0.1",
                "http://localhost.evil.example",
                "http://0.0.0.0",
            )
        ),
        # the archive's
        *(
            (
                {"KROS_ARCHIVE_URL": url},
                "KROS_ARCHIVE_URL must name a bucket, like s3://bucket/prefix, and nothing else.",
            )
            for url in (
                "bucket/prefix",
                "https://bucket/x",
                "s3://",
                "s3:///x",
                "s3://Bucket/x",
                "s3://a/x",
                "s3://a_b/x",
            )
        ),
        *(
            (
                {"KROS_ARCHIVE_URL": f"s3://bucket/{prefix}"},
                f"KROS_ARCHIVE_URL has a prefix with characters that S3 keys should not have: {prefix!r}.",
            )
            for prefix in ("a//b", "a/../b", ".", "a b", "é", "a?b", "a\\b")
        ),
        # a long value may be a secret in the wrong place
        (
            {"KROS_ARCHIVE_URL": f"s3://bucket/{'p' * 513}"},
            "KROS_ARCHIVE_URL has a prefix with characters that S3 keys should not have: 'pppp'… (not shown whole).",
        ),
        (
            {"KROSAI_PLAN": "kros_live_0123456789abcdef"},
            "KROSAI_PLAN is 'kros'… (not shown whole); it must be one of free, pro, business, enterprise.",
        ),
        # encryption
        ({"KROS_SSE": "aws:kms"}, "KROS_KMS_KEY_ID is missing: KROS_SSE=aws:kms needs the key's id or ARN."),
        ({"KROS_KMS_KEY_ID": "k"}, "KROS_KMS_KEY_ID is set, but KROS_SSE is not aws:kms."),
        ({"KROS_KMS_KEY_ID": "k", "KROS_SSE": "AES256"}, "KROS_KMS_KEY_ID is set, but KROS_SSE is not aws:kms."),
        # hosts
        *(
            (
                {"KROS_RECORDING_HOSTS": f"storage.krosai.com, {host}"},
                f"KROS_RECORDING_HOSTS holds {host!r}; write host or host:port, with commas between them.",
            )
            for host in ("https://a.example", "a.example/x", "*.a.example", "u@a.example", "a:b", "é.example")
        ),
        ({"KROS_RECORDING_HOSTS": ","}, "KROS_RECORDING_HOSTS is ',', which names no host."),
        (
            {"KROS_RECORDING_HOSTS": "*.a.example, b.example, u@c.example"},
            "KROS_RECORDING_HOSTS holds '*.a.example', 'u@c.example'; "
            "write host or host:port, with commas between them.",
        ),
        # secrets, which are not shown
        ({"KROS_ERASURE_KEY": "x" * 31}, "KROS_ERASURE_KEY must have at least 32 characters."),
        ({"KROS_WEBHOOK_URL": "http://hooks.example.com/x"}, "KROS_WEBHOOK_URL must be a whole https URL."),
    ],
)
def test_a_mistake_is_one_sentence_that_begins_with_the_setting(texts: dict[str, str | None], sentence: str) -> None:
    assert problems_of(**texts) == [sentence]


def test_an_unknown_plan_is_one_problem_and_limits_no_other_setting() -> None:
    assert len(problems_of(KROSAI_PLAN="gold", KROSAI_RETENTION_DAYS="365", KROSAI_REQUESTS_PER_SECOND="9")) == 1


def test_a_bad_rate_is_not_reported_as_missing_too() -> None:
    assert len(problems_of(KROSAI_PLAN="enterprise", KROSAI_REQUESTS_PER_SECOND="fast")) == 1


def test_all_problems_are_reported_at_once() -> None:
    bad = dict.fromkeys(CONTRACT, "\x00é!") | {"KROSAI_API_KEY": None, "KROS_ARCHIVE_URL": None}
    named = [sentence.split()[0] for sentence in problems_of(**bad)]
    not_parsed = {"KROS_FLAG_RULES", "KROS_START_DATE"}  # a path; and the one that only the definitions read
    not_parsed |= {name for name in CONTRACT if name.startswith("KROS_BROWSE_")}  # the page's: no run fails by them
    assert sorted(named) == sorted(CONTRACT.keys() - not_parsed)


# Secrets.


def test_no_secret_is_in_a_repr() -> None:
    settings = parse_settings({**LEAST, **KMS, **SECRETS})
    shown = f"{settings!r} {settings!s} {[settings]} {settings.source!r} {settings.archive!r}"
    assert "bucket" in shown
    assert not [name for name, secret in SECRETS.items() if secret in shown]


@pytest.mark.parametrize(
    "texts",
    [
        {"KROSAI_API_KEY": f"{KEY}\n{KEY}"},
        {"KROSAI_BASE_URL": f"https://{KEY}@api.krosai.com"},
        {"KROSAI_BASE_URL": f"https://api.krosai.com?key={KEY}"},
        {"KROS_ARCHIVE_URL": f"s3://AKIA:{KEY}@bucket/prefix"},
        {"KROSAI_AUTH": KEY * 2},
        {"KROS_ERASURE_KEY": KEY},
        {"KROS_WEBHOOK_URL": f"http://hooks.example.com/{KEY}"},
        {"KROS_START_DATE": KEY * 2, "KROS_SSE": KEY * 2, "KROS_LEGAL_HOLD": KEY * 2},
    ],
)
def test_a_problem_shows_no_secret(texts: dict[str, str]) -> None:
    assert KEY not in " ".join(problems_of(**texts))


# The first partition, which is read when definitions load.


@pytest.mark.parametrize(
    ("text", "day"),
    [(None, date(2025, 1, 1)), ("", date(2025, 1, 1)), (" ", date(2025, 1, 1)), (" 2024-02-29 ", date(2024, 2, 29))],
)
def test_the_start_date_is_a_day(text: str | None, day: date) -> None:
    assert parse_start_date(text) == day


@pytest.mark.parametrize("text", ["yesterday", "2025-02-30", "01.01.2025", "2025-01-01T00:00:00", "0"])
def test_a_bad_start_date_is_named(text: str) -> None:
    with pytest.raises(BadSettings, match=f"KROS_START_DATE is '{text}', not a date like 2025-01-01."):
        parse_start_date(text)


# The rules file, and the webhook, which is read even where another setting is bad.


def test_mistakes_in_the_rules_file_are_reported_with_those_in_the_settings(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{id: a}]")
    with pytest.raises(BadSettings) as bad:
        parse_settings_and_rules({**LEAST, "KROS_FLAG_RULES": str(rules), "KROSAI_AUTH": "basic"})
    assert bad.value.problems == [
        "KROSAI_AUTH is 'basic'; it must be one of x-api-key, bearer.",
        f"KROS_FLAG_RULES ({rules}): line 1, rule 1 ('a'), extend_days: is missing; "
        "every rule needs an id and extend_days.",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read: No such file or directory."), (b"\xff", "cannot be read: not UTF-8.")],
)
def test_a_rules_file_that_cannot_be_read_is_a_problem(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    rules = tmp_path / "rules.yaml"
    if content is not None:
        rules.write_bytes(content)
    with pytest.raises(BadSettings) as bad:
        parse_settings_and_rules({**LEAST, "KROS_FLAG_RULES": str(rules)})
    assert bad.value.problems == [f"KROS_FLAG_RULES ({rules}) {sentence}"]


@pytest.mark.parametrize(("details", "is_refused"), [("missing", True), ("ALWAYS", False)])
def test_rules_about_confidence_need_the_setting_that_asks_for_it(
    tmp_path: Path, details: str, is_refused: bool
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{id: a, extend_days: 1, confidence_below: 0.5}]")
    texts = {**LEAST, "KROS_FLAG_RULES": str(rules), "KROS_TRANSCRIPT_DETAILS": details}
    if is_refused:
        with pytest.raises(BadSettings, match="needs KROS_TRANSCRIPT_DETAILS=always"):
            parse_settings_and_rules(texts)
    else:
        assert len(parse_settings_and_rules(texts)[1].rules) == 1


def test_without_a_rules_file_there_are_no_rules() -> None:
    assert parse_settings_and_rules(LEAST)[1].rules == ()


def test_the_webhook_is_known_where_other_settings_are_bad() -> None:
    assert (
        parse_webhook_url({"KROSAI_PLAN": "gold", "KROS_WEBHOOK_URL": "https://h.example/x "}) == "https://h.example/x"
    )
    assert parse_webhook_url({"KROS_WEBHOOK_URL": " "}) is None
    with pytest.raises(BadSettings, match=r"^KROS_WEBHOOK_URL must be a whole https URL\.$"):
        parse_webhook_url({"KROS_WEBHOOK_URL": "http://h.example/x"})


@pytest.mark.parametrize(
    ("name", "value", "table"),
    [
        ("KROS_AGENT_LABELS", "Maria", "utterances"),
        ("KROS_CALLER_LABELS", "Maria", "utterances"),
        ("KROS_FLAG_RULES", "/nowhere", "flagged_calls"),
        ("KROS_DEFAULT_COUNTRY", "NG", "flagged_calls"),
    ],
)
def test_a_setting_that_decides_a_tables_rows_makes_old_days_stale(name: str, value: str, table: str) -> None:
    before, after = read_code_versions({}), read_code_versions({name: value})
    assert [key for key in before if before[key] != after[key]] == [table]
