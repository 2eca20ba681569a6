"""The crash trial: `daily_archive` killed with SIGKILL at random moments, run again until done, and then compared.

    python -m kros_pipeline_tests.support.crash_trial --kills 200 --cli-kills 8 --seed 7

First one archive is made without disturbance, and compared with upstream's truth. Then, round by round, another one:
a run is killed, and the next one, up to five or until one comes through before its moment. The run after that is left
undisturbed. What the round leaves must be what the undisturbed run left:

- the same keys, and the audio byte for byte, read back;
- equal tables, but for `attempts` and the columns that our own clock fills. What upstream says of time
  (`created_at`, `answered_at`, `completed_at`) is compared;
- the first run that nobody kills ends well, every check green, and its verdict is `complete`;
- no recording is downloaded again that was in the bucket after a kill, and no kill costs more downloads than there
  are threads;
- no extension is sent twice. One whose run was killed between intent and outcome is `unconfirmed`: that is right,
  for nobody knows whether upstream acted. It is red then, stays so in one more run, and is never sent again.

After each kill the archive is looked at as well: every table that is there can be read, no object is half an object.

Dagster's start takes longer than the day. So one process imports everything, has a single thread, and is forked for
each run; the fork loads the real definitions and runs the real job on an instance of its own.
A moment is a step, drawn with the weights of `STEPS`, and a time from its start, drawn from what the step took
undisturbed: so a slow machine does not shift all moments into the first step, nor a fast one behind the last.
`--cli-kills` kills the command line of the README instead. A seed names the world and the moments; what a process does
at that moment is the machine's affair, so that a seed repeats a trial nearly, not exactly.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

import kros_pipeline
from kros_pipeline.definitions import defs
from kros_pipeline.sandbox import Faults, Sandbox, SandboxConfig
from kros_pipeline_tests.support.archive_check import TABLES, Archive, assert_archive_is_true, table_key

DAY = date(2025, 1, 10)
STEPS = {  # with the weights of their kills: where bytes and promises move, there are most
    "calls": 2,
    "recordings": 4,
    "transcripts": 2,
    "utterances": 1,
    "flagged_calls": 1,
    "retention_extensions": 3,
    "reconciliation": 2,
}
WORKERS = 8  # downloads at once
THREADS = WORKERS * 3 // 2  # recordings that one kill may interrupt: others are verified and put meanwhile
EXTENDERS = 8  # extensions that one kill may interrupt
MOST_KILLS_A_ROUND = 5  # a day that is done already has less to interrupt: new rounds begin from nothing
OUR_CLOCK = {"listed_at", "archived_at", "fetched_at", "asked_at", "requested_at", "confirmed_at", "checked_at"}
NOT_COMPARED = OUR_CLOCK | {"attempts", "api_requests"}
UNCONFIRMED_CHECK = "every_extension_is_confirmed"
BETWEEN, AFTER = "between two steps", "after the end"

_SERVE = "--serve"
_LONGEST_RUN_SECONDS, _HUNG = 100.0, 99
_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE_RULES = Path(kros_pipeline.__file__).parent / "flag_rules.example.yaml"
# Calls of some seconds meet few of the example's rules: with this one there is something to interrupt.
_ONE_MORE_RULE = """
  - id: long-enough
    duration_seconds_at_least: 12
    extend_days: 180
"""
_LOGGED_STEP = re.compile(rb" - (\w+) - STEP_(START|SUCCESS|FAILURE|SKIPPED|UP_FOR_RETRY) - ")
_RED = re.compile(rb"Asset check '(\w+)' on '\w+' did not pass")


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after a step began."""

    step: str
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """One process that ran the day, and how it ended."""

    exit_code: int
    began: dict[str, float]
    """On the monotonic clock, when each step began."""
    ended: float
    step: str
    """The one that was running last, or where it was if none was."""
    red: list[str]
    """Checks that did not pass."""
    last_words: str

    @property
    def was_killed(self) -> bool:
        """In the middle of its work; whoever was past its end does not count."""
        return self.exit_code == -signal.SIGKILL and self.step != AFTER


