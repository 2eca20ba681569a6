"""A row of the list becomes a call, whatever is in the row."""

import json
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kros_pipeline.core.calls import Call
from kros_pipeline.core.json_values import canonical_json
from kros_pipeline.source.api_client import ApiClient
from kros_pipeline.source.call_parsing import (
    MalformedCall,
    parse_listed_call,
    parse_rows,
    parse_transcript_answer,
    separate_foreign_rows,
)
from kros_pipeline.source.call_source import ListedCall, Window
from kros_pipeline.source.json_answers import parse_json
from kros_pipeline.source.krosai import KrosAI
from kros_pipeline.steps.run_context import SYSTEM_CLOCK
from kros_pipeline.steps.settings import parse_settings

NOW = datetime(2025, 1, 11, 2, tzinfo=UTC)
URL = "https://storage.krosai.com/recordings/call_abc123.mp3?X-Amz-Signature=0a1b2c"
DOCUMENTED = {
    "id": "call_abc123",
    "from_number": "+14155551234",
    "to_number": "+2348012345678",
    "direction": "inbound",
    "status": "completed",
    "duration": 180,
    "cost_cents": 12,
    "endpoint_id": "ep_xyz789",
    "phone_number_id": "pn_123",
    "recording_url": URL,
    "transcript": "[Agent]: Hello, …\n[Caller]: Hi.",
    "created_at": "2025-01-10T10:00:00Z",
    "answered_at": "2025-01-10T10:00:05Z",
    "completed_at": "2025-01-10T10:03:05Z",
}
TEXTS = ["organization_id", "status", "direction", "from_number", "to_number", "endpoint_id", "phone_number_id"]
NUMBERS = {"duration": "duration_seconds", "cost_cents": "cost_cents"}
TIMES = ["answered_at", "completed_at"]
BAD_IDS: list[Any] = [None, "", " \n", 7, 1.5, True, ["a"], {}, "a\ud800"]
BAD_TIMES: list[Any] = [None, "", "secret7", 1736503200, 1.5, True, [], {}]


def parse(row: dict[str, Any], now: datetime = NOW, organization_id: str | None = None) -> ListedCall:
    named = {"id": "a", "created_at": "2025-01-10T10:00:00Z"} | row
    return parse_listed_call(named, organization_id=organization_id, now=now)


def call(now: datetime = NOW, /, **row: Any) -> Call:
    return parse(row, now).call


def extra(**row: Any) -> Any:
    return json.loads(call(**row).extra or "{}")


# One row.


@pytest.mark.parametrize("name", ["from_number", "to_number"])
@pytest.mark.parametrize(
    ("value", "country", "text"),
    [
        (2348012345678, None, "+2348012345678"),
        ({"e164": "+2348012345678", "carrier": "x"}, None, "+2348012345678"),
        ("sip:+2348012345678@sip.example.com", None, "+2348012345678"),
        ("tel:+2348012345678;ext=12", None, "+2348012345678"),
        ("+234 (0) 801 234 5678", None, "+2348012345678"),
        ("08012345678", "NG", "+2348012345678"),
        (8012345678, None, "8012345678"),
    ],
)
def test_a_phone_number_is_normalised_and_extra_has_it_as_it_came(
    name: str, value: object, country: str | None, text: str
) -> None:
    row = {"id": "a", "created_at": "2025-01-10T10:00:00Z", name: value}
    call = parse_listed_call(row, organization_id=None, now=NOW, country=country).call
    assert getattr(call, name) == text
    assert json.loads(call.extra or "{}") == {name: value}


def test_a_text_that_is_no_readable_number_stays_and_is_not_kept_twice() -> None:
    for text in ("+2348012345678", "08012345678", "anonymous"):
        made = call(from_number=text)
        assert (made.from_number, made.extra) == (text, None)


def test_the_documented_row_is_the_documented_call() -> None:
    listed = parse_listed_call(DOCUMENTED, organization_id=None, now=NOW)
    assert listed.recording_url == URL
    assert listed.call == Call(
        call_id="call_abc123",
        call_date=date(2025, 1, 10),
        organization_id=None,
        status="completed",
        direction="inbound",
        from_number="+14155551234",
        to_number="+2348012345678",
        duration_seconds=180.0,
        cost_cents=12.0,
        endpoint_id="ep_xyz789",
        phone_number_id="pn_123",
        created_at=datetime(2025, 1, 10, 10, 0, 0, tzinfo=UTC),
        answered_at=datetime(2025, 1, 10, 10, 0, 5, tzinfo=UTC),
        completed_at=datetime(2025, 1, 10, 10, 3, 5, tzinfo=UTC),
        has_recording=True,
        listed_transcript="[Agent]: Hello, …\n[Caller]: Hi.",
        extra=None,
        listed_at=NOW,
    )


