"""An evidence package: a bag that its own commands and bagit.py accept, with nothing of anybody else in it."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256, sha512
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import bagit
import pytest

from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.core.errors import ExternalError
from kros_pipeline.core.object_keys import audio_key, audit_prefix
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.evidence import EvidenceRequest, EvidenceResult, export_evidence
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.sealed_days import BODIES, sealed_day, tools
from kros_pipeline_tests.support.steps import erase_calls

HOSTILE = '<img src=x onerror="alert(1)">'
TWO = EvidenceRequest(("call_a", HOSTILE), None, "case 12 <b>", "")


@pytest.fixture(scope="module")
def day() -> FakeDay:
    return sealed_day({**BODIES, HOSTILE: BODIES["call_e"][:-288]})


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tools(tmp_path_factory.mktemp("only") / "bin")


def export(day: FakeDay, request: EvidenceRequest, *, dry_run: bool = False) -> EvidenceResult:
    ctx = day.open()
    return export_evidence(
        request,
        store=ctx.store,
        tables=ctx.tables,
        tombstones=ctx.tombstones,
        clock=ctx.clock,
        audit_log=ctx.audit_log,
        run_id=ctx.run_id,
        dry_run=dry_run,
    )


def check(package: Path, bin_folder: Path) -> tuple[bool, str]:
    run = subprocess.run(
        ["env", "-i", f"PATH={bin_folder}", "/bin/sh", "VERIFY.txt"],
        cwd=package / "data",
        capture_output=True,
        text=True,
        timeout=60,
    )
    is_verified = bool(re.search(r"^VERIFIED", run.stdout, re.MULTILINE))
    assert is_verified == (run.returncode == 0), run.stdout + run.stderr
    return is_verified, run.stdout + run.stderr


def test_a_package_is_a_valid_bag_and_its_commands_verify_it(day: FakeDay, bin_folder: Path, tmp_path: Path) -> None:
    result = export(day, replace(TWO, folder=str(tmp_path)))
    assert (result.calls, result.recordings, result.days, result.unsealed) == (2, 2, [DAY], [])
    package = Path(result.place)
    assert [path.name for path in tmp_path.iterdir()] == [package.name]
    bagit.Bag(str(package)).validate()
    is_verified, said = check(package, bin_folder)
    assert is_verified and "VERIFIED 2 calls" in said, said
    assert (package / "data/calls" / str(DAY) / "call_a/recording.mp3").read_bytes() == BODIES["call_a"]
    everything = b"".join(path.read_bytes() for path in package.rglob("*") if path.is_file())
    assert b"call_b" not in everything and HOSTILE.encode() not in (package / "data/SUMMARY.html").read_bytes()


def test_a_zip_has_the_same_bag(day: FakeDay, tmp_path: Path) -> None:
    request = EvidenceRequest((), DAY, "case 12", str(tmp_path), as_zip=True)
    result = export(day, request)
    assert result.place.endswith(".zip") and result.calls == 6
    with zipfile.ZipFile(result.place) as packed:
        packed.extractall(tmp_path / "unpacked")
    [package] = (tmp_path / "unpacked").iterdir()
    bagit.Bag(str(package)).validate()
    assert len(list(package.glob("data/calls/*/*/record.json"))) == 6


def forge(path: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(package: Path) -> None:
        file = package / "data" / path
        body = file.read_bytes()
        assert old in body
        file.write_bytes(body.replace(old, new, 1))

    return change


def present_another_recording(calls: Path) -> None:
    """Another call's recording, which is sealed too, with its line, in the folder of a call."""
    own, other = calls / "call_a", next(path for path in calls.iterdir() if path.name != "call_a")
    (own / "recording.mp3").write_bytes((other / "recording.mp3").read_bytes())
    lines = [line for folder in (own, other) for line in (folder / "manifest-lines.txt").read_text().splitlines(True)]
    kept = [line for line in lines if ("records/call_a" in line) or (line.endswith(".mp3\n") and "call_a" not in line)]
    (own / "manifest-lines.txt").write_text("".join(kept))