@dataclass
class Report:
    """What came of a trial; `breaches` are sentences, and none of them is what everyone hopes for."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    """By the step that was running."""
    kills_of_the_command_line: int = 0
    rounds: int = 0
    most_kills_in_a_round: int = 0
    runs: int = 0
    too_late: int = 0
    """Moments that came when the run was through."""
    recordings: int = 0
    extensions: int = 0
    downloads_repeated: int = 0
    unconfirmed: int = 0
    unconfirmed_applied: int = 0
    undisturbed_seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{step} {self.kills[step]}" for step in (*STEPS, BETWEEN) if self.kills[step])
        return "\n".join(
            [
                f"seed {self.seed}: {self.kills.total()} kills in {self.rounds} rounds and {self.runs} runs, "
                f"at most {self.most_kills_in_a_round} in a round, {self.kills_of_the_command_line} of the command "
                f"line; {self.too_late} moments came too late",
                f"kills per step: {kills or 'none'}",
                f"undisturbed: {self.undisturbed_seconds:.1f} s from the first request on, "
                f"{self.recordings} recordings, {self.extensions} extensions",
                f"recordings fetched twice, because a kill came before they were in the bucket: "
                f"{self.downloads_repeated}",
                f"extensions unconfirmed, because a kill came between intent and outcome: {self.unconfirmed}, "
                f"of which upstream had applied {self.unconfirmed_applied}; each red, none sent again",
                f"result: {'every archive is the undisturbed one' if not self.breaches else 'BREACHES'}",
                *(f"  - {breach}" for breach in self.breaches),
            ]
        )


# One run, watched and killed. All of it in a process without threads, which is forked for each run.


def serve() -> None:
    """Answers each line on stdin, a run that is wanted, with a line on stdout: what became of it."""
    _import_what_is_imported_late()
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) != 1:
        raise RuntimeError("a process that is forked must not have threads")
    print("ready", flush=True)
    for line in sys.stdin:
        reported = json.loads(line)
        os.environ.update(reported["environment"])
        pid, log = (_start_command if reported["by_command_line"] else _fork)()
        moment = Moment(**reported["moment"]) if reported["moment"] else None
        print(json.dumps(asdict(_watch(pid, log, moment))), flush=True)


def _import_what_is_imported_late() -> None:
    """Two seconds of it in every first run. No client is opened here: no connection, and no thread, is inherited."""

    @dg.asset
    def nothing() -> None:
        pass

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([nothing], instance=instance)
    pa.array([datetime.now(UTC)]).to_pylist()  # imports pandas, where there is one


def _fork() -> tuple[int, int]:
    """The job in a fork of this process: its id, and where its log can be read."""
    log, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(written, 1)
            os.dup2(written, 2)
            code = _run_job()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(written)
    return pid, log


def _run_job() -> int:
    job = defs().resolve_job_def("daily_archive")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(tags={"dagster/partition": str(DAY)}, instance=instance, raise_on_error=False)
    return 0 if result.success else 1


def _start_command() -> tuple[int, int]:
    """The same by the README's line."""
    log, written = os.pipe()
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "kros_pipeline.definitions"]
    command += ["-j", "daily_archive", "--tags", json.dumps({"dagster/partition": str(DAY)})]
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written)
    os.close(written)
    started.returncode = 0  # it is waited for by its id, as a fork is
    return started.pid, log


