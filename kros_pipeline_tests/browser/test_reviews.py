"""Reviews: objects that are created once, by a form that a file describes, of a sample that can be drawn again."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kros_pipeline.browser.review_form import BadForm, check_review, read_form
from kros_pipeline_tests.support.listen_archive import DAY, PROXIED, ListedCall, ListenArchive, as_user
from kros_pipeline_tests.support.recipes import ROOT

CALL = "/call/2025-01-10/call_1"
OWN = {"sec-fetch-site": "same-origin"}
GOOD = {"verdict": "problem", "q_consent": "no", "comment": "Said\r\nnothing of the recording."}


@pytest.fixture
def archive(tmp_path: Path) -> ListenArchive:
    return ListenArchive(tmp_path, [ListedCall("call_1"), ListedCall("call_2")])


def stored(archive: ListenArchive) -> dict[str, dict[str, Any]]:
    return {entry.key: json.loads(archive.store.read(entry.key) or b"") for entry in archive.store.list("reviews/")}


def test_a_review_is_one_object_that_says_everything(archive: ListenArchive) -> None:
    answer = archive.client().post(f"{CALL}/reviews", data=GOOD, headers=OWN, follow_redirects=False)
    assert answer.status_code == 303
    [(key, value)] = stored(archive).items()
    assert key == "reviews/dt=2025-01-10/call_1/20250120T090000.000000Z-local.json"
    assert value == {
        "call_id": "call_1", "call_date": "2025-01-10", "reviewer": "local", "verdict": "problem",
        "reviewed_at": "2025-01-20T09:00:00.000000+00:00", "answers": {"consent": "no"},
        "comment": "Said\nnothing of the recording.", "form": read_form(None).version,
    }  # fmt: skip
    [line] = archive.audit_lines()
    assert (line["event"], line["by"]) == ("reviewed", "local")
    page = archive.client().get(CALL).text
    assert "nothing of the recording." in page and "Problem" in page


def test_reviews_add_up_and_none_is_replaced(archive: ListenArchive) -> None:
    client = archive.client(**PROXIED)
    for user in ("amina", "chi", "o=x@example.com"):
        assert client.post(f"{CALL}/reviews", data=GOOD, headers=OWN | as_user(user)).status_code == 200
    assert len(stored(archive)) == 3
    again = client.post(f"{CALL}/reviews", data={"verdict": "good"}, headers=OWN | as_user("amina"))
    assert again.status_code == 503 and "send it again" in again.text  # the clock has not moved
    archive.now += timedelta(seconds=1)
    client.post(f"{CALL}/reviews", data={"verdict": "good"}, headers=OWN | as_user("amina"))
    assert [value["verdict"] for value in stored(archive).values()].count("problem") == 3
    assert {value["reviewer"] for value in stored(archive).values()} == {"amina", "chi", "o=x@example.com"}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"verdict": "excellent"},
        {"verdict": "good", "q_consent": "maybe"},
        {"verdict": "good", "comment": "x" * 10_001},
    ],
)
def test_what_the_form_does_not_offer_is_refused(archive: ListenArchive, sent: dict[str, str]) -> None:
    answer = archive.client().post(f"{CALL}/reviews", data=sent, headers=OWN)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert stored(archive) == {} and archive.audit_lines() == []


def test_a_huge_or_broken_body_is_refused(archive: ListenArchive) -> None:
    client = archive.client()
    assert client.post(f"{CALL}/reviews", content=b"x" * 200_000, headers=OWN).status_code == 413
    assert client.post(f"{CALL}/reviews", content=b"verdict=\xff\xfe", headers=OWN).status_code == 422
    assert stored(archive) == {}


def test_a_review_that_somebody_damaged_hides_no_other(archive: ListenArchive) -> None:
    import hashlib

    archive.client().post(f"{CALL}/reviews", data=GOOD, headers=OWN)
    digest = hashlib.sha256(b"junk").hexdigest()
    archive.store.put("reviews/dt=2025-01-10/call_1/0-x.json", b"junk", sha256=digest, mode="create")
    page = archive.client().get(CALL)
    assert page.status_code == 200 and "unreadable" in page.text and "nothing of the recording" in page.text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[", "no YAML"),
        ("- a", "no form"),
        ("title: x\nverdicts: [{value: good, label: Good}]", "verdicts"),
        ("title: x\nverdicts: [{value: a, label: A}, {value: a, label: B}]", "one name"),
        ("title: x\nverdicts: [{value: 'a b', label: A}, {value: b, label: B}]", "verdicts.0.value"),
        ("title: x\nverdicts: [{value: yes, label: A}, {value: b, label: B}]", "verdicts.0.value"),
        ("title: x\nverdicts: [{value: a, label: A}, {value: b, label: B}]\ncolour: red", "colour"),
    ],
)
def test_a_bad_form_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "form.yaml"
    path.write_text(text)
    with pytest.raises(BadForm, match=sentence):
        read_form(path)
    with pytest.raises(BadForm, match="cannot be read"):
        read_form(tmp_path / "none.yaml")


def test_a_form_of_ones_own_is_what_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "form.yaml"
    path.write_text("title: Ours\nverdicts: [{value: a, label: A}, {value: b, label: B}]\n")
    form = read_form(path)
    assert check_review(form, {"verdict": "b"}) == {"verdict": "b", "answers": {}, "comment": "", "form": form.version}


# The sample.


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ListenArchive:
    calls = [
        ListedCall(
            f"call_{number:02d}",
            direction="inbound" if number % 4 else "outbound",
            day=DAY - timedelta(days=number % 2),
        )
        for number in range(40)
    ]
    return ListenArchive(tmp_path_factory.mktemp("sample"), calls)


def sample(archive: ListenArchive, query: str) -> list[str]:
    return re.findall(r'<a class="call" href="/call/([\d-]+/\w+)"', archive.client().get(f"/sample?{query}").text)


def test_the_same_seed_gives_the_same_calls(many: ListenArchive) -> None:
    query = "from=2025-01-09&to=2025-01-10&size=10&by=direction&seed="
    first = sample(many, f"{query}a")
    assert len(first) == 10 and first == sample(many, f"{query}a") != sample(many, f"{query}b")
    exported = many.client().get(f"/sample.csv?{query}a").text
    assert [line.split(",")[1] for line in exported.splitlines()[1:]] == [call.split("/")[1] for call in first]
    assert exported.count("outbound") in (2, 3)


def test_the_sample_shows_what_is_reviewed(many: ListenArchive) -> None:
    query = "from=2025-01-09&to=2025-01-10&size=5&by=day&seed=c"
    first = sample(many, query)[0]
    assert "0 reviewed" in many.client().get(f"/sample?{query}").text
    many.client().post(f"/call/{first}/reviews", data={"verdict": "good"}, headers=OWN)
    assert "1 reviewed" in many.client().get(f"/sample?{query}").text


@pytest.mark.parametrize("path", ["/sample", "/sample.csv"])
@pytest.mark.parametrize("words", ["refund", "0801", "0*"])
@pytest.mark.parametrize("user", ["amina", "chi"])
def test_a_sample_searches_no_speech(tmp_path: Path, path: str, words: str, user: str) -> None:
    """A sample of the calls that somebody spoke of would be a search, and has no audit record of one."""
    own = ListenArchive(tmp_path, [ListedCall("call_1", "[Caller]: a refund to 0801 234 5678"), ListedCall("call_2")])
    client, sent = own.client(**PROXIED), {"from": "2025-01-10", "to": "2025-01-10", "seed": "x"}
    drawn = client.get(path, params=sent, headers=as_user(user)).text
    assert "call_1" in drawn and "call_2" in drawn
    for turn in ("with", "without"):
        searched = sent | {"turn": turn, "words": words}
        assert client.get(path, params=searched, headers=as_user(user)).text == drawn


@pytest.mark.parametrize("query", ["size=0&seed=a", "size=501&seed=a", "size=x&seed=a", "by=mood&seed=a"])
def test_a_sample_that_cannot_be_drawn_says_so(many: ListenArchive, query: str) -> None:
    assert many.client().get(f"/sample?{query}").status_code == 400


def read_view(archive: ListenArchive, folder: Path) -> list[dict[str, Any]]:
    """Run analytics/reviews.sql over the reviews, as an analyst does."""
    for entry in archive.store.list("reviews/"):
        file = folder / entry.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(archive.store.read(entry.key) or b"")
    statement = (ROOT / "analytics/reviews.sql").read_text("utf-8")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET VARIABLE archive = '{folder}'")
        connection.execute(statement)
        found = connection.execute("SELECT * FROM reviews ORDER BY reviewed_at, reviewer")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_analysts_read_every_review_by_the_view(archive: ListenArchive, tmp_path: Path) -> None:
    client = archive.client(**PROXIED)
    hostile = {"verdict": "good", "comment": "nul \0, bell \a, \u2028 \ufeff '; DROP TABLE x; -- \"} {é\r\nend"}
    assert client.post(f"{CALL}/reviews", data=GOOD, headers=OWN | as_user("amina")).status_code == 200
    archive.now += timedelta(seconds=1)
    assert client.post(f"{CALL}/reviews", data=hostile, headers=OWN | as_user("o=x@example.com")).status_code == 200
    archive.now += timedelta(seconds=1)
    second = {"verdict": "good"}
    assert client.post(f"{CALL}/reviews", data=second, headers=OWN | as_user("amina")).status_code == 200
    rows = read_view(archive, tmp_path / "copy")
    assert [(row["reviewer"], row["verdict"], row["is_latest_of_reviewer"]) for row in rows] == [
        ("amina", "problem", False), ("o=x@example.com", "good", True), ("amina", "good", True),
    ]  # fmt: skip
    assert rows[0]["call_id"] == "call_1" and rows[0]["call_date"] == DAY and rows[0]["form"] == read_form(None).version
    assert rows[0]["answers"] == {"consent": "no"} and rows[2]["answers"] in ({}, None)
    assert rows[0]["reviewed_at"].isoformat() == "2025-01-20T09:00:00+00:00"
    assert rows[1]["comment"].startswith("nul ") and rows[1]["comment"].endswith("{é\nend")


def test_one_damaged_object_takes_no_review_from_analysts(archive: ListenArchive, tmp_path: Path) -> None:
    client = archive.client()
    assert client.post(f"{CALL}/reviews", data=GOOD, headers=OWN).status_code == 200
    for name, body in {"cut": b'{"verdict": ', "list": b"[1, 2]", "empty": b"", "text": b"\xff\xfe"}.items():
        file = tmp_path / f"copy/reviews/dt={DAY}/call_2/{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    assert [row["call_id"] for row in read_view(archive, tmp_path / "copy")] == ["call_1"]
