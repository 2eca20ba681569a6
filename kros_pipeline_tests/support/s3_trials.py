"""Whole days on S3 servers that nobody here wrote, and the table of what they can do.

    python -m kros_pipeline_tests.support.s3_trials                 # SeaweedFS
    python -m kros_pipeline_tests.support.s3_trials --all --write   # every server, and docs/s3-compatibility.md

A server that lacks what the daily work relies on passes where it is refused in one sentence, and nothing is archived.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kros_pipeline.archive.capabilities import read_capabilities
from kros_pipeline.core.errors import UnfitStore
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY, CAPABILITIES, DAILY_PROBE, audio_key, call_key
from kros_pipeline.operations.erasure_request import ErasureRefused, ErasureRequest
from kros_pipeline.sandbox import KrosaiSimulator
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, environment_of
from kros_pipeline_tests.support.archive_check import (
    Archive,
    assert_archive_is_true,
    assert_nothing_is_false,
    completed_of,
)
from kros_pipeline_tests.support.s3_credentials import short_lived_credentials
from kros_pipeline_tests.support.s3_servers import SERVERS, NotInstalled, S3Server, SeaweedFS, aws_variables
from kros_pipeline_tests.support.steps import erase_calls, verify_days

PAGE = Path(__file__).parents[2] / "docs" / "s3-compatibility.md"
KINDS = {"plain": "no versions", "versioned": "versions", "locked": "versions, Object Lock"}
ERASURE_KEY = "an erasure key of the tests, of more than 32 characters"
RULES = "rules:\n  - {id: everyone, extend_days: 120}\n"
CONFIG = replace(PLAIN, days={"2025-01-10": 6}, audio_seconds=(12, 20), idempotency=False)
LARGE = replace(CONFIG, days={"2025-01-10": 1}, audio_seconds=(3_500, 3_500))  # 40 MB at 96 kbit/s
TOKEN_SECONDS, ROTATING_SECONDS = 25, 60

MakeTrialAccount = Callable[..., Account]


@dataclass(frozen=True)
class Row:
    """One line of the page: what was tried on which server and bucket, and what came of it."""

    server: str
    version: str
    bucket: str
    trial: str
    result: str
    passed: bool


class Unsuitable(Exception):
    """The trial needs what the server or the bucket does not have; the message is the table's result."""