def _watch(pid: int, log: int, moment: Moment | None) -> Attempt:
    """Reads the log to its end, and kills when the moment has come. The id is the process's own until it is reaped."""
    reported = b""
    began: dict[str, float] = {}
    killed = False
    give_up_at = time.monotonic() + _LONGEST_RUN_SECONDS
    while True:
        due = give_up_at
        if moment is not None and moment.step in began:
            due = min(due, began[moment.step] + moment.seconds)
        if not killed and time.monotonic() >= due:
            os.kill(pid, signal.SIGKILL)
            killed = True
        if not select.select([log], [], [], None if killed else max(0.0, due - time.monotonic()))[0]:
            continue
        piece = os.read(log, 1 << 16)
        if not piece:
            break
        reported += piece
        for step, what in _LOGGED_STEP.findall(reported):
            if what == b"START":
                began.setdefault(step.decode(), time.monotonic())
    os.close(log)
    _, status = os.waitpid(pid, 0)
    ended = time.monotonic()
    return Attempt(
        exit_code=os.waitstatus_to_exitcode(status) if ended < give_up_at else _HUNG,
        began=began,
        ended=ended,
        step=_last_step(reported),
        red=sorted({name.decode() for name in _RED.findall(reported)}),
        last_words=reported[-1500:].decode(errors="replace"),
    )


def _last_step(log: bytes) -> str:
    if b" - RUN_SUCCESS - " in log or b" - RUN_FAILURE - " in log:
        return AFTER
    logged = _LOGGED_STEP.findall(log)
    return logged[-1][0].decode() if logged and logged[-1][1] == b"START" else BETWEEN


class Runner:
    """The handle of the process that `serve`s, for as long as the `with` lasts."""

    def __init__(self, environment: dict[str, str], folder: str) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("KROS", "AWS_", "DAGSTER"))
        }
        self._words = Path(folder) / "runner.log"
        with self._words.open("wb") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kros_pipeline_tests.support.crash_trial", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                cwd=folder,  # Dagster would read another account's settings from an .env file
                env=inherited
                | environment
                | {
                    "AWS_EC2_METADATA_DISABLED": "true",
                    "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
                    "TMPDIR": folder,  # whoever is killed tidies nothing up
                    # numpy and pyarrow start a thread each when they are imported, unless the environment forbids it.
                    "OPENBLAS_NUM_THREADS": "1",
                    "JE_ARROW_MALLOC_CONF": "background_thread:false",
                },
                text=True,
            )
        assert self._process.stdin and self._process.stdout
        self._reported, self._heard = self._process.stdin, self._process.stdout

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *reason: object) -> None:
        self._reported.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._heard.close()

    def wait_until_ready(self) -> None:
        if self._heard.readline().strip() != "ready":
            raise RuntimeError(f"the process that is to be forked did not start: {self._words.read_text()[-1500:]}")

    def start(self, bucket: str, moment: Moment | None = None, *, by_command_line: bool = False) -> None:
        """One run of the day into a bucket; `outcome` waits for its end."""
        reported = {
            "environment": {"KROS_ARCHIVE_URL": f"s3://{bucket}/krosai"},
            "moment": asdict(moment) if moment else None,
            "by_command_line": by_command_line,
        }
        self._reported.write(json.dumps(reported) + "\n")
        self._reported.flush()

    def outcome(self) -> Attempt:
        return Attempt(**json.loads(self._heard.readline()))


# What an archive is, so that two of them can be compared.


@dataclass(frozen=True)
class Contents:
    """Keys, hashes of the audio as it is read back, and tables without what may differ."""

    keys: set[str]
    audio: dict[str, str]
    tables: dict[str, list[dict[str, Any]]]
    schemas: dict[str, str]
    account: set[tuple[str, str | None]]
    """What the audit says was done: the call, and the hash of its audio or None for its extension."""

    @classmethod
    def of(cls, archive: Archive) -> Contents:
        stored = set(archive.objects())
        keys = {key for key in stored if not key.startswith("audit/")}  # each run has accounts of its own
        lines = [json.loads(line) for key in stored - keys for line in archive.read(key).splitlines()]
        account = {(line["call"], line.get("sha256")) for line in lines}
        tables, schemas = {}, {}
        for name in TABLES:
            table = pq.read_table(io.BytesIO(archive.read(table_key(name, DAY))))
            schemas[name] = table.schema.to_string(show_schema_metadata=False)
            tables[name] = table.drop_columns([c for c in table.column_names if c in NOT_COMPARED]).to_pylist()
        audio = {key: hashlib.sha256(archive.read(key)).hexdigest() for key in keys if key.startswith("audio/")}
        return cls(keys, audio, tables, schemas, account)