def present_another_call(calls: Path) -> None:
    """All that is sealed of one call, in the folder of another."""
    own, other = calls / "call_a", next(path for path in calls.iterdir() if path.name != "call_a")
    for name in ("recording.mp3", "record.json", "manifest-lines.txt"):
        (own / name).write_bytes((other / name).read_bytes())


def withhold_recording(call: Path) -> None:
    (call / "recording.mp3").unlink()
    lines = [line for line in (call / "manifest-lines.txt").read_text().splitlines(True) if not line.endswith(".mp3\n")]
    (call / "manifest-lines.txt").write_text("".join(lines))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (forge(f"calls/{DAY}/call_a/record.json", b"Hello", b"Jello"), "record.json: it is not as it was sealed"),
        (forge(f"calls/{DAY}/call_a/recording.mp3", b"\xff\xfb", b"\xff\xfa"), "recording.mp3: it is not as it was"),
        (forge(f"calls/{DAY}/call_a/manifest-lines.txt", b"call_a.mp3", b"call_b.mp3"), "of another call"),
        (forge(f"calls/{DAY}/call_a/manifest-lines.txt", b"  audio/dt=2025", b"0  audio/dt=2025"), "no seal has"),
        (lambda package: present_another_recording(package / f"data/calls/{DAY}"), "is a line of another call"),
        (lambda package: present_another_call(package / f"data/calls/{DAY}"), "is a line of another call"),
        (lambda package: withhold_recording(package / f"data/calls/{DAY}/call_a"), "its recording is missing"),
        (lambda package: (package / f"data/calls/{DAY}/call_a/manifest-lines.txt").write_text(""), "is not sealed"),
        (lambda package: (package / "data/seals/seal-000001.txt").unlink(), "no seal has the line"),
    ],
)
def test_a_forged_package_is_not_verified(
    change: Callable[[Path], object], why: str, day: FakeDay, bin_folder: Path, tmp_path: Path
) -> None:
    package = Path(export(day, replace(TWO, folder=str(tmp_path))).place)
    change(package)
    is_verified, said = check(package, bin_folder)
    assert not is_verified and why in said, said


def test_the_summary_shows_hostile_text_as_text_and_loads_nothing(day: FakeDay, tmp_path: Path) -> None:
    package = Path(export(day, replace(TWO, folder=str(tmp_path))).place)
    page = (package / "data/SUMMARY.html").read_text()
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    assert {tag for tag, _ in tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "th", "td", "p", "code",
    }  # fmt: skip
    assert not {name for _, attributes in tags for name in attributes} & {"src", "href", "onerror", "onload"}
    assert "case 12 &lt;b&gt;" in page and "&lt;img src=x" in page


def test_the_vcon_has_the_parts_that_the_draft_names(day: FakeDay, tmp_path: Path) -> None:
    package = Path(export(day, replace(TWO, call_ids=("call_a",), folder=str(tmp_path))).place)
    vcon: dict[str, Any] = json.loads((package / f"data/calls/{DAY}/call_a/call.vcon.json").read_text())
    assert vcon["vcon"] == "0.4.0" and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", vcon["uuid"])
    assert {"created_at", "parties", "dialog", "analysis", "attachments"} <= vcon.keys()
    [dialog] = vcon["dialog"]
    assert (dialog["type"], dialog["mediatype"], dialog["encoding"]) == ("recording", "audio/mpeg", "base64url")
    assert dialog["parties"] == [0, 1] and dialog["start"].startswith(str(DAY))
    body = urlsafe_b64decode(dialog["body"] + "=" * (-len(dialog["body"]) % 4))
    digest = urlsafe_b64decode(dialog["content_hash"].removeprefix("sha512-") + "==")
    assert body == BODIES["call_a"] and digest == sha512(body).digest()
    text, turns = vcon["analysis"]
    assert (text["type"], text["dialog"], text["encoding"], text["body"]) == (
        "transcript", 0, "none", "[Agent]: Hello",
    )  # fmt: skip
    assert turns["body"] == [{"speaker": "agent", "label": "Agent", "text": "Hello"}]


