"""Lists of days and calls: filters, search, order, pages, CSV; each has an address that can be sent to somebody."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from kros_pipeline.archive.object_store import Replace
from kros_pipeline.browser import list_pages
from kros_pipeline.browser.call_filter import MAX_DAYS, parse_filter
from kros_pipeline.browser.csv_export import safe_cell
from kros_pipeline_tests.support.listen_archive import DAY, ListedCall, ListenArchive

BEFORE = DAY - timedelta(days=1)
CALLS = [
    ListedCall("a_refund", "[Agent]: hello\n[Caller]: I want a refund, a refund!\n[Agent]: no", seconds=40),
    ListedCall("b_sorry", "[Agent]: so sorry\n[Caller]: a refund please", seconds=400, direction="outbound"),
    ListedCall("c_agent", "[Agent]: a refund is on its way\n[Caller]: thanks", day=BEFORE, language="pt-BR"),
    ListedCall("d_unlabelled", "somebody wants a refund here", seconds=20, language=None),
    ListedCall("e_late", "[Caller]: nothing", state="pending", day=BEFORE),
    ListedCall("f_silent", transcript="none", state="not_recorded"),
]
BOTH = f"from={BEFORE}&to={DAY}"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> ListenArchive:
    return ListenArchive(tmp_path_factory.mktemp("listen"), CALLS)


def found(archive: ListenArchive, query: str) -> list[str]:
    """The calls of a list, in its order."""
    page = archive.client().get(f"/calls?{BOTH}&{query}")
    assert page.status_code == 200, page.text
    return re.findall(r'<a class="call" href="/call/[\d-]+/(\w+)', page.text)


def turn(by: str, words: str, *, without: bool = False) -> str:
    return f"turn={'without' if without else 'with'}&by={by}&words={words.replace(' ', '+')}"


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        # a turn by somebody; who is unknown may be anybody, as in the rules
        (turn("caller", "refund"), {"a_refund", "b_sorry", "d_unlabelled"}),
        (turn("agent", "refund"), {"c_agent", "d_unlabelled"}),
        (turn("anyone", "refund"), {"a_refund", "b_sorry", "c_agent", "d_unlabelled"}),
        (turn("unknown", "refund"), {"d_unlabelled"}),
        # and no turn
        (f"{turn('caller', 'refund')}&{turn('anyone', 'sorry', without=True)}", {"a_refund", "d_unlabelled"}),
        (f"{turn('caller', 'refund')}&{turn('agent', 'refund', without=True)}", {"a_refund", "b_sorry"}),
        (turn("anyone", "refund", without=True), {"e_late", "f_silent"}),
        # two turns of one call, and two words of one turn
        (f"{turn('caller', 'refund')}&{turn('agent', 'hello')}", {"a_refund"}),
        (turn("anyone", "refund hello"), set()),
        (turn("caller", '"refund please"'), {"b_sorry"}),
        # the other filters
        ("direction=outbound", {"b_sorry"}),
        ("shortest=40&longest=400", {"a_refund", "b_sorry"}),
        ("longest=12", {"c_agent", "e_late", "f_silent"}),
        ("language=pt", {"c_agent"}),
        ("language=PT-br", {"c_agent"}),
        ("rule=long", {"b_sorry"}),
        ("recording=pending", {"e_late"}),
        ("speaker=agent", {"a_refund", "b_sorry", "c_agent"}),
        (f"from={DAY}", {"a_refund", "b_sorry", "d_unlabelled", "f_silent"}),
        (f"{turn('caller', 'refund')}&direction=inbound&recording=archived", {"a_refund", "d_unlabelled"}),
        # blank conditions are none
        ("turn=with&by=caller&words=&turn=without&by=anyone&words=+", {call.call_id for call in CALLS}),
    ],
)
def test_a_list_has_the_calls_that_its_address_describes(archive: ListenArchive, query: str, calls: set[str]) -> None:
    assert set(found(archive, query)) == calls
    exported = archive.client().get(f"/calls.csv?{BOTH}&{query}").text
    assert {row["call_id"] for row in csv.DictReader(io.StringIO(exported))} == calls


def test_a_list_shows_and_filters_by_the_state_that_a_calls_page_shows(tmp_path: Path) -> None:
    key = "krosai/quarantine/x.bin"
    calls = [
        ListedCall("call_failed", state="failed"),
        ListedCall("call_rejected", state="failed", quarantine_key=key),
        ListedCall("call_tried_again", state="pending", quarantine_key=key),
        ListedCall("call_accepted", quarantine_key=key),
        ListedCall("call_waiting", state="pending"),
    ]
    archive = ListenArchive(tmp_path, calls)
    shown = {
        "in quarantine": {"call_rejected", "call_tried_again"},
        "failed": {"call_failed"},
        "waiting": {"call_waiting"},
        "archived": {"call_accepted"},
    }
    names = {"in quarantine": "in_quarantine", "waiting": "pending"}
    for word, wanted in shown.items():
        query = f"from={DAY}&to={DAY}&recording={names.get(word, word)}"
        page = archive.client().get(f"/calls?{query}").text
        assert set(re.findall(r'class="call" href="/call/[\d-]+/(\w+)', page)) == wanted
        assert page.count(f">{word}</span>") == len(wanted)
        rows = csv.DictReader(io.StringIO(archive.client().get(f"/calls.csv?{query}").text))
        assert {(row["call_id"], row["recording"]) for row in rows} == {(c, names.get(word, word)) for c in wanted}
        for call in wanted:
            assert f">{word}</span>" in archive.client().get(f"/call/{DAY}/{call}").text


def test_the_best_matches_come_first_and_then_the_newest(archive: ListenArchive) -> None:
    best = ListedCall("z", "[Caller]: refund\n[Agent]: refund\n[Caller]: refund", day=BEFORE)
    richer = ListenArchive(archive.folder / "richer", [*CALLS, best])
    ranked = found(richer, turn("anyone", "refund"))
    assert ranked[0] == "z" and ranked[1:4] == ["d_unlabelled", "b_sorry", "a_refund"]
    assert found(richer, f"{turn('anyone', 'refund')}&order=oldest")[0] == "c_agent"
    assert found(richer, "order=longest")[0] == "b_sorry"


def test_a_snippet_shows_who_said_it_and_marks_it(archive: ListenArchive) -> None:
    page = archive.client().get(f"/calls?{BOTH}&{turn('caller', 'refund')}").text
    assert 'I want a <mark class="found">refund</mark>, a <mark class="found">refund</mark>!' in page
    assert ">Caller</a>" in page and "#turn-1" in page


def test_the_address_of_a_search_has_no_empty_fields_and_is_pushed_once(archive: ListenArchive) -> None:
    client = archive.client()
    pushed = client.get(f"/calls?{BOTH}&{turn('caller', 'refund')}&turn=without&by=anyone&words=&direction=&order=")
    address = pushed.headers["HX-Push-Url"]
    assert address == f"/calls?{BOTH}&{turn('caller', 'refund')}"
    assert "HX-Push-Url" not in client.get(address).headers


def test_every_call_whose_speech_a_list_shows_has_an_audit_record(archive: ListenArchive) -> None:
    own = ListenArchive(archive.folder / "own", CALLS)
    own.client().get(f"/calls?{BOTH}")
    assert own.audit_lines() == []
    own.client().get(f"/calls?{BOTH}&{turn('caller', 'refund')}")
    lines = own.audit_lines()
    assert {line["call"] for line in lines} == {"a_refund", "b_sorry", "d_unlabelled"}
    assert {(line["event"], line["by"], line["how"]) for line in lines} == {("read", "local", "search")}
    own.client().get(f"/calls.csv?{BOTH}")
    assert sum(line["how"] == "export" for line in own.audit_lines()) == len(CALLS)


def test_an_export_has_its_records_in_parts_and_before_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of a million calls is neither in memory nor in one audit object."""
    monkeypatch.setattr(list_pages, "_EXPORTED_AT_ONCE", 2)
    calls = [ListedCall(f"call_{number}", has_audio=False) for number in range(5)]
    archive = ListenArchive(tmp_path, [*calls, ListedCall("call_5", day=BEFORE, has_audio=False)])
    rows = list(csv.DictReader(io.StringIO(archive.client().get(f"/calls.csv?{BOTH}").text)))
    assert sorted(row["call_id"] for row in rows) == [f"call_{number}" for number in range(6)]
    parts = [(archive.store.read(entry.key) or b"").count(b"\n") for entry in archive.store.list("audit/")]
    assert sorted(parts) == [1, 1, 2, 2]
    assert {line["call"] for line in archive.audit_lines()} == {row["call_id"] for row in rows}