def _without_unconfirmed(problems: list[str]) -> list[str]:
    """Leave out what the day says of extensions whose outcome a kill hid: the undisturbed day has none."""
    return [sentence for sentence in problems if "extension of the retention unconfirmed" not in sentence]


def differences(undisturbed: Contents, disturbed: Contents, unconfirmed: set[str]) -> Iterable[str]:
    """Sentences. Decisions that are rightly `unconfirmed` have no outcome, and their rows say so."""
    without_outcome = {key for key in undisturbed.keys if _decision_of(key) in unconfirmed and "-outcome" in key}
    for what, keys in (
        ("is missing", undisturbed.keys - without_outcome - disturbed.keys),
        ("is unknown to the undisturbed archive", disturbed.keys - undisturbed.keys),
    ):
        yield from (f"{key} {what}" for key in sorted(keys))
    for call, _ in sorted(undisturbed.account - disturbed.account, key=repr):
        yield f"no account says what was done to {call}"
    for call, _ in sorted(disturbed.account - undisturbed.account, key=repr):
        yield f"an account says of {call} what was not done"
    for key in sorted(undisturbed.audio.keys() & disturbed.audio.keys()):
        if undisturbed.audio[key] != disturbed.audio[key]:
            yield f"{key} holds other bytes"
    for name, unique in TABLES.items():
        if undisturbed.schemas[name] != disturbed.schemas[name]:
            yield f"{name} has another schema"
        known = {tuple(row[column] for column in unique): row for row in undisturbed.tables[name]}
        found = [tuple(row[column] for column in unique) for row in disturbed.tables[name]]
        yield from (f"{name}: {row_key} is there {n} times" for row_key, n in Counter(found).items() if n > 1)
        yield from (f"{name}: {row_key} is missing" for row_key in sorted(known.keys() - set(found)))
        for row_key, row in zip(found, disturbed.tables[name], strict=True):
            expected = known.get(row_key)
            if expected is None:
                yield f"{name}: {row_key} is unknown to the undisturbed archive"
                continue
            may_differ = {"status", "reason"} if row.get("decision_id") in unconfirmed else set()
            for column in row.keys() - may_differ:
                value = _without_unconfirmed(row[column]) if column == "problems" and unconfirmed else row[column]
                if value != expected[column]:
                    yield f"{name}: {row_key} has {column} = {row[column]!r} instead of {expected[column]!r}"
        if found != list(known) and sorted(found) == sorted(known):
            yield f"{name} is in another order"


def _decision_of(key: str) -> str | None:
    parts = key.split("/")
    return parts[3] if key.startswith("state/extensions/") and len(parts) == 5 else None


# The trial.


