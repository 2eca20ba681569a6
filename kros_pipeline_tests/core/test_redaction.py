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
    branch, drawn = ExternalError.__name__, {}
    for stem, name in re.findall(r"(?m)^ {4}([ │]*[├└]── )(\w+)", errors.__doc__ or ""):
        is_branch = len(stem) == len("├── ")
        drawn[name] = ExternalError.__name__ if is_branch else branch
        branch = name if is_branch else branch
    classes = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, ExternalError)
    }
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in classes.items() if kind is not ExternalError}


def test_the_branches_are_the_source_the_archive_and_the_webhook() -> None:
    assert ExternalError.__subclasses__() == [ApiError, DownloadError, ArchiveError, errors.NotificationFailed]
    assert not issubclass(ExternalError, OSError)


def test_an_error_carries_the_facts_that_its_handler_reads() -> None:
    assert ApiUnreachable("x").surely_not_sent is False
    assert ApiUnreachable("x", surely_not_sent=True).surely_not_sent is True
    assert (InvalidAudio("frames", "not a whole MP3").check, str(InvalidAudio("frames", "no"))) == ("frames", "no")
