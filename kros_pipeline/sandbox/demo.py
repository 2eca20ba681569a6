"""Run the demo: `python -m kros_pipeline.sandbox.demo` archives three days and queries them as an analyst would.

Everything runs on this machine, in the sandbox, and is deleted afterwards. It takes less than a minute. With `--browse`
the reviewer's page is served on these days afterwards, until Ctrl-C.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .config import SandboxConfig
from .sandbox import Sandbox

_DAYS = 3
_CALLS_PER_DAY = 80
_DAYS_AGO = 5  # after the grace days, so that no recording is still expected
_FAILURE = re.compile(r"^dagster\.\S*Failure: (.*)$", re.MULTILINE)

DAYS_QUERY = """\
SELECT dt AS day, calls, round(bytes_in_bucket / 1e6, 1) AS audio_mb, utterances, flagged, verdict
FROM read_parquet('{archive}/tables/reconciliation/dt=*/part-0.parquet', hive_partitioning = true)
LEFT JOIN (
    SELECT dt, count(DISTINCT call_id) AS flagged
    FROM read_parquet('{archive}/tables/flagged_calls/dt=*/part-0.parquet', hive_partitioning = true)
    GROUP BY dt
) USING (dt)
ORDER BY day"""

QUESTION = "How much does each speaker say, and in how many calls is a refund mentioned?"
ANSWER_QUERY = """\
SELECT speaker, count(DISTINCT call_id) AS calls, count(*) AS turns, sum(word_count)::INT AS words,
       count(DISTINCT call_id) FILTER (text ILIKE '%refund%') AS calls_with_refund
FROM read_parquet('{archive}/tables/utterances/dt=*/part-0.parquet', hive_partitioning = true)
GROUP BY speaker
ORDER BY words DESC"""

DUCKDB_SETUP = """\
import duckdb, s3fs
duckdb.register_filesystem(s3fs.S3FileSystem())  # or, with DuckDB's own extension: INSTALL httpfs; LOAD httpfs"""
DUCKDB_LINES = '''\
duckdb.sql("""
{query}
""").show()'''

PANDAS_LINES = """\
import pandas as pd
turns = pd.read_parquet("{archive}/tables/utterances/")
print(turns.groupby(["dt", "speaker"], observed=True)["word_count"].agg(["size", "sum"]))"""


def main() -> int:
    """Run the demo. Returns 0 if every day was archived and every query ran, otherwise 1."""
    browses = sys.argv[1:] == ["--browse"]
    last = datetime.now(UTC).date() - timedelta(days=_DAYS_AGO)
    days = tuple((last - timedelta(days=back)).isoformat() for back in range(_DAYS - 1, -1, -1))
    print("Starting the sandbox: a KrosAI simulator and a local S3 …", flush=True)
    config = SandboxConfig(days=days, calls_per_day=_CALLS_PER_DAY, audio_seconds=(5, 240))
    with tempfile.TemporaryDirectory(prefix="kros-demo-") as folder, Sandbox(config) as sandbox:
        rules = Path(__file__).parents[1] / "flag_rules.example.yaml"
        # Near the end of upstream's retention one answer settles a call without a recording: else the days would wait.
        settings = {"KROS_FLAG_RULES": str(rules), "KROS_START_DATE": days[0], "KROSAI_RETENTION_DAYS": "7"}
        environment = os.environ | sandbox.environment | settings
        for day in days:
            if not _archive(day, environment, folder, sandbox, "archived"):
                return 1
        if not _archive(days[-1], environment, folder, sandbox, "run again"):
            return 1
        os.environ.update(sandbox.environment)  # the queries below find the archive by these settings
        _show_tables(sandbox.environment["KROS_ARCHIVE_URL"])
        if not _seal_and_verify(days[-1], environment, Path(folder), sandbox):
            return 1
        print("`make dev` starts the same sandbox with the Dagster UI.")
        if browses:
            return _browse(environment | {"XDG_CACHE_HOME": folder}, folder)
        print("`make demo BROWSE=1` opens the reviewer's page on these days.")
    return 0


def _browse(environment: Mapping[str, str], folder: str) -> int:
    """Serve the reviewer's page until Ctrl-C; its index is deleted with the folder."""
    command = [sys.executable, "-m", "kros_pipeline", "browse"]
    page = subprocess.Popen(command, env=dict(environment), cwd=folder)  # noqa: S603
    try:
        return page.wait()
    except KeyboardInterrupt:
        page.wait()
        return 0