def test_an_id_and_a_time_are_all_that_a_row_needs() -> None:
    bare = parse({})
    assert bare.recording_url is None
    known = {"call_id", "call_date", "created_at", "has_recording", "listed_at"}
    assert {field.name for field in fields(Call) if getattr(bare.call, field.name) is not None} == known


@pytest.mark.parametrize(
    ("row", "field"),
    [
        *(({"id": bad, "created_at": "2025-01-10T10:00:00Z"}, "'id'") for bad in BAD_IDS),
        ({"created_at": "2025-01-10T10:00:00Z"}, "'id'"),
        *(({"id": "secret7", "created_at": bad}, "'created_at'") for bad in BAD_TIMES),
        ({"id": "secret7"}, "'created_at'"),
        *((row, "not an object") for row in (None, "secret7", 7, ["secret7"], True)),
    ],
)
def test_a_row_without_id_or_time_is_refused_by_its_field_without_its_value(row: Any, field: str) -> None:
    with pytest.raises(MalformedCall) as refused:
        parse_listed_call(row, organization_id=None, now=NOW)
    assert field in str(refused.value)
    assert "secret7" not in str(refused.value)


@pytest.mark.parametrize("value", [7, 0, 1.5, True, False, ["x"], [], {"x": 1}, {}])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_another_type_is_null_and_whole_in_extra(name: str, value: Any) -> None:
    assert getattr(call(**{name: value}), name) is None
    assert extra(**{name: value}) == {name: value}


@pytest.mark.parametrize(
    "value", ["soon", "", "12 s", "nan", "-inf", True, False, ["x"], [], {"x": 1}, {}, 10**400, -(10**4000)]
)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_value_that_is_no_number_is_null_and_whole_in_extra(name: str, value: Any) -> None:
    assert getattr(call(**{name: value}), NUMBERS[name]) is None
    assert extra(**{name: value}) == {name: value}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_not_finite_is_null_even_in_extra(name: str, value: float) -> None:
    assert getattr(call(**{name: value}), NUMBERS[name]) is None
    assert extra(**{name: value, "deep": [value]}) == {name: None, "deep": [None]}


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0.0), (180, 180.0), (1.25, 1.25), (-3, -3.0), ("180", 180.0), ("1.5", 1.5), (2**63, 2.0**63)],
)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_read_as_one_even_if_it_was_quoted(name: str, value: Any, number: float) -> None:
    assert getattr(call(**{name: value}), NUMBERS[name]) == number
    assert extra(**{name: value}) == {}


@pytest.mark.parametrize("value", ["soon", "", "1736503200", 1736503200, 1.5, True, ["x"], {}])
@pytest.mark.parametrize("name", TIMES)
def test_a_value_that_is_no_time_is_null_and_whole_in_extra(name: str, value: Any) -> None:
    assert getattr(call(**{name: value}), name) is None
    assert extra(**{name: value}) == {name: value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["[Agent]: x", "[Caller]: y"], "[Agent]: x\n[Caller]: y"),
        ({"text": "[Agent]: x", "language": "en"}, "[Agent]: x"),
        ({"data": {"transcript": "[Agent]: x"}}, "[Agent]: x"),
        ([{"role": "agent", "text": "é"}, {"role": "user", "text": "y"}], None),
        ({"turns": [{"speaker": "Agent", "content": "x"}]}, None),
        ({"text": "x", "segments": [{"speaker": "Agent", "text": "x"}]}, None),  # the text does not say who speaks
        ({"text": "[Agent]: x", "segments": [{"speaker": "Agent", "text": "x"}]}, "[Agent]: x"),
    ],
)
def test_a_transcript_in_another_clear_form_is_read_as_a_text(value: Any, text: str | None) -> None:
    assert call(transcript=value).listed_transcript == (text or json.dumps(value, ensure_ascii=False))


@pytest.mark.parametrize("value", [7, True, [], {}, [1], [["x"]], [{"a": "b"}], {"text": "a", "content": "b"}])
def test_a_transcript_that_is_no_text_is_null_and_whole_in_extra(value: Any) -> None:
    assert call(transcript=value).listed_transcript is None
    assert extra(transcript=value) == {"transcript": value}


def test_turns_keep_no_url_that_grants_access_to_a_recording() -> None:
    url = "https://storage.krosai.com/a.mp3?X-Amz-Signature=secret"
    turns = [{"speaker": "Agent", "text": "x", "recording_url": url, "audio": url}]
    answers: list[dict[str, Any]] = [{"transcript": turns}, {"data": {"turns": turns}}]
    texts = [call(transcript=turns).listed_transcript, *(parse_transcript_answer(answer).text for answer in answers)]
    assert all(text and "storage.krosai.com/a.mp3" in text for text in texts)
    assert not any("secret" in str(text) or "recording_url" in str(text) for text in texts)


