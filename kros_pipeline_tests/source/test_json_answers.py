"""One bad value spoils itself only, and not the answer that it is in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.days import end_of, start_of
from kros_pipeline.core.json_values import canonical_json, remove_urls
from kros_pipeline.source.api_client import ApiClient
from kros_pipeline.source.call_source import Window
from kros_pipeline.source.json_answers import MAX_DEPTH, TOO_DEEP, parse_json
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.steps.run_context import SYSTEM_CLOCK
from kros_pipeline.steps.settings import parse_settings
from kros_pipeline_tests.support.accounts import DAY

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_ordinary_json_is_what_pythons_parser_makes_of_it(value: Any) -> None:
    body = json.dumps(value).encode()
    assert parse_json(body) == json.loads(body)


# A long integer; nesting in lists, in objects, in both, with brackets and quotes in strings around it; bytes.
@pytest.mark.parametrize(
    ("bad", "kept"),
    [
        (b"9" * 5_000, "9" * 5_000),
        (b"-" + b"9" * 100_000, "-" + "9" * 100_000),
        (b"[" * 1_000 + b"]" * 1_000, None),
        (b"[" * 200_000 + b"]" * 200_000, None),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, None),
        (b'[{"a\\"]}":' * 2_000 + b'"[{"' + b"}]" * 2_000, None),
        (b'"caf\xe9"', "caf\ufffd"),
        (b'"a\x00\x1fb\n"', "a\x00\x1fb\n"),
    ],
    ids=["long integer", "longer integer", "lists", "deep lists", "objects", "both", "not UTF-8", "control characters"],
)
def test_a_bad_value_leaves_its_neighbours_as_they_are(bad: bytes, kept: str | None) -> None:
    body = b'{"before": ["]", 1], "bad": ' + bad + b', "after": {"b": "}"}}'
    parsed: Any = parse_json(body)
    assert (parsed["before"], parsed["after"]) == (["]", 1], {"b": "}"})
    if kept is not None:
        assert parsed["bad"] == kept
    else:
        assert TOO_DEEP in canonical_json(remove_urls(parsed["bad"]))


@pytest.mark.parametrize("bad", [b"9" * 5_000, b"[" * 1_000 + b"]" * 1_000, b'"caf\xe9"'])
def test_a_row_with_a_bad_value_is_a_call_like_the_others_of_its_page(bad: bytes) -> None:
    class Wire(ApiClient):
        def _exchange(self, *_: Any) -> tuple[int, dict[str, str], bytes]:
            row = '{"id": "call_%d", "created_at": "2025-01-10T10:00:00Z", "status": "completed", "metadata": '
            rows = [(row % number).encode() + value + b"}" for number, value in enumerate((b"1", bad, b"2"))]
            return 200, {}, b'{"calls": [' + b",".join(rows) + b'], "total": 3, "limit": 100, "offset": 0}'

    texts = {"KROSAI_API_KEY": "k", "KROS_ARCHIVE_URL": "s3://bucket/p"}
    settings = parse_settings(texts).source
    source = KrosAI(settings, SYSTEM_CLOCK, api=Wire(settings, SYSTEM_CLOCK))
    page = source.list_page(Window(start_of(DAY), end_of(DAY)), 0, 1)
    source.close()
    assert [listed.call.call_id for listed in page.calls] == ["call_0", "call_1", "call_2"]
    assert page.unparsed == [] and page.total == 3 and page.size_bytes > len(bad)
    assert "metadata" in (page.calls[1].call.extra or "")


def test_what_is_nested_as_deep_as_allowed_is_kept() -> None:
    text = "[" * MAX_DEPTH + '"x"' + "]" * MAX_DEPTH
    assert json.dumps(parse_json(text.encode())) == text


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b'{"a": 1', b"[1,]"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(body)