def _archive(day: str, environment: Mapping[str, str], folder: str, sandbox: Sandbox, action: str) -> bool:
    """Archive one day with the README's command. Print its cost, or the error of the run, and return its success."""
    sandbox.krosai.reset_counters()
    began = time.monotonic()
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "kros_pipeline.definitions"]
    command += ["-j", "daily_archive", "--tags", f'{{"dagster/partition": "{day}"}}']
    print(f"  {day} … ", end="", flush=True)
    # In an empty folder: Dagster reads .env from the working directory, which may name a real account.
    run = subprocess.run(command, env=dict(environment), cwd=folder, capture_output=True, text=True)  # noqa: S603
    if run.returncode:
        failures = _FAILURE.findall(run.stdout + run.stderr)
        print("failed:", *(failures or [run.stderr[-2000:]]), sep="\n    ", flush=True)
        return False
    counters = sandbox.krosai.counters()
    print(
        f"{action} in {time.monotonic() - began:.1f} s: {counters['storage_requests']} downloads, "
        f"{sum(counters['requests_by_route'].values())} API requests, "
        f"{sum(counters['extends_applied_by_call'].values())} extensions",
        flush=True,
    )
    return True


def _show_tables(archive: str) -> None:
    """Query the tables, and print the code that did. The code printed is the code that runs."""
    names: dict[str, object] = {}

    def run(lines: str) -> None:
        exec(compile(lines, "<demo>", "exec"), names)  # noqa: S102 - constants of this module

    answer = DUCKDB_LINES.format(query=ANSWER_QUERY.format(archive=archive))
    in_pandas = PANDAS_LINES.format(archive=archive)
    run(DUCKDB_SETUP)
    print("\nThe reconciled days:")
    run(DUCKDB_LINES.format(query=DAYS_QUERY.format(archive=archive)))
    print(QUESTION)
    run(answer)
    print("The same turns in pandas, by day:\n")
    run(in_pandas)
    print(
        "\nThese queries ran in the sandbox, which ends with this command. Use them with your own s3://bucket/prefix."
    )
    print("In DuckDB:\n")
    print(f"{_indented(DUCKDB_SETUP)}\n{_indented(answer)}")
    print(f"\nor in pandas:\n\n{_indented(in_pandas)}\n")


def _seal_and_verify(day: str, environment: Mapping[str, str], folder: Path, sandbox: Sandbox) -> bool:
    """Seal the days, copy one out of the bucket, and check the copy as a stranger would. Return the success."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "kros_pipeline.definitions", "-j", "seal_days"]
    run = subprocess.run(command, env=dict(environment), cwd=folder, capture_output=True, text=True)  # noqa: S603
    if run.returncode:
        print("The days were not sealed:", *_FAILURE.findall(run.stdout + run.stderr), sep="\n    ", flush=True)
        return False
    bucket, _, prefix = sandbox.environment["KROS_ARCHIVE_URL"].removeprefix("s3://").partition("/")
    copy, client = folder / "copy", sandbox.s3.client()
    for below in (f"audio/dt={day}/", f"seals/dt={day}/", "seals/seal-"):
        for item in client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/{below}").get("Contents", []):
            path = copy / item["Key"].removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, item["Key"], str(path))
    client.close()
    line = f"sh seals/dt={day}/VERIFY.txt"
    print(
        f"The days are sealed. Whoever has a copy of one checks it with a shell, coreutils and openssl:\n\n    {line}\n"
    )
    verify = subprocess.run(["/bin/sh", f"seals/dt={day}/VERIFY.txt"], cwd=copy, capture_output=True, text=True)  # noqa: S603
    if verify.returncode and "sort (GNU coreutils)" not in _version_of_sort():
        print("    (this machine has no GNU coreutils, which the commands need)\n")
        return True
    print(_indented(verify.stdout), flush=True)
    return verify.returncode == 0


def _version_of_sort() -> str:
    return subprocess.run(["sort", "--version"], capture_output=True, text=True).stdout  # noqa: S607


def _indented(lines: str) -> str:
    return "\n".join(f"    {line}" for line in lines.splitlines())


if __name__ == "__main__":
    sys.exit(main())
