"""Secrets, numbers and speech are planted, and every byte that runs leave behind is searched for them.

Upstream is as careless as it can be: its errors repeat the key, the number and the URL that they are about.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import dagster as dg
import pyarrow.parquet as pq
import pytest

import kros_pipeline.failures
from kros_pipeline.core import mp3
from kros_pipeline.core.schemas import TABLES
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import LocalS3
from kros_pipeline.sandbox.mp3 import frames_in, mp3_audio
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.archive_check import Archive

ROOT = Path(__file__).parents[2]
KEY = "canary.api-key.f00dfacec0ffee"  # not of the form that a pattern would know
SIGNATURE = "canary5195a7u2ecafe0123"
AWS_SECRET = "canary/aws+secret/c0ffeec0ffeec0ffee"
HOOK = "canary-hook-b00bd00d"
CALLER, CALLEE = "+2348091230457", "+14155550199"
SPEECH = "the violet heron eats seven lanterns"
SECRETS = (KEY, SIGNATURE, AWS_SECRET, HOOK)
PERSONAL = (CALLER.lstrip("+"), CALLEE.lstrip("+"), SPEECH)
MAY_HOLD_PERSONAL = ("tables/calls/", "tables/transcripts/", "tables/utterances/")
CALLS = ("good", "denied", "broken", "foreign", "late", "refused", "page")
SECONDS = 12


class Upstream(ThreadingHTTPServer):
    """An API and a storage that answer well, or badly and with more words than they should."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.is_bad = False
        self.list_fails = False

    def call(self, name: str) -> dict[str, Any]:
        host = "https://recordings.example.com" if self.is_bad and name == "foreign" else self.origin
        hidden = self.is_bad and name == "late"
        return {
            "id": f"call_{name}",
            "from_number": CALLER,
            "to_number": CALLEE,
            "direction": "inbound",
            "status": "completed",
            "duration": SECONDS,
            "recording_url": f"{host}/recordings/{name}.mp3?X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}",
            "transcript": None if hidden else f"[Agent]: Go on.\n[Caller]: So {SPEECH}, {CALLER} says.",
            "metadata": {"told": SPEECH},
            "created_at": f"{DAY}T10:00:00Z",
            "completed_at": f"{DAY}T10:01:00Z",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def answer(self, status: int, body: Any, content_type: str = "application/json") -> None:
        data = body if isinstance(body, bytes | memoryview) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Echo", self.requestline)
        self.end_headers()
        self.wfile.write(data)

    def echo(self, status: int) -> None:
        """What no error should say."""
        url = f"{self.server.origin}{self.path}?X-Amz-Signature={SIGNATURE}"
        reported = f"key {self.headers.get('x-api-key', KEY)} may not reach {CALLER} ({CALLEE[2:]}) at {url}"
        self.answer(status, {"error": reported, "code": "ECHO", "details": {"key": KEY, "url": url}})

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        bad, name = self.server.is_bad, place.path.split("/")[-1].removesuffix(".mp3")
        match place.path.split("/")[1:]:
            case ["v1", "calls"]:
                if self.server.list_fails:
                    return self.echo(500)
                calls: list[Any] = [self.server.call(name) for name in CALLS]
                if bad:
                    calls.append(
                        {"recording_url": calls[0]["recording_url"], "note": f"see {calls[0]['recording_url']}"}
                    )
                return self.answer(200, {"calls": calls, "total": len(calls), "limit": 100, "offset": 0})
            case ["v1", "calls", "stats"]:
                return self.echo(500) if bad else self.answer(200, {"completed": len(CALLS)})
            case ["v1", "calls", call_id, "recording"]:
                return self.answer(200, {"recording_url": self.server.call(call_id[5:])["recording_url"]})
            case ["v1", "calls", *_]:
                return self.echo(500)
        if bad and name in ("denied", "broken"):
            return self.echo(403 if name == "denied" else 503)
        if bad and name == "page":
            return self.answer(200, b"<html>Something went wrong</html>" * 9, "text/html")
        return self.answer(200, mp3_audio(7, name, frames_in(SECONDS)), "audio/mpeg")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.echo(403 if self.server.is_bad else 200)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Output:
    """What runs leave behind: Dagster's home, what they print, and the archive."""

    def __init__(self, home: Path, archive: Archive) -> None:
        self.home, self.archive = home, archive
        self.printed = b""

    def of_dagster(self) -> bytes:
        """Every byte below DAGSTER_HOME, and every value of its databases, unpacked; and what was printed."""
        found = [self.printed]
        for file in sorted(self.home.rglob("*")):
            if file.is_file():
                found.append(file.read_bytes())
                if found[-1].startswith(b"SQLite format 3"):
                    found += _values(file)
        return b"\n".join(found)

    def of_the_archive(self) -> dict[str, bytes]:
        """Each object with its user metadata; a table's rows beside its bytes."""
        found = {}
        for key in self.archive.objects():
            body = self.archive.read(key)
            head = self.archive.client.head_object(Bucket=self.archive.bucket, Key=f"{self.archive.prefix}/{key}")
            if key.endswith(".parquet"):
                table = pq.read_table(io.BytesIO(body))
                body += repr((table.to_pylist(), table.schema.metadata)).encode()
            found[key] = body + repr(head["Metadata"]).encode() + key.encode()
        return found


def _values(database: Path) -> Iterator[bytes]:
    """Neither a long text, which is spread over pages of the file, nor a compressed snapshot is seen in its bytes."""
    with closing(sqlite3.connect(database)) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in opened.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    if isinstance(value, bytes):
                        yield value
                        if value[:1] == b"\x78":
                            yield zlib.decompress(value)
                    elif value is not None:
                        yield str(value).encode()


def leaks(reported: bytes, canaries: tuple[str, ...]) -> list[str]:
    """Which canaries are in it, as they are or as a URL or JSON writes them."""
    return [
        canary
        for canary in canaries
        if any(form.encode() in reported for form in (canary, quote(canary, safe=""), canary.replace("/", "\\/")))
    ]


@pytest.fixture
def output(
    upstream: Upstream, aws: LocalS3, s3_client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Output]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    (tmp_path / "rules.yaml").write_text(
        f"rules:\n  - {{id: canary, numbers: ['{CALLER}'], text_matches: '{SPEECH}', extend_days: 200}}\n"
    )
    prefix = f"canaries-{upstream.server_port}-{tmp_path.name}".replace("_", "-")
    settings = {
        "DAGSTER_HOME": str(home),
        "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
        "KROSAI_API_KEY": KEY,
        "KROSAI_BASE_URL": f"{upstream.origin}/v1",
        "KROSAI_PLAN": "business",
        "KROS_ARCHIVE_URL": f"s3://{aws.bucket}/{prefix}",
        "KROS_START_DATE": "2025-01-01",
        "KROS_RECORDING_HOSTS": "127.0.0.1",
        "KROS_FLAG_RULES": str(tmp_path / "rules.yaml"),
        "KROS_NOTIFY": f"jsons://hooks.example.com/{HOOK} slack://{HOOK}",
        "KROS_WEBHOOK_URL": f"https://hooks.example.com/services/{HOOK}",
        "KROS_HEARTBEAT_URL": f"https://hc.example.com/{HOOK}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kros_pipeline.failures, "RETRY_DELAY_SECONDS", 0.0)
    upstream.is_bad = upstream.list_fails = False
    yield Output(home, Archive(s3_client, aws.bucket, prefix))


def run_cli(output: Output) -> int:
    command = [
        str(Path(sys.executable).parent / "dagster"), "job", "execute", "-m", "kros_pipeline.definitions",
        "-j", "daily_archive", "--tags", json.dumps({"dagster/partition": str(DAY)}),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=110, check=False, env=dict(os.environ))
    output.printed += done.stdout + done.stderr
    return done.returncode


def assert_nothing_leaked(output: Output) -> None:
    assert leaks(output.of_dagster(), SECRETS + PERSONAL) == []
    for key, reported in output.of_the_archive().items():
        canaries = SECRETS if key.startswith(MAY_HOLD_PERSONAL) else SECRETS + PERSONAL
        assert leaks(reported, canaries) == [], key


@pytest.fixture
def run_here(output: Output, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., dg.ExecuteInProcessResult]]:
    """Runs the job in this process, without its waits."""
    with dg.DagsterInstance.get() as instance:

        def run() -> dg.ExecuteInProcessResult:
            result = (
                defs()
                .resolve_job_def("daily_archive")
                .execute_in_process(tags={"dagster/partition": str(DAY)}, instance=instance, raise_on_error=False)
            )
            captured = capfd.readouterr()
            output.printed += (captured.out + captured.err).encode()
            return result

        yield run


@pytest.mark.slow
def test_a_day_that_goes_well_leaves_no_secret_anywhere(output: Output) -> None:
    assert run_cli(output) == 0, output.printed.decode()[-3000:]
    objects = output.of_the_archive()
    assert {key.split("/")[1] for key in objects if key.startswith("tables/")} == set(TABLES)
    assert output.archive.table("retention_extensions", DAY)
    # The search sees what is there: it finds personal data where that belongs, and Dagster's own words.
    for key, reported in objects.items():
        if key.startswith(MAY_HOLD_PERSONAL):
            assert SPEECH in leaks(reported, PERSONAL), key
    assert b"every_recording_is_safe" in output.of_dagster() and b"recordings" in output.printed
    assert_nothing_leaked(output)


@pytest.mark.slow
def test_a_day_that_goes_badly_leaves_no_secret_anywhere(
    upstream: Upstream, output: Output, run_here: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    upstream.is_bad = True
    assert not run_here().success
    reasons = {row["call_id"]: row["reason"] for row in output.archive.table("recordings", DAY)}
    assert {call_id for call_id, reason in reasons.items() if reason} == {
        f"call_{name}" for name in ("denied", "broken", "foreign", "page")
    }
    reported = output.of_dagster()
    assert b"recordings.example.com" in reported and b"call_denied" in reported and b"ECHO" in reported, (
        "upstream's words are kept"
    )
    assert {key.split("/")[0] for key in output.of_the_archive()} >= {"tables", "state", "quarantine"}
    assert_nothing_leaked(output)


def test_a_programming_error_with_a_secret_shows_its_place_and_not_the_secret(
    output: Output, run_here: Callable[..., dg.ExecuteInProcessResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(data: Any) -> Any:
        try:
            raise KeyError(f"{SPEECH} of {CALLER}, signed {SIGNATURE}")
        except KeyError as error:
            raise TypeError(f"{KEY} and {AWS_SECRET} at https://x/?X-Amz-Signature={SIGNATURE}") from error

    monkeypatch.setattr(mp3, "inspect", mistaken)
    assert not run_here().success
    reported = output.of_dagster()
    assert b"TypeError" in reported and b"in verify_audio" in reported, "the trace of the place"
    assert_nothing_leaked(output)
    # And it could be seen, had it been written.
    with dg.DagsterInstance.get() as instance:
        instance.add_run_tags(instance.get_runs()[0].run_id, {"leak": AWS_SECRET})
    assert leaks(output.of_dagster(), SECRETS) == [AWS_SECRET]


@pytest.mark.slow
def test_an_api_that_repeats_the_key_and_the_number_is_not_repeated(
    upstream: Upstream, output: Output, run_here: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    upstream.list_fails = True
    assert not run_here().success
    assert b"GET /calls: status 500" in output.of_dagster()
    assert_nothing_leaked(output)


def test_swapped_settings_are_not_shown(
    output: Output, run_here: Callable[..., dg.ExecuteInProcessResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    presigned = f"https://storage.krosai.com/a.mp3?X-Amz-Signature={SIGNATURE}"
    for name, value in {
        "KROSAI_PLAN": KEY,
        "KROSAI_AUTH": AWS_SECRET,
        "KROSAI_RETENTION_DAYS": SIGNATURE,
        "KROSAI_BASE_URL": f"https://{KEY}@api.krosai.com/v1?{SIGNATURE}",
        "KROSAI_REQUESTS_PER_SECOND": AWS_SECRET,
        "KROS_ARCHIVE_URL": f"s3://bucket/{AWS_SECRET}?{SIGNATURE}",
        "KROS_RECORDING_HOSTS": presigned,
        "KROS_NOTIFY": f"http://hooks.example.com/{HOOK}",
        "KROS_WEBHOOK_URL": f"http://hooks.example.com/{HOOK}",
        "KROS_HEARTBEAT_URL": f"http://hc.example.com/{HOOK}",
    }.items():
        monkeypatch.setenv(name, value)
    assert not run_here().success
    reported = output.of_dagster()
    for words in (b"KROSAI_PLAN is", b"KROSAI_AUTH is", b"KROS_RECORDING_HOSTS holds", b"KROS_WEBHOOK_URL must"):
        assert words in reported
    assert_nothing_leaked(output)