def test_the_certificate_is_a_draft_that_names_each_recording_with_its_hash(day: FakeDay, tmp_path: Path) -> None:
    package = Path(export(day, replace(TWO, folder=str(tmp_path))).place)
    text = (package / "data/CERTIFICATE-draft.txt").read_text()
    assert text.startswith("DRAFT.") and "902(14)" in text and "[NAME]" in text
    for row in day.archive.table("recordings", DAY):
        assert (row["sha256"] in text) == (row["call_id"] in TWO.call_ids)


def test_each_exported_call_has_an_audit_line_with_the_reason_and_the_name_of_premis(tmp_path: Path) -> None:
    day = sealed_day()
    export(day, replace(TWO, call_ids=("call_a",)), dry_run=True)
    assert not [key for key in day.archive.objects(audit_prefix(DAY)) if "export" in key]
    place = export(day, replace(TWO, call_ids=("call_a",), folder=str(tmp_path))).place
    [key] = [key for key in day.archive.objects(audit_prefix(DAY)) if "export" in key]
    [line] = [json.loads(line) for line in day.archive.read(key).splitlines()]
    assert (line["event"], line["premis"], line["call"]) == ("exported", "dissemination", "call_a")
    assert line["reason"].startswith("case 12") and line["package"] == Path(place).name
    audit = (Path(place) / f"data/calls/{DAY}/call_a/audit.jsonl").read_text()
    assert '"archived"' in audit and '"ingestion"' in audit and "call_b" not in audit


def test_a_call_that_no_seal_has_is_exported_and_shown_as_such(bin_folder: Path, tmp_path: Path) -> None:
    day = FakeDay(BODIES)
    day.run()
    result = export(day, replace(TWO, call_ids=("call_a",), folder=str(tmp_path)))
    assert result.unsealed == ["call_a"]
    bagit.Bag(result.place).validate()
    assert "no seal yet" in (Path(result.place) / "data/SUMMARY.html").read_text()
    is_verified, said = check(Path(result.place), bin_folder)
    assert not is_verified and "is not sealed" in said, said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"call_ids": ()}, "either call_ids or a day"),
        ({"day": DAY}, "either call_ids or a day"),
        ({"reason": " "}, "needs a reason"),
        ({"reason": "about call_a"}, "must name nobody"),
        ({"folder": ""}, "needs a folder"),
        ({"folder": "/no/such/folder"}, "is no folder of the machine"),
        ({"call_ids": ("call_a", "call_nobody")}, "not in this archive, or were erased: call_nobody"),
        ({"call_ids": (), "day": DAY.replace(year=2024)}, "calls of 2024-01-10 is missing"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    change: dict[str, Any], why: str, day: FakeDay, tmp_path: Path
) -> None:
    with pytest.raises(ExternalError, match=re.escape(why)):
        export(day, replace(TWO, **({"folder": str(tmp_path)} | change)))
    assert not list(tmp_path.iterdir())


def test_an_erased_call_and_a_recording_that_was_changed_are_refused(tmp_path: Path) -> None:
    day = sealed_day()
    erase_calls(day.open(), ErasureRequest(("call_a",), reason="request 17"))
    request = replace(TWO, call_ids=("call_a",), folder=str(tmp_path))
    with pytest.raises(ExternalError, match="were erased"):
        export(day, request)
    day.archive.delete(audio_key(DAY, "call_b"))
    with pytest.raises(ExternalError, match="is gone"):
        export(day, replace(request, call_ids=("call_b",)))
    other = BODIES["call_c"]
    day.open().store.put(audio_key(DAY, "call_b"), other, sha256=sha256(other).hexdigest(), mode=CREATE)
    with pytest.raises(ExternalError, match="not the recording that was archived"):
        export(day, replace(request, call_ids=("call_b",)))
    assert not list(tmp_path.iterdir())


def test_a_day_without_calls_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match=f"{DAY} has no call"):
        export(sealed_day({}), EvidenceRequest((), DAY, "case 12", str(tmp_path)))