class Trials:
    """The trials on one bucket of one server. Each has an archive and an account of its own."""

    def __init__(self, server: S3Server, kind: str, rules: Path):
        self._server, self._kind, self._rules = server, kind, rules
        self._bucket = f"trials-{kind}"
        server.create_bucket(self._bucket, kind)

    @contextmanager
    def account(self, config: Any = CONFIG, **settings: str) -> Iterator[Account]:
        with ExitStack() as stack:
            krosai = stack.enter_context(KrosaiSimulator(config))
            client = self._server.client()
            stack.callback(client.close)
            archive = Archive(client, self._bucket, f"archive-{time.monotonic_ns()}")
            more = {"KROS_FLAG_RULES": str(self._rules), "KROS_ERASURE_KEY": ERASURE_KEY}
            our = Account(krosai, archive, environment_of(krosai, archive) | more | settings)
            stack.callback(our.opened.close)
            yield our

    def claim(self) -> str:
        """Probe what the daily work relies on; raise `UnfitStore` where it is not there."""
        with self.account() as our:
            try:
                claim(our.ctx)
            except UnfitStore:
                keys = our.archive.objects()
                assert not [key for key in keys if key != DAILY_PROBE], f"something was written: {sorted(keys)}"
                raise
            assert our.archive.objects().keys() == {DAILY_PROBE, CAPABILITIES, ARCHIVE_IDENTITY}
            found = read_capabilities(our.ctx.store)
            assert found is not None
            return "compares SHA-256" if found.compares_sha256 else "does not compare SHA-256: audio is read back"

    def first_run_and_again(self) -> str:
        with self.account() as our:
            archive_day(our)
            before = our.archive.objects()
            archive_day(our)
            after = our.archive.objects()
            of_data = [key for key in before if key.startswith(("audio/", "tables/")) and "reconciliation" not in key]
            assert {key: before[key] for key in of_data} == {key: after[key] for key in of_data}, "written again"
            assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
            return f"complete; {len(completed_of(our.krosai, DAY))} calls, and nothing is written again"

    def two_runs_at_once(self) -> str:
        with self.account() as our:
            contexts = [our.open(), our.open()]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda ctx: run_day_with(our, ctx), contexts))
            archive_day(our)
            assert set(our.krosai.counters()["extend_requests_by_call"].values()) == {1}
            return "complete; each request was sent once"

    def erasure(self) -> str:
        with self.account() as our:
            archive_day(our)
            call_id, *kept = sorted(completed_of(our.krosai, DAY))
            found = erase_calls(our.open(), ErasureRequest((call_id,), reason="request 1", delete_upstream=True))
            assert (found.upstream, found.problems) == ({"deleted": 1}, []), found
            assert not mentions(our, call_id), mentions(our, call_id)
            assert sorted(our.archive.by_call("calls", DAY)) == kept
            assert our.archive.table("reconciliation", DAY)[0]["verdict"] == "complete"
            archive_day(our)
            assert not mentions(our, call_id), "the call came back"
            return f"nothing is left; {found.versions_deleted} versions were deleted"

    def legal_hold(self) -> str:
        if self._kind != "locked":
            raise Unsuitable("the bucket has no Object Lock")
        with self.account(KROS_LEGAL_HOLD="on") as our:
            archive_day(our)
            call_id = min(completed_of(our.krosai, DAY))
            request = ErasureRequest((call_id,), reason="request 1")
            try:
                erase_calls(our.open(), request)
                raise AssertionError("a call under legal hold was erased")
            except ErasureRefused as error:
                assert "legal hold" in str(error), error
            key = f"{our.archive.prefix}/{audio_key(DAY, call_id)}"
            our.archive.client.put_object_legal_hold(Bucket=self._bucket, Key=key, LegalHold={"Status": "OFF"})
            erase_calls(our.open(), request)
            assert not mentions(our, call_id), mentions(our, call_id)
            return "held calls are refused by name, and erased once the hold is lifted"

    def verification(self) -> str:
        with self.account() as our:
            archive_day(our)
            assert verify_days(our.ctx, [DAY]).is_sound
            key = audio_key(DAY, min(completed_of(our.krosai, DAY)))
            our.archive.write(key, b"other bytes")
            assert verify_days(our.ctx, [DAY]).drifted == [key]
            return "sound; changed bytes are found"

    def encryption(self) -> str:
        with self.account(KROS_SSE="AES256") as our:
            try:
                claim(our.ctx)
            except UnfitStore as error:
                assert "KROS_SSE" in str(error), error
                return f"refused: {_shorten(error)}"
            archive_day(our)
            for key in our.archive.objects():
                head = our.archive.client.head_object(Bucket=self._bucket, Key=f"{our.archive.prefix}/{key}")
                assert head.get("ServerSideEncryption") == "AES256", key
            return "every object is encrypted as `KROS_SSE=AES256` asks"

    def large_audio(self) -> str:
        with self.account(LARGE) as our:
            archive_day(our)
            [(key, (_, size))] = our.archive.objects("audio/").items()
            [row] = our.archive.table("recordings", DAY)
            assert hashlib.sha256(our.archive.read(key)).hexdigest() == row["sha256"]
            return f"{size / 1e6:.0f} MB, byte for byte"

    def short_lived_credentials(self) -> str:
        """Archive days for a minute, with tokens that expire after 25 seconds."""
        days = 0
        with short_lived_credentials(self._server, TOKEN_SECONDS) as (variables, issued), aws_variables(variables):
            ends_at = time.monotonic() + ROTATING_SECONDS
            with self.account() as our:
                ctx = our.open()
                while time.monotonic() < ends_at:
                    run_day_with(our, ctx)
                    for key in our.archive.objects():
                        our.archive.delete(key)  # so that everything is put again, by the same clients
                    days += 1
                    time.sleep(1)
            assert len(issued) > ROTATING_SECONDS // TOKEN_SECONDS, issued
        assert days > 1
        return f"no failure in {ROTATING_SECONDS} s of whole days with tokens of {TOKEN_SECONDS} s"


def claim(ctx: Any) -> None:
    """As the first run does, once the API has accepted the key."""
    ctx.prepare_archive()
    ctx.identity.claim()


def archive_day(our: Account) -> None:
    our.ctx.prepare_archive()
    result = our.run_day()
    assert result.verdict.verdict == "complete", result.verdict.problems
    assert_nothing_is_false(our.krosai, our.archive, DAY)
    if not our.archive.table("reconciliation", DAY)[0]["erased"]:
        assert_archive_is_true(our.krosai, our.archive, DAY)


