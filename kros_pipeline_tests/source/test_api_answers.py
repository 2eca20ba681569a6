"""Whose answer it is: upstream's own is believed, a gateway's is not, and an error is one under any status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kros_pipeline.core.errors import (
    ApiError,
    ApiServerError,
    ApiUnauthorized,
    CallGone,
    CallNotFound,
    RequestRefused,
    UnaddressableCall,
    UnexpectedResponse,
)
from kros_pipeline.source.api_answers import ApiAnswer
from kros_pipeline.source.api_errors import read_answer
from kros_pipeline_tests.support.scripted_api import HTML, KEY, ScriptedApi, error

MESSAGE = b'{"message": "no Route matched with those values"}'
NOT_OURS = [
    *(HTML, b"", b" \n", MESSAGE, b"null", b"[]", b'"error"', b'{"error": ""}', b'{"error": " "}', b'{"error": null}'),
    *(b'{"error": {"text": "x"}}', b'{"error": true}', b'{"code": "NOT_FOUND"}'),
]


def api(status: int, body: bytes, **headers: str) -> ScriptedApi:
    return ScriptedApi((status, headers, body))


# GET: a 404 or 410 is upstream's own, or nobody's.


@pytest.mark.parametrize(("status", "kind"), [(404, CallNotFound), (410, CallGone)])
@pytest.mark.parametrize("body", [error(), error("NOT_FOUND"), error(None, "x", details={})])
def test_a_404_or_410_with_the_documented_error_is_upstreams_answer(
    status: int, kind: type[ApiError], body: bytes
) -> None:
    client = api(status, body)
    with pytest.raises(kind):
        client.get("/calls/call_a/recording")
    assert len(client.sent) == 1


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", NOT_OURS)
def test_a_404_or_410_of_a_gateway_is_retried_and_says_nothing_about_the_call(status: int, body: bytes) -> None:
    client = api(status, body)
    with pytest.raises(ApiServerError, match=f"status {status}.*a gateway may have sent it"):
        client.get("/calls/call_a/recording")
    assert len(client.sent) == 4
    with pytest.raises(ApiServerError):  # nor about the list
        client.get("/calls", is_about_one_call=False)


def test_a_gateway_that_recovers_is_not_noticed() -> None:
    text = b'{"transcript": "[Agent]: Hello"}'
    client = ScriptedApi((404, {}, HTML), (410, {}, MESSAGE), (408, {}, HTML), (200, {}, text))
    assert client.source.transcript("call_a").text == "[Agent]: Hello"
    assert len(client.sent) == 4


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503])
def test_a_timeout_or_conflict_is_retried_as_a_5xx_is(status: int) -> None:
    client = api(status, error("CONFLICT"))
    with pytest.raises(ApiServerError, match=f"status {status}, “CONFLICT"):
        client.get("/calls/call_a/recording")
    assert len(client.sent) == 4


@pytest.mark.parametrize("body", [error("BUSY"), error("BUSY", recording_url=None), error(None, {"code": "BUSY"})])
def test_a_200_with_an_error_is_no_answer_even_where_it_has_the_field(body: bytes) -> None:
    client = api(200, body)
    with pytest.raises(ApiServerError, match=r"status 200 with an error.*BUSY"):
        client.source.recording("call_a")
    assert len(client.sent) == 4


@pytest.mark.parametrize("body", [b"", b"null", HTML])
def test_a_200_without_json_is_retried(body: bytes) -> None:
    client = ScriptedApi((200, {}, body), (200, {}, b'{"transcript": "x"}'))
    assert client.source.transcript("call_a").text == "x"


def test_a_200_whose_error_is_null_is_an_answer() -> None:
    assert api(200, b'{"transcript": "x", "error": null}').source.transcript("call_a").text == "x"


def test_a_redirect_of_a_get_needs_a_person() -> None:
    client = api(302, HTML)
    with pytest.raises(UnexpectedResponse, match="a redirect, which is not followed"):
        client.get("/calls/call_a/recording")
    assert len(client.sent) == 1


# What changes something is done, refused, or nobody knows.


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, b"") for status in (200, 201, 202, 204)),
        *((200, body) for body in (b" \r\n", b"{}", b'{"success": true}', b'{"error": null}', b"null", b"[]", b"true")),
        (200, b'{"code": "OK", "message": "extended"}'),
    ],
)
def test_a_2xx_without_an_error_means_that_a_change_was_done(status: int, body: bytes) -> None:
    client = api(status, body)
    client.source.extend("call_a", 30, idempotency_key="decision")
    client.source.delete_recording("call_a")
    client.source.turn_on_recording()
    assert len(client.sent) == 3


def change_all(client: ScriptedApi, kind: type[ApiError], words: str) -> None:
    """Each change fails with the same error, after one request."""
    source = client.source
    for change in (
        lambda: source.extend("call_a", 30, idempotency_key="decision"),
        lambda: source.delete_recording("call_a"),
        source.turn_on_recording,
    ):
        before = len(client.sent)
        with pytest.raises(ApiError, match=words) as raised:
            change()
        assert type(raised.value) is kind
        assert len(client.sent) == before + 1


@pytest.mark.parametrize("status", [200, 201, 202, 400, 422])
@pytest.mark.parametrize("code", ["PLAN_LIMIT", None])
def test_a_documented_error_is_a_refusal_of_a_change_under_any_status(status: int, code: str | None) -> None:
    change_all(api(status, error(code)), RequestRefused, f"status {status}.*Something went wrong")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((200, body) for body in (HTML, b"OK", b"{", b'{"error": {"code": "X"}}', b'{"error": true}')),
        *((200, body) for body in (b'{"success": false}', b'{"errors": ["no"]}')),
        *((status, body) for status in (301, 302, 307, 408, 409, 500, 502) for body in (HTML, b"", error("CONFLICT"))),
        *((404, body) for body in (HTML, MESSAGE, b"")),
    ],
)
def test_after_any_other_answer_nobody_knows_whether_a_change_was_done(status: int, body: bytes) -> None:
    change_all(api(status, body), ApiServerError, f"status {status}")


def test_a_404_of_upstream_itself_is_about_the_call() -> None:
    with pytest.raises(CallNotFound):
        api(404, error("NOT_FOUND")).source.extend("call_a", 30, idempotency_key="decision")
    with pytest.raises(RequestRefused):
        api(404, error("NOT_FOUND")).source.turn_on_recording()


# The key.


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(
    ("code", "words"),
    [("KEY_EXPIRED", "create a new one.*KROSAI_API_KEY"), ("IP_NOT_ALLOWED", "Allow the public IP address")],
)
def test_an_error_of_the_key_says_what_to_do_also_about_one_call(status: int, code: str, words: str) -> None:
    client = api(status, error(code))
    for is_about_one_call in (True, False):
        with pytest.raises(ApiUnauthorized, match=words):
            client.get("/calls/call_a/recording", is_about_one_call=is_about_one_call)
    assert len(client.sent) == 2
    change_all(client, ApiUnauthorized, words)


@pytest.mark.parametrize("body", [error("FORBIDDEN"), error(), HTML, b""])
def test_no_other_403_about_one_call_is_about_the_key(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        api(403, body).get("/calls/call_a/recording")
    with pytest.raises(ApiUnauthorized):
        api(403, body).get("/calls", is_about_one_call=False)


# What is shown, and what never breaks.


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_upstreams_text_shows_neither_the_key_nor_a_number(status: int) -> None:
    client = ScriptedApi((status, {}, error("X", f"the key {KEY} of +2348012345678 says no")))
    with pytest.raises(ApiError) as raised:
        client.source.extend("call_a", 30, idempotency_key="decision")
    assert "says no" in str(raised.value)
    assert KEY not in str(raised.value) and "234801" not in str(raised.value)


def test_a_call_whose_id_is_only_dots_is_never_asked_for() -> None:
    client = api(200, b"{}")
    with pytest.raises(UnaddressableCall):
        client.source.transcript("..")
    assert client.sent == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "retry_after", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.integers(100, 599), json_values, st.booleans(), st.booleans())
def test_every_answer_is_an_object_or_an_error(
    status: int, value: object, is_change: bool, is_about_one_call: bool
) -> None:
    answer = ApiAnswer(status, {}, 10, True, value)
    try:
        read = read_answer("GET /x", answer, is_change=is_change, is_about_one_call=is_about_one_call)
    except ApiError as raised:
        assert str(raised).startswith("GET /x: ")
        if isinstance(raised, CallNotFound | CallGone):
            assert isinstance(value, dict) and isinstance(value["error"], str)
    else:
        assert 200 <= status < 300
        assert read == ({} if is_change else value)
        assert not isinstance(value, dict) or not value.get("error")