@pytest.mark.parametrize("name", [*TEXTS, *NUMBERS, *TIMES, "transcript", "recording_url"])
def test_null_and_absent_are_the_same(name: str) -> None:
    assert call(**{name: None}) == call()


@pytest.mark.parametrize("value", [7, True, [URL], {"url": URL}, "", " "])
def test_a_value_that_is_no_url_means_no_recording_and_is_kept_nowhere(value: Any) -> None:
    listed = parse({"recording_url": value})
    assert (listed.recording_url, listed.call.has_recording, listed.call.extra) == (None, False, None)


@pytest.mark.parametrize(
    ("in_row", "in_settings", "kept"),
    [("org_row", "org_set", "org_row"), (None, "org_set", "org_set"), (7, "org_set", "org_set"), (None, None, None)],
)
def test_the_organization_is_the_rows_or_the_settings(in_row: Any, in_settings: str | None, kept: str | None) -> None:
    assert parse({"organization_id": in_row}, organization_id=in_settings).call.organization_id == kept


# What has no column.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("recording_url"), inner, max_size=3)
    ),
    max_leaves=12,
)


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


@given(st.dictionaries(st.text(max_size=5), json_values))
@example({"a": [{"recording_url": URL, "b": [[{"recording_url": {"recording_url": URL}}]]}]})
@example({"a": "\ud800", "\udfff": 1})
def test_extra_is_strict_utf8_json_and_no_recording_url_is_anywhere_in_it(row: dict[str, Any]) -> None:
    kept = call(**{**row, "id": "a", "created_at": "2025-01-10T10:00:00Z"}).extra or "{}"
    kept.encode()
    assert "recording_url" not in keys_of(json.loads(kept, parse_constant=pytest.fail))
    assert canonical_json(json.loads(kept)) == kept


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        lambda x: st.lists(x, max_size=3),
    )
)
def test_an_unknown_field_survives(value: Any) -> None:
    assert extra(metadata={"crm": value}) == {"metadata": {"crm": value}}


@pytest.mark.parametrize("where", [lambda u: u, lambda u: [u], lambda u: {"a": [{"b": u}]}, lambda u: f"see {u}"])
def test_another_presigned_url_loses_its_signature(where: Any) -> None:
    kept = call(media=where(URL)).extra or ""
    assert "https://storage.krosai.com/recordings/call_abc123.mp3" in kept
    assert "0a1b2c" not in kept


@pytest.mark.parametrize("url", ["https://crm.example/deal?id=7&tab=calls", "https://crm.example/", "what? no"])
def test_an_address_that_is_no_secret_is_kept_as_it_is(url: str) -> None:
    assert extra(link=url) == {"link": url}


@pytest.mark.parametrize("depth", [50, 5_000])
def test_no_depth_of_nesting_stops_a_row_from_being_read(depth: int) -> None:
    value: Any = "the core"
    for _ in range(depth):
        value = [value]
    kept = call(metadata=value, note="x")
    assert json.loads(kept.extra or "")["note"] == "x"
    assert ("the core" in (kept.extra or "")) == (depth == 50)


def test_lone_surrogates_become_replacement_characters_in_every_text() -> None:
    odd = dict.fromkeys([*TEXTS, "transcript", "note"], "x\ud800")
    read = call(**odd)
    assert {getattr(read, name) for name in [*TEXTS, "listed_transcript"]} == {"x\ufffd"}
    assert extra(**odd) == {"note": "x\ufffd"}


def test_a_listed_call_never_shows_its_url() -> None:
    listed = parse({"recording_url": URL})
    assert "http" not in f"{listed!r} {listed!s} {[listed]} {listed.call!r}"


@pytest.mark.parametrize(
    ("created_at", "day"),
    [
        ("2025-01-10T23:59:59.999999Z", 10),
        ("2025-01-11T00:00:00Z", 11),
        ("2025-01-11T00:30:00+01:00", 10),
        ("2025-01-10T23:30:00-01:00", 11),
    ],
)
def test_the_day_of_a_call_is_the_utc_day_of_its_creation(created_at: str, day: int) -> None:
    assert call(created_at=created_at).call_date == date(2025, 1, day)


# Times without a zone, where KROSAI_TIMEZONE is set.


