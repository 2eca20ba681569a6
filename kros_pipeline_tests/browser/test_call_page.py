"""The page of a call: turns with times, marks, states in words; and nothing that a transcript says is ever run."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml

from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.core import schemas
from kros_pipeline.core.call_records import hash_line, write_manifest_line
from kros_pipeline.core.hash_set import HashSet
from kros_pipeline.core.object_keys import audio_key, call_key, held_key
from kros_pipeline.core.seal_keys import seal_key
from kros_pipeline.core.seal_text import NO_PREVIOUS, Seal
from kros_pipeline.evidence_job import EvidenceConfig, export_evidence_job
from kros_pipeline_tests.support.listen_archive import DAY, ListedCall, ListenArchive

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7*7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<mark class=found hx-get=/x>",
    "\u202egnp.exe\u0000\u2028",
]
TIMED = "[00:00] Agent: Hello there\n[00:05] Caller: I want a refund\nCaller: and quickly"


def page_of(archive: ListenArchive, call: ListedCall, query: str = "") -> str:
    answer = archive.client().get(f"/call/{call.day}/{call_key(call.call_id)}{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


class Tags(HTMLParser):
    """Every tag and attribute of a page, as a browser parses it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    parser = Tags()
    parser.feed(html)
    scripts = [attributes for tag, attributes in parser.found if tag == "script"]
    assert len(scripts) == 2 and all(str(script["src"]).startswith("/static/") for script in scripts)
    for tag, attributes in parser.found:
        assert tag not in ("img", "svg", "iframe", "object", "embed", "style", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("href", "src", "action"):
                assert value is not None and re.match(r"[/#]|http://127\.0\.0\.1:3000/", value), value
    for name in ("hx-get", "hx-post"):
        assert all(str(a.get(name, "/c")).startswith("/c") for _, a in parser.found)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_call_says_is_run(tmp_path: Path, text: str) -> None:
    call = ListedCall(
        f"id {text}", f"[{text}]: {text}\n[Caller]: refund {text}", from_number=text, language=text, direction=text,
        extra='{"note": "</code><script>alert(1)</script>"}',
    )  # fmt: skip
    late = ListedCall(f"late {text}", state="failed", quarantine_key=text)
    archive = ListenArchive(tmp_path, [call, late])
    client = archive.client()
    for html in (
        page_of(archive, call, "?turn=with&by=anyone&words=refund+%3Cscript%3E"),
        page_of(archive, late),
        client.get("/calls").text,
        client.get("/calls", params={"turn": "with", "words": f"refund {text}", "rule": text, "language": text}).text,
        client.get("/sample", params={"seed": text}).text,
        client.get(f"/call/{DAY}/{'%3Cscript%3E'}").text,
    ):
        assert_harmless(html)
    own = {"sec-fetch-site": "same-origin", "hx-request": "true"}
    sent = {"verdict": "good", "comment": text}
    reviews = client.post(f"/call/{DAY}/{call_key(call.call_id)}/reviews", data=sent, headers=own)
    assert reviews.status_code == 200 and "<script" not in reviews.text
    assert_harmless(page_of(archive, call))


def test_a_turn_says_when_it_begins_and_whether_that_is_an_estimate(tmp_path: Path) -> None:
    call = ListedCall("call_1", TIMED, seconds=20)
    page = page_of(ListenArchive(tmp_path, [call]), call)
    turns = re.findall(r'<li id="turn-(\d)"[^>]*?data-seconds="([\d.]+)"( data-estimate)?', page)
    assert turns[:2] == [("0", "0.00", ""), ("1", "5.00", "")]
    untimed = ListedCall("call_2", seconds=20)
    page = page_of(ListenArchive(tmp_path / "b", [untimed]), untimed)
    assert page.count("data-estimate") == 2 and "are estimates" in page and ">~0:00<" in page


def test_rules_mark_the_words_that_matched_and_a_search_its_own(tmp_path: Path) -> None:
    call = ListedCall("call_1", "[Agent]: Hello\n[Caller]: My  “refund”, please", seconds=400)
    page = page_of(ListenArchive(tmp_path, [call]), call, "?turn=with&by=caller&words=please")
    assert 'My  <mark class="rule">“refund”,</mark> <mark class="found">please</mark>' in page
    assert '<span class="tag">long</span>' in page and "400 s are at least 300 s" in page


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (ListedCall("c"), ["in the archive", "may delete its copy from 2025-02-09"]),
        (ListedCall("c", state="pending"), ["waiting", "tries again by itself", "for a reason"]),
        (ListedCall("c", state="failed", quarantine_key="x"), ["in quarantine", "accept_quarantined"]),
        (ListedCall("c", state="failed"), ["failed", "An operator has to look"]),
        (ListedCall("c", state="lost"), ["lost", "cannot come back"]),
        (ListedCall("c", state="not_recorded"), ["not recorded", "KrosAI has no recording"]),
        (ListedCall("c", transcript="none"), ["KrosAI has no transcript"]),
        (ListedCall("c", transcript="pending"), ["may still come"]),
    ],
)
def test_the_state_of_a_call_is_in_words(tmp_path: Path, call: ListedCall, words: list[str]) -> None:
    page = page_of(ListenArchive(tmp_path, [call]), call)
    for word in words:
        assert word in page
    assert ("<audio" in page) is (call.state == "archived")