def test_pages_have_each_call_once(tmp_path: Path) -> None:
    calls = [ListedCall(f"call_{number:03d}", day=DAY - timedelta(days=number % 3)) for number in range(60)]
    many = ListenArchive(tmp_path, calls)
    shown = [call for page in (1, 2, 3) for call in found(many, f"from=2025-01-01&page={page}")]
    assert len(shown) == 60 and set(shown) == {call.call_id for call in calls}
    assert found(many, "from=2025-01-01&page=4") == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("from=yesterday", "no date"),
        ("direction=sideways", "none of inbound, outbound"),
        ("shortest=-5", "no number of seconds"),
        ("longest=nan", "no number of seconds"),
        ("recording=x", "none of archived"),
        (turn("boss", "x"), "speaker that there is not"),
        (turn("caller", "?!"), "no letter"),
        (turn("caller", "x" * 600), "Shorten it"),
        ("from=1900-01-01&to=2025-01-10", f"more than {MAX_DAYS} days"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_named(archive: ListenArchive, query: str, sentence: str) -> None:
    page = archive.client().get(f"/calls?{query}")
    assert page.status_code == 200 and sentence in page.text


@pytest.mark.parametrize("query", ["&".join("a=b" for _ in range(200)), "page=" + "9" * 50, "page=-1", "page=٣"])
def test_an_odd_address_breaks_nothing(archive: ListenArchive, query: str) -> None:
    assert archive.client().get(f"/calls?{query}").status_code in (200, 400)


def test_the_address_of_a_list_is_the_list() -> None:
    query = f"from={BEFORE}&to={DAY}&direction=inbound&shortest=1.5&speaker=agent&language=pt&rule=r"
    query += "&recording=lost&order=oldest&page=3&turn=with&by=caller&words=a+%26%3D+%22b+c%22"
    wanted = parse_filter(query, DAY, DAY, may_find_digits=True)
    assert parse_filter(wanted.query(), DAY, DAY, may_find_digits=True) == wanted
    assert wanted.problems == () and wanted.conditions[0].text == 'a &= "b c"'


def test_without_dates_the_last_week_of_the_archive_is_shown() -> None:
    wanted = parse_filter("", date(2030, 1, 1), DAY, may_find_digits=True)
    assert (wanted.first, wanted.last) == (DAY - timedelta(days=6), DAY)
    swapped = parse_filter(f"from={DAY}&to={BEFORE}", DAY, DAY, may_find_digits=True)
    assert (swapped.first, swapped.last) == (BEFORE, DAY)


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    hostile = ListenArchive(tmp_path, [ListedCall("=cmd|' /C calc'!A0", from_number="@SUM(1)", language="+1+cmd")])
    rows = list(csv.DictReader(io.StringIO(hostile.client().get("/calls.csv").text)))
    assert rows[0]["call_id"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["from_number"] == "'@SUM(1)" and rows[0]["language"] == "'+1+cmd"
    assert rows[0]["to_number"] == "+14155551234"  # a number is one


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_cell_with_a_formula_is_a_text(begin: str) -> None:
    assert safe_cell(f"{begin}HYPERLINK(1)") == f"'{begin}HYPERLINK(1)"


@pytest.mark.parametrize("words", ["refund", "sorry"])
@pytest.mark.parametrize("turn", ["with", "without"])
def test_a_search_has_a_record_also_where_it_shows_no_turn(archive: ListenArchive, turn: str, words: str) -> None:
    before = len(archive.audit_lines())
    page = archive.client().get("/calls", params={"turn": turn, "by": "anyone", "words": words}).text
    shown = len(re.findall('class="call"', page))
    assert len(archive.audit_lines()) - before == shown


def test_the_calendar_has_verdicts_counts_and_minutes(archive: ListenArchive) -> None:
    page = archive.client().get("/days").text
    assert re.search(rf'class="day complete"[^>]*href="/calls\?from={DAY}&amp;to={DAY}"', page)
    assert re.search(rf'class="day waiting"[^>]*href="/calls\?from={BEFORE}', page)
    assert "January 2025" in page and "6 calls" in page and "8 min" in page
    assert archive.client().get("/days?month=2024-06").status_code == 200
    assert archive.client().get("/days?month=junk").status_code == 400
    rows = list(csv.DictReader(io.StringIO(archive.client().get("/days.csv").text)))
    assert [(row["day"], row["verdict"], row["calls"]) for row in rows] == [
        (str(BEFORE), "waiting", "2"),
        (str(DAY), "complete", "4"),
    ]


def test_the_csv_of_the_days_has_the_days_that_the_page_shows(tmp_path: Path) -> None:
    days = [date(2024, 7, 31), date(2024, 8, 1), date(2024, 10, 31), date(2024, 11, 1), DAY]
    archive = ListenArchive(tmp_path, [ListedCall(f"call_{day}", day=day, has_audio=False) for day in days])
    client = archive.client()
    for month, shown in (("2025-01", {days[3], DAY}), ("2024-10", {days[1], days[2]}), ("2024-08", {days[0], days[1]})):
        page = client.get(f"/days?month={month}").text
        [link] = re.findall(r'href="(/days\.csv[^"]*)">CSV', page)
        rows = csv.DictReader(io.StringIO(client.get(link.replace("&amp;", "&")).text))
        assert {row["day"] for row in rows} == {str(day) for day in shown}
        assert all(f'href="/calls?from={day}&amp;to={day}"' in page for day in shown)


def test_an_empty_archive_says_what_to_do(tmp_path: Path) -> None:
    client = ListenArchive(tmp_path, []).client()
    assert "daily_archive" in client.get("/days").text
    assert "daily_archive" in client.get("/calls").text
    assert "The archive has 2025" not in client.get("/calls").text


def test_dates_beside_the_archive_say_what_it_has(archive: ListenArchive) -> None:
    page = archive.client().get("/calls?from=2020-01-01&to=2020-01-02").text
    assert f"The archive has {BEFORE} to {DAY}" in page


def test_a_table_that_cannot_be_read_is_named_and_the_other_days_are_shown(tmp_path: Path) -> None:
    import hashlib

    broken = ListenArchive(tmp_path, CALLS)
    key = f"tables/utterances/dt={BEFORE}/part-0.parquet"
    head = broken.store.head(key)
    assert head is not None
    broken.store.put(key, b"junk", sha256=hashlib.sha256(b"junk").hexdigest(), mode=Replace(head.version))
    page = broken.client().get(f"/calls?{BOTH}").text
    assert "cannot be read as a partition" in page and "a_refund" in page
    assert broken.client().get(f"/call/{BEFORE}/c_agent").status_code == 503


@pytest.mark.parametrize("path", ["/calls", "/calls.csv", "/sample", "/sample.csv", f"/call/{DAY}/call_1", "/days"])
@pytest.mark.parametrize(
    "query",
    ["to=0001-01-02", "from=9999-12-31&to=9999-12-31", "from=0001-01-01&to=9999-12-31", "month=9999-12",
     "month=0001-01", "&".join(["turn=with"] * 200), "size=0", "shortest=nan&longest=inf", "words=%ED%A0%80%00"],
)  # fmt: skip
def test_no_address_makes_the_page_fail(archive: ListenArchive, path: str, query: str) -> None:
    assert archive.client().get(f"{path}?{query}").status_code in (200, 400, 404)
