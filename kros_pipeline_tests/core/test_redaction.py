"""A redacted text shows no secret and no number; and every error is in the documented tree."""

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core import errors
from kros_pipeline.core.errors import ApiError, ApiUnreachable, ArchiveError, DownloadError, ExternalError, InvalidAudio
from kros_pipeline.core.redaction import redact

SECRET = st.from_regex(r"\A[A-Za-z0-9_-]{12,40}\Z").map(lambda text: f"s3cr3t{text}")
AROUND = st.sampled_from(["", "error: ", "<a href='", '{"url": "', "see (", "x" * 150, "line\n", "\t"])


# What stays and what is removed.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # words stay
        ("Call not found", "Call not found"),
        ("status 404, NOT_FOUND (call_abc123): 12 of 180 s", "status 404, NOT_FOUND (call_abc123): 12 of 180 s"),
        ("Vous n'avez pas accès à ça — 你好", "Vous n'avez pas accès à ça — 你好"),
        ("is that all? yes", "is that all? yes"),
        # one line
        ("a\n b\r\n\tc\u2028d ", "a b c d"),
        ("", ""),
        (None, "None"),
        (KeyError("x"), "'x'"),
        # URLs without their query, fragment or user
        ("no https://api.krosai.com/v1/calls here", "no https://api.krosai.com/v1/calls here"),
        ("GET https://h/p?X-Amz-Signature=abc&b=c failed", "GET https://h/p failed"),
        ("GET https://h/p?x='a'&sig=abc failed", "GET https://h/p failed"),
        ("GET https://h/p#token=abc failed", "GET https://h/p failed"),
        ("with url: /r/a.mp3?token=abc&x=y (refused)", "with url: /r/a.mp3 (refused)"),
        ("https://user:pa@ss@h/p", "https://h/p"),
        # keys, however they are written
        ("key kros_live_0a1b-2c is bad", "key (secret) is bad"),
        ("KROS_TEST_0a1b2c.", "(secret)"),
        ("x-api-key: abc def", "(secret) def"),
        ("X-API-Key=abc", "(secret)"),
        ("{'x-api-key': 'abc'}", "{'(secret)"),
        ("Authorization: Bearer eyJhbGci.abc.def!", "(secret)"),
        ('{"Authorization": "Basic dXNlcjpwdw=="}', '{"(secret)'),
        ("Authorization: Token abc123", "(secret)"),
        ("authorization=ApiKey abc123 x", "(secret) x"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=c0ffee", "(secret) (secret)"),
        ("Invalid API key: abc12345 x", "Invalid (secret) x"),
        ("Invalid API key: it is unknown", "Invalid API key: it is unknown"),
        ("sk-proj-0a1b2c3d x", "(secret) x"),
        ("bearer abc", "(secret)"),
        ("X-Amz-Security-Token: abc", "(secret)"),
        # numbers, however they are written
        *(
            (f"to {number} now", "to (number) now")
            for number in ("+2348012345678", "5551234", "+1 415-555-1234", "415.555.1234")
        ),
        *(
            (f"to {number} now", "to (number) now")
            for number in ("030/1234567", "+1‑415‑555‑1234", "+44 20 7946 0958", "٠١٢٣٤٥٦٧٨٩")
        ),
        ("to (415) 555-1234 now", "to ((number) now"),
        *(
            (f"to {number} now", "to (number) now")
            for number in (
                "+234,801,234,5678",
                "+234;801;234;5678",
                "+234|801|234|5678",
                "+234:801:234:5678",
                "+234_801_234_5678",
                "+234 (0) 801 234 5678",
                "+234\u00a0801\u00a0234\u00a05678",
                "+234 · 801 · 234 · 5678",
                "0801,234,5678",
                "0801;234;5678",
                "0801|234|5678",
                "0801*234*5678",
                "0801~234~5678",
                "0801:234:5678",
                "\u202a+2348012345678\u202c",
                "+2\u200b34801234\u200b5678",
                "+2348012345678\x00",
            )
        ),
        ("sip:+2348012345678@host", "sip:(number)@host"),
        ("tel:+234-801-234-5678;ext=12", "tel:(number);ext=12"),
        ("from_2348012345678", "from_(number)"),
        ("from_number=2348012345678", "from_number=(number)"),
        ("user_phone_2348012345678", "user_phone_(number)"),
        ("+1415555123", "(number)"),
        # ids, hashes and dates are no numbers
        *(
            (f"call {name} is busy", f"call {name} is busy")
            for name in (
                "call_abc123",
                "call_2348012345678",
                "call_20250110_100000",
                "ep_1234567890",
                "pn_0123456789",
                "550e8400-e29b-41d4-a716-446655440000",
                "00000000-0000-4000-8000-123456789012",
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "evt_01HZX3V9K8",
                "CA1234567890abcdef1234567890abcdef",
                "req-2025-01-10-abc",
                "2025-01-10",
                "2025-01-10T10:00:00.123456Z",
            )
        ),
        *(
            (f"no kms:Decrypt on {arn} x", f"no kms:Decrypt on {arn} x")
            for arn in ("arn:aws:kms:eu-west-1:123456789012:key/abc", "arn:aws-cn:iam::123456789012:user/ada")
        ),
        ("arn:aws:sns:eu-west-1:123456789012:+2348012345678", "arn:aws:sns:eu-west-1:123456789012:(number)"),
        ("page 2 of 1000: 50 of 180 s", "page 2 of 1000: 50 of 180 s"),
        ("one of 10, 20, 50, 100", "one of 10, 20, 50, 100"),
        # more names of secrets
        *(
            (f"bad {name}{mark}s3cr3t1x here", "bad (secret) here")
            for name in (
                "api_key",
                "apikey",
                "API-KEY",
                "krosai_api_key",
                "access_token",
                "refresh-token",
                "client_secret",
                "aws_secret_access_key",
                "password",
                "passwd",
                "private_key",
                "session_token",
                "webhook_secret",
            )
            for mark in ("=", ": ", " = ")
        ),
        ('{"api_key":"s3cr3t","a":1}', '{"(secret),"a":1}'),
        ("token=s3cr3t&a=1", "(secret)&a=1"),
        ("signature=s3cr3t", "(secret)"),
        ("auth=s3cr3t", "(secret)"),
        ("hmac=s3cr3t", "(secret)"),
        ("token: s3cr3t4567", "(secret)"),
        ("the token expired", "the token expired"),
        ("invalid token: expired", "invalid token: expired"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def-1 x", "(secret) x"),
        ("AKIAIOSFODNN7EXAMPLE x", "(secret) x"),
        ("sk_live_0a1b2c3d4e x", "(secret) x"),
        ("-----BEGIN PRIVATE KEY----- MIIabc -----END PRIVATE KEY----- x", "(secret) x"),
        ("https://storage.krosai.com/a.mp3?auth=s3cr3t x", "https://storage.krosai.com/a.mp3 x"),
        ("//user:s3cr3t@storage.krosai.com/a", "//storage.krosai.com/a"),
        # what a terminal would act on, or what turns the direction of the writing
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil\x1b\\link", "link"),
        ("a\x00b\x07c\x7fd\x9be\x85f", "abcde f"),
        ("safe\u202egnp.exe\u202c", "safegnp.exe"),
        ("\u2066a\u2069\u200e\u200f\u061cb\ufeff", "ab"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        # characters that neither Parquet nor a terminal accepts
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_words_stay_and_secrets_are_removed(text: object, words: str) -> None:
    assert redact(text) == words


@given(
    AROUND,
    SECRET,
    st.sampled_from(["?", "?a=b&", "#", "?a='b'&", "?x;"]),
    st.sampled_from(["sig=", "X-Amz-Signature=", "", "t%3D"]),
)
def test_no_part_of_a_urls_query_survives(around: str, secret: str, mark: str, name: str) -> None:
    assert secret not in redact(f"{around}https://storage.krosai.com/recordings/a.mp3{mark}{name}{secret} {around}")


@given(
    AROUND,
    SECRET,
    st.sampled_from(["kros_live_", "kros_test_", "x-api-key: ", "Authorization: Bearer ", "bearer ", '"x-api-key":"']),
)
def test_no_key_survives(around: str, secret: str, name: str) -> None:
    assert secret not in redact(f"{around} {name}{secret}")


@given(
    AROUND, st.integers(10**6, 10**15 - 1), st.sampled_from(["", " ", "-", ".", ") ", "/", " - "]), st.integers(1, 6)
)
def test_no_phone_number_survives(around: str, number: int, gap: str, group: int) -> None:
    digits = str(number)
    written = gap.join(digits[start : start + group] for start in range(0, len(digits), group))
    assert not re.search(r"\d\D{0,3}\d\D{0,3}\d", redact(f"{around}+{written}"))


@given(st.text())
def test_any_text_becomes_one_short_line_that_can_be_encoded(text: str) -> None:
    words = redact(text)
    words.encode()
    assert len(words) <= 200
    assert words == " ".join(words.split())


@pytest.mark.parametrize(("length", "shown"), [(200, "a" * 200), (201, "a" * 199 + "…"), (10**7, "a" * 199 + "…")])
def test_a_text_is_cut_at_200_characters(length: int, shown: str) -> None:
    assert redact("a" * length) == shown


# The tree of errors.


def test_the_tree_in_the_docstring_shows_every_error_below_its_base() -> None:
    above, drawn = [ExternalError.__name__], {}
    for stem, name in re.findall(r"(?m)^ {4}([ │]*[├└]── )(\w+)", errors.__doc__ or ""):
        depth = len(stem) // len("├── ")
        drawn[name] = above[depth - 1]
        above[depth:] = [name]
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, ExternalError)
    }
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in classes.items() if kind is not ExternalError}


def test_the_branches_are_those_of_what_is_outside() -> None:
    assert ExternalError.__subclasses__() == [
        ApiError,
        DownloadError,
        ArchiveError,
        errors.LocalFault,
        errors.NotificationFailed,
        errors.SigningFailed,
        errors.TimestampFailed,
    ]
    assert not issubclass(ExternalError, OSError)


def test_an_error_carries_the_facts_that_its_handler_reads() -> None:
    assert ApiUnreachable("x").surely_not_sent is False
    assert ApiUnreachable("x", surely_not_sent=True).surely_not_sent is True
    assert (InvalidAudio("frames", "not a whole MP3").check, str(InvalidAudio("frames", "no"))) == ("frames", "no")