def test_a_legal_hold_and_a_seal_are_shown(tmp_path: Path) -> None:
    call = ListedCall("call_1")
    archive = ListenArchive(tmp_path, [call, ListedCall("call_10")])
    page = page_of(archive, call)
    assert "none placed" in page
    create_json(archive.store, held_key(DAY, "call_10", "v1"), {})
    assert "none placed" in page_of(archive, call)  # it is another call's
    create_json(archive.store, held_key(DAY, "call_1", "v1"), {})
    assert "S3 lets nobody delete" in page_of(archive, call)


def put_seal(archive: ListenArchive, number: int, previous: str, audio: tuple[str, ...], version: int = 1) -> str:
    seal = Seal(
        number, previous, DAY, version, 0, number - 1 or None, "complete", archive.now, False, audio=HashSet(audio)
    )
    body = b"".join(seal.pieces())
    digest = hashlib.sha256(body).hexdigest()
    archive.store.put(seal_key(number), body, sha256=digest, mode=CREATE, content_type="text/plain")
    return digest


def test_the_seal_of_a_recording_is_said_with_its_number(tmp_path: Path) -> None:
    call, late = ListedCall("call_1"), ListedCall("call_2", seconds=9)
    archive = ListenArchive(tmp_path, [call, late, ListedCall("call_3", state="pending")])
    assert "unsealed" in page_of(archive, call) and "The day has no seal yet" in page_of(archive, call)
    lines = {
        row["call_id"]: hash_line(write_manifest_line(row["sha256"], audio_key(DAY, row["call_id"])))
        for row in archive.tables.rows(schemas.RECORDINGS, DAY)
        if row["sha256"]
    }
    first = put_seal(archive, 1, NO_PREVIOUS, (lines["call_1"],))
    client = archive.client()
    pages = [client.get(f"/call/{DAY}/call_{number}").text for number in (1, 2, 3)]
    assert '<span class="state good">sealed</span>' in pages[0] and "is in seal 000001" in pages[0]
    assert '<span class="state wait">unsealed</span>' in pages[1] and "none of them" in pages[1]
    assert "has seal 000001 of 2025-01-20 09:00, its version 1." in pages[2]
    put_seal(archive, 2, first, (lines["call_2"],), version=2)
    page = page_of(archive, late)
    assert "has seal 000002" in page and "is in seal 000002" in page
    assert "is in seal 000001" in page_of(archive, call)


def test_a_broken_chain_of_seals_is_said(tmp_path: Path) -> None:
    archive = ListenArchive(tmp_path, [ListedCall("call_1")])
    put_seal(archive, 2, NO_PREVIOUS, ())
    assert "The chain of seals is broken" in page_of(archive, archive.calls[0])


def test_the_link_to_the_evidence_has_the_call_in_it(tmp_path: Path) -> None:
    call = ListedCall("weird id: é & #1")
    page = page_of(ListenArchive(tmp_path, [call]), call)
    [link] = re.findall(r'href="(http://127.0.0.1:3000[^"]+)"', page)
    parts = urlsplit(link)
    assert parts.path == "/locations/kros_pipeline/jobs/export_evidence/playground/setup"
    config = yaml.safe_load(parse_qs(parts.query)["config"][0])
    assert config["ops"]["export"]["config"]["call_ids"] == [call.call_id]
    job = export_evidence_job().graph.to_job(resource_defs={"archive": dg.ResourceDefinition.none_resource()})
    assert dg.validate_run_config(job, config)
    asked = EvidenceConfig(**config["ops"]["export"]["config"])
    assert asked.dry_run and not asked.day  # of id and day the job takes one


def test_the_calls_before_and_after_are_linked(tmp_path: Path) -> None:
    calls = [ListedCall(f"call_{number}") for number in (1, 2, 3)]
    archive = ListenArchive(tmp_path, calls)
    assert 'rel="prev" href="/call/2025-01-10/call_1"' in page_of(archive, calls[1])
    assert 'rel="next" href="/call/2025-01-10/call_3"' in page_of(archive, calls[1])
    assert 'rel="prev" href' not in page_of(archive, calls[0])
    assert 'rel="next" href' not in page_of(archive, calls[2])


def test_reading_a_call_has_an_audit_record(tmp_path: Path) -> None:
    call = ListedCall("call_1")
    archive = ListenArchive(tmp_path, [call])
    page_of(archive, call)
    [line] = archive.audit_lines()
    assert (line["event"], line["call"], line["by"], line["how"]) == ("read", "call_1", "local", "page")


@pytest.mark.parametrize("path", ["/call/2025-01-10/no_such", "/call/2024-01-10/call_1", "/call/junk/call_1"])
def test_a_call_that_is_not_there_is_not_there(tmp_path: Path, path: str) -> None:
    assert ListenArchive(tmp_path, [ListedCall("call_1")]).client().get(path).status_code == 404