def test_every_time_of_a_row_that_names_no_zone_is_meant_in_the_settings_zone() -> None:
    row = {
        "id": "a",
        "created_at": "2025-01-10T00:30:00",
        "answered_at": "2025-01-10T00:30:05",
        "completed_at": "2025-01-10T00:33:05Z",  # names its own
    }
    call = parse_listed_call(row, organization_id=None, now=NOW, zone=ZoneInfo("Africa/Lagos")).call
    assert call.created_at == datetime(2025, 1, 9, 23, 30, tzinfo=UTC)
    assert call.call_date == date(2025, 1, 9)
    assert call.answered_at == datetime(2025, 1, 9, 23, 30, 5, tzinfo=UTC)
    assert call.completed_at == datetime(2025, 1, 10, 0, 33, 5, tzinfo=UTC)


def test_the_rows_of_a_page_are_read_in_the_settings_zone_parsed_or_not() -> None:
    rows = [{"id": "a", "created_at": "2025-01-10T11:00:00"}, {"created_at": "2025-01-10T11:00:00"}]
    [listed], [unparsed] = parse_rows(rows, organization_id=None, now=NOW, zone=ZoneInfo("Africa/Lagos"))
    assert listed.call.created_at == unparsed.created_at == datetime(2025, 1, 10, 10, tzinfo=UTC)


@pytest.mark.parametrize(("zone", "hour"), [("Africa/Lagos", 10), (None, 11)])
def test_the_source_reads_the_list_in_the_zone_of_its_settings(zone: str | None, hour: int) -> None:
    class Wire(ApiClient):
        def _exchange(self, *_: Any) -> tuple[int, dict[str, str], bytes]:
            return 200, {}, b'{"calls": [{"id": "a", "created_at": "2025-01-10T11:00:00"}], "total": 1}'

    texts = {"KROSAI_API_KEY": "k", "KROS_ARCHIVE_URL": "s3://bucket/p", "KROSAI_TIMEZONE": zone}
    settings = parse_settings(texts).source
    source = KrosAI(settings, SYSTEM_CLOCK, api=Wire(settings, SYSTEM_CLOCK))
    [listed] = source.list_page(Window(NOW, NOW), 0, 1).calls
    source.close()
    assert listed.call.created_at == datetime(2025, 1, 10, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created_at", "has_zone"),
    [("2025-01-10T10:00:00Z", True), ("2025-01-10T10:00:00-05:00", True), ("2025-01-10T10:00:00", False)],
)
def test_a_listed_call_says_whether_its_row_named_the_zone(created_at: str, has_zone: bool) -> None:
    assert parse({"created_at": created_at}).has_zone is has_zone


# Rows of another organization.


@pytest.mark.parametrize("theirs", ["org-2", "ORG-1", " org-2 ", "org-1\x00", 7, 1.5, True, False, ["org-1"], [], {}])
@pytest.mark.parametrize("fields", [{}, {"id": 7}, {"id": None}, {"created_at": "soon"}, {"recording_url": URL}])
def test_a_row_of_another_organization_is_only_counted(theirs: Any, fields: dict[str, Any]) -> None:
    row = DOCUMENTED | {"organization_id": theirs} | fields
    ours, foreign_ids = separate_foreign_rows([row, DOCUMENTED, row], "org-1")
    assert ours == [DOCUMENTED]
    assert len(foreign_ids) == 2 and len(set(foreign_ids)) == 1 and URL not in foreign_ids[0]


@pytest.mark.parametrize(
    "row", [{}, {"organization_id": None}, {"organization_id": ""}, {"organization_id": " \n"}, "x", None, 7]
)
def test_a_row_that_names_no_organization_is_ours(row: Any) -> None:
    assert separate_foreign_rows([row], "org-1") == ([row], [])


@pytest.mark.parametrize(("ours", "in_row"), [("org-1", " org-1\t"), ("7", 7), ("7", "7"), ("true", True)])
def test_our_organization_may_be_spelled_with_blanks_or_as_a_number(ours: str, in_row: Any) -> None:
    row = DOCUMENTED | {"organization_id": in_row}
    assert separate_foreign_rows([row], ours) == ([row], [])


def test_without_a_setting_every_row_is_ours() -> None:
    rows: list[Any] = [DOCUMENTED | {"organization_id": name} for name in ("org-1", "org-2", 7, None)]
    assert separate_foreign_rows(rows, None) == (rows, [])


@pytest.mark.parametrize("heavy", [b"7" * 5_000, b"[" * 1_000 + b"]" * 1_000, b"NaN", b'"\\ud800"'])
@pytest.mark.parametrize("field", ["organization_id", "id"])
def test_a_heavy_value_does_not_end_the_page(field: str, heavy: bytes) -> None:
    row = parse_json(b'{"organization_id": "org-2", "%s": %s}' % (field.encode(), heavy))
    assert len(separate_foreign_rows([row], "org-1")[1]) == 1