class Trial:
    """One world, one undisturbed archive, and as many disturbed ones as the kills need."""

    def __init__(self, kills: int, seed: int, calls: int, cli_kills: int, say: Callable[[str], None]) -> None:
        self.kills_wanted, self.cli_kills_wanted = kills + cli_kills, cli_kills
        self.rng = random.Random(seed)
        self.say = say
        self.report = Report(seed)
        self.config = SandboxConfig(
            seed=seed,
            days={"2025-01-09": 5, str(DAY): calls, "2025-01-11": 5},
            audio_seconds=(5, 30),
            idempotency=False,  # a second extension would count
            faults=Faults(api_latency_seconds=0.01, storage_latency_seconds=0.05),  # so that kills meet open requests
        )

    def run(self) -> Report:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kros-crash-trial-"))
            rules = Path(folder) / "rules.yaml"
            rules.write_text(_EXAMPLE_RULES.read_text("utf-8") + _ONE_MORE_RULE, "utf-8")
            sandbox = stack.enter_context(Sandbox(self.config))
            environment = sandbox.environment | {
                "KROS_FLAG_RULES": str(rules),
                "KROS_START_DATE": "2025-01-01",
                "KROSAI_PLAN": "business",
                "KROSAI_REQUESTS_PER_SECOND": "100000",
                "KROS_DOWNLOAD_WORKERS": str(WORKERS),
            }
            self.runner = stack.enter_context(Runner(environment, folder))
            self.krosai, self.s3 = sandbox.krosai, sandbox.s3.client()
            stack.callback(self.s3.close)
            self.runner.wait_until_ready()
            self._make_the_undisturbed_one()
            for number in itertools.count(1):
                self._round(number)
                if self.report.breaches or self.report.kills.total() >= self.kills_wanted:
                    break
                if self.report.runs > 30 + 5 * self.kills_wanted:
                    self.report.breaches.append("most moments came too late: the runs are faster than they were")
                    break
        return self.report

    def _archive(self, bucket: str) -> Archive:
        """An empty one, with the simulator's counters at zero."""
        self.s3.create_bucket(Bucket=bucket)
        self.krosai.reset_counters()
        return Archive(self.s3, bucket, "krosai")

    def _attempt(self, bucket: str, moment: Moment | None = None, *, by_command_line: bool = False) -> Attempt:
        self.runner.start(bucket, moment, by_command_line=by_command_line)
        self.report.runs += 1
        return self.runner.outcome()

    def _moment(self) -> Moment:
        step = self.rng.choices(list(STEPS), list(STEPS.values()))[0]
        return Moment(step, self.rng.uniform(*self.spans[step]))

    def _make_the_undisturbed_one(self) -> None:
        """Measures, on its way, when the first request comes: what is before it is not worth a kill."""
        archive = self._archive("undisturbed")
        self.runner.start(archive.bucket)
        give_up_at = time.monotonic() + _LONGEST_RUN_SECONDS
        while not self.krosai.counters()["requests_by_route"] and time.monotonic() < give_up_at:
            time.sleep(0.005)
        first_request_at = time.monotonic()
        attempt = self.runner.outcome()
        if attempt.exit_code or attempt.red or len(attempt.began) < len(STEPS):
            raise RuntimeError(f"the undisturbed run did not end well: {attempt.red} {attempt.last_words}")
        bounds = [*sorted(attempt.began.values()), attempt.ended]
        took = {step: bounds[bounds.index(start) + 1] - start for step, start in attempt.began.items()}
        self.spans = {step: (0.0, seconds) for step, seconds in took.items()}
        self.spans["calls"] = (max(0.0, first_request_at - attempt.began["calls"]), took["calls"])
        self.report.undisturbed_seconds = attempt.ended - first_request_at
        assert_archive_is_true(self.krosai, archive, DAY)
        self.undisturbed = Contents.of(archive)
        self.sizes = {key: size for key, (_, size) in archive.objects("audio/").items()}
        self.report.recordings = len(self.undisturbed.audio)
        self.report.extensions = len(self.undisturbed.tables["retention_extensions"])
        each = ", ".join(f"{step} {took[step]:.2f}" for step in STEPS)
        self.say(f"undisturbed: {self.report.undisturbed_seconds:.1f} s from the first request on ({each})")

    def _round(self, number: int) -> None:
        archive = self._archive(f"disturbed-{number}")
        safe: dict[str, int] = {}
        kills: Counter[str] = Counter()
        by_command_line = self.report.kills_of_the_command_line < self.cli_kills_wanted
        self.report.rounds += 1
        most_kills = self.rng.randint(1, MOST_KILLS_A_ROUND)
        while True:
            wanted = kills.total() < most_kills and self.report.kills.total() < self.kills_wanted
            moment = self._moment() if wanted else None
            attempt = self._attempt(archive.bucket, moment, by_command_line=by_command_line)
            if attempt.was_killed:
                kills[attempt.step] += 1
                self.report.kills[attempt.step] += 1
                self.report.kills_of_the_command_line += by_command_line
                self._look_at_what_a_kill_left(number, archive, safe)
                self.say(
                    f"round {number}: kill {self.report.kills.total()} of {self.kills_wanted}: {attempt.step}; "
                    f"{len(safe)} recordings safe"
                )
                continue
            self.report.too_late += wanted
            if attempt.exit_code != -signal.SIGKILL:  # else it was past its end: once more, so that its end is seen
                break
        self.report.most_kills_in_a_round = max(self.report.most_kills_in_a_round, kills.total())
        if attempt.exit_code:
            self._breach(number, f"a run that nobody killed ended with {attempt.exit_code}: {attempt.last_words}")
            return
        self._compare(number, archive, attempt, safe, kills)
        if not self.report.breaches:
            self._forget(archive)

    def _look_at_what_a_kill_left(self, number: int, archive: Archive, safe: dict[str, int]) -> None:
        """Whole objects, readable tables; and notes which recordings are safe from now on, at how many downloads."""
        stored = archive.objects()
        downloads = self._settled_counters()["downloads_by_call"]
        for key, (_, size) in stored.items():
            if key.startswith("audio/"):
                safe.setdefault(key, downloads.get(Path(key).stem, 0))
                if size != self.sizes.get(key):
                    self._breach(number, f"a kill left {size} bytes at {key} instead of {self.sizes.get(key)}")
        for name, unique in TABLES.items():
            if table_key(name, DAY) in stored:
                keys = Counter(tuple(row[column] for column in unique) for row in archive.table(name, DAY))
                if twice := [key for key, count in keys.items() if count > 1]:
                    self._breach(number, f"a kill left {name} with rows twice: {twice[:3]}")

    def _settled_counters(self) -> dict[str, Any]:
        """After what the killed process had sent has been counted too."""
        before, now = dict[str, Any](), self.krosai.counters()
        while before != now:
            time.sleep(0.03)
            before, now = now, self.krosai.counters()
        return now

    def _compare(self, number: int, archive: Archive, last: Attempt, safe: dict[str, int], kills: Counter[str]) -> None:
        extensions = archive.table("retention_extensions", DAY)
        unconfirmed = {row["decision_id"]: row["call_id"] for row in extensions if row["status"] == "unconfirmed"}
        if unconfirmed:
            last = self._attempt(archive.bucket)  # a chance to send them again, which must not be taken
            if last.exit_code:
                self._breach(number, f"a finished day, run again, ended with {last.exit_code}: {last.last_words}")
        counters = self._settled_counters()
        for breach in self._of_extensions(archive, unconfirmed, kills, counters, last):
            self._breach(number, breach)
        for breach in self._of_downloads(safe, kills, counters["downloads_by_call"]):
            self._breach(number, breach)
        for difference in itertools.islice(differences(self.undisturbed, Contents.of(archive), set(unconfirmed)), 20):
            self._breach(number, difference)

    def _of_extensions(
        self,
        archive: Archive,
        unconfirmed: dict[str, str],
        kills: Counter[str],
        counters: dict[str, Any],
        last: Attempt,
    ) -> Iterable[str]:
        sent, applied = counters["extend_requests_by_call"], counters["extends_applied_by_call"]
        yield from (f"{call_id} was extended {n} times" for call_id, n in applied.items() if n > 1)
        yield from (f"the extension of {call_id} was sent {n} times" for call_id, n in sent.items() if n > 1)
        rows = {row["decision_id"]: row for row in archive.table("retention_extensions", DAY)}
        still = {decision for decision, row in rows.items() if row["status"] == "unconfirmed"}
        if still != unconfirmed.keys():
            yield f"running again changed which extensions are unconfirmed: {still ^ unconfirmed.keys()}"
        for row in rows.values():
            if row["status"] == "extended" and not applied.get(row["call_id"]):
                yield f"{row['call_id']} is said to be extended, and upstream did not do it"
        if foreign := applied.keys() - {row["call_id"] for row in rows.values()}:
            yield f"upstream extended what no row names: {sorted(foreign)}"
        keys = archive.objects("state/extensions/")
        for decision in unconfirmed:
            names = sorted(Path(key).name for key in keys if _decision_of(key) == decision)
            if names != ["001-intent.json"]:
                yield f"decision {decision} is unconfirmed with {names}"
            if "may or may not" not in (rows[decision]["reason"] or ""):
                yield f"decision {decision} is unconfirmed without a word why"
        if len(unconfirmed) > EXTENDERS * kills["retention_extensions"]:
            yield f"{len(unconfirmed)} extensions are unconfirmed after {kills['retention_extensions']} kills of theirs"
        if last.red != ([UNCONFIRMED_CHECK] if unconfirmed else []):
            yield f"{len(unconfirmed)} extensions are unconfirmed, and the red checks are {last.red}"
        self.report.unconfirmed += len(unconfirmed)
        self.report.unconfirmed_applied += sum(applied.get(call_id, 0) for call_id in unconfirmed.values())

    def _of_downloads(self, safe: dict[str, int], kills: Counter[str], downloads: dict[str, int]) -> Iterable[str]:
        for key, count in safe.items():
            if downloads.get(Path(key).stem, 0) != count:
                yield f"{key} was downloaded again although it was safe"
        of_theirs = kills["recordings"]
        for call_id, count in downloads.items():
            if count > 1 + of_theirs:
                yield f"{call_id} was downloaded {count} times after {of_theirs} kills of its step"
        repeated = sum(downloads.values()) - self.report.recordings
        if repeated > THREADS * of_theirs:
            yield f"{repeated} downloads too many after {of_theirs} kills of their step"
        self.report.downloads_repeated += repeated

    def _breach(self, number: int, what: str) -> None:
        self.report.breaches.append(f"round {number}: {what}")
        self.say(self.report.breaches[-1])

    def _forget(self, archive: Archive) -> None:
        """The local S3 holds everything in memory."""
        keys = [f"{archive.prefix}/{key}" for key in archive.objects()]
        for start in range(0, len(keys), 1000):
            batch = keys[start : start + 1000]
            self.s3.delete_objects(Bucket=archive.bucket, Delete={"Objects": [{"Key": key} for key in batch]})


def crash_trial(
    kills: int, seed: int, *, calls: int = 90, cli_kills: int = 0, say: Callable[[str], None] = print
) -> Report:
    """The whole trial: `kills` of forked runs and `cli_kills` of the command line."""
    return Trial(kills, seed, calls, cli_kills, say).run()


def main() -> int:
    """The command line; returns 0 if no law was broken."""
    parser = argparse.ArgumentParser("python -m kros_pipeline_tests.support.crash_trial")
    parser.add_argument("--kills", type=int, default=200, help="of runs in forks of one process")
    parser.add_argument("--cli-kills", type=int, default=0, help="of the command line that the README names, besides")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--calls", type=int, default=90, help="of the day")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}", flush=True)
    report = crash_trial(
        options.kills,
        seed,
        calls=options.calls,
        cli_kills=options.cli_kills,
        say=lambda line: print(line, flush=True),
    )
    print(report)
    return 1 if report.breaches else 0


if __name__ == "__main__":
    if sys.argv[1:] == [_SERVE]:
        serve()
    else:
        sys.exit(main())