def run_day_with(our: Account, ctx: Any) -> None:
    ctx.prepare_archive()
    run = replace_context(our, ctx).run_day()
    assert run.verdict.verdict == "complete", run.verdict.problems


def replace_context(our: Account, ctx: Any) -> Account:
    """The same account, whose steps use these handles."""
    other = Account(our.krosai, our.archive, our.environment, our.now)
    other.__dict__["ctx"] = ctx
    return other


def mentions(our: Account, call_id: str) -> list[str]:
    """The versions of all objects that name a call, found by bytes; tables are read."""
    client, names = our.archive.client, {call_id.encode(), call_key(call_id).encode()}
    found = []
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=our.archive.bucket, Prefix=f"{our.archive.prefix}/"
    )
    for page in pages:
        for item in page.get("Versions", []):
            body = client.get_object(Bucket=our.archive.bucket, Key=item["Key"], VersionId=item["VersionId"])["Body"]
            text = _as_text(item["Key"], body.read()) + item["Key"].encode()
            if any(name in text for name in names):
                found.append(f"{item['Key']} {item['VersionId']}")
    return found


def _as_text(key: str, body: bytes) -> bytes:
    return repr(pq.read_table(io.BytesIO(body)).to_pydict()).encode() if key.endswith(".parquet") else body


TRIALS: dict[str, Callable[[Trials], str]] = {
    "first run, and again": Trials.first_run_and_again,
    "two runs at once": Trials.two_runs_at_once,
    "erasure": Trials.erasure,
    "legal hold": Trials.legal_hold,
    "verification": Trials.verification,
    "encryption": Trials.encryption,
    "audio of 40 MB": Trials.large_audio,
}


def try_server(server: S3Server, rules: Path) -> Iterator[Row]:
    """Yield what came of each trial, for each kind of bucket that the server has."""
    for kind, bucket in KINDS.items():
        try:
            trials = Trials(server, kind, rules)
        except Exception as error:
            yield Row(server.name, server.version, bucket, "create the bucket", _shorten(error), passed=True)
            continue

        def row(name: str, trial: Callable[[], str], bucket: str = bucket) -> Row:
            began_at = time.monotonic()
            try:
                result, passed = trial(), True
            except Unsuitable as error:
                result, passed = f"not tried: {error}", True
            except UnfitStore as error:
                result, passed = f"refused: {_shorten(error)}", name == "probe at the claim"
            except Exception as error:
                traceback.print_exc()
                result, passed = f"FAILED: {type(error).__name__}: {_shorten(error)}", False
            print(f"{server.name}, {bucket}: {name}: {result} ({time.monotonic() - began_at:.1f} s)", flush=True)
            return Row(server.name, server.version, bucket, name, result, passed)

        claimed = row("probe at the claim", trials.claim)
        yield claimed
        if claimed.passed and not claimed.result.startswith("refused"):
            for name, trial in TRIALS.items():
                yield row(name, lambda trial=trial, trials=trials: trial(trials))  # type: ignore[misc]
            if isinstance(server, SeaweedFS) and kind == "plain":
                yield row("short-lived credentials", trials.short_lived_credentials)


def _shorten(error: BaseException) -> str:
    """Return an error as one line of the table, without ports and prefixes that change with each run."""
    text = " ".join(str(error).split())
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", text)[:400].replace("|", "\\|")


def to_markdown(rows: list[Row]) -> str:
    lines = [
        "# S3-compatible servers",
        "",
        "`make test-s3 ALL=1` runs whole days on these servers and writes this page. “Refused” means: in one sentence,",
        "before anything is archived. AWS itself is not among them: its answers are injected in the tests.",
        "",
        "| server | version | bucket | tried | result |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {row.server} | {row.version} | {row.bucket} | {row.trial} | {row.result} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every server, not SeaweedFS only")
    parser.add_argument("--write", action="store_true", help="write docs/s3-compatibility.md")
    parser.add_argument("--server", choices=SERVERS, help="this server only")
    arguments = parser.parse_args()
    names = [arguments.server] if arguments.server else list(SERVERS) if arguments.all else [SeaweedFS.name]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="kros-trials-") as folder:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(RULES)
        for name in names:
            try:
                with SERVERS[name]() as server, aws_variables(server.environment):
                    rows += try_server(server, rules)
            except NotInstalled as error:
                print(error)
                return 1
    if arguments.write:
        PAGE.write_text(to_markdown(rows))
    failed = [row for row in rows if not row.passed]
    print(f"{len(rows) - len(failed)} of {len(rows)} trials passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
