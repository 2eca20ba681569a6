"""`python -m kros_pipeline.sandbox` prints settings or runs a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import requests

from kros_pipeline_tests.support.sandbox_client import DAY


def test_a_command_runs_with_the_settings_and_its_exit_code_is_returned() -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['KROSAI_BASE_URL']); raise SystemExit(7)"]
    ran = subprocess.run(
        [sys.executable, "-m", "kros_pipeline.sandbox", "--days", DAY, "--calls-per-day", "3", "--", *command],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr) == (7, "")
    assert ran.stdout.startswith("http://127.0.0.1:")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_termination_is_passed_on_to_the_command() -> None:
    sleep = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--plain", "--", *sleep]
    with subprocess.Popen(module, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "up\n"
        running.terminate()
        assert running.wait(10) == 128 + signal.SIGTERM


def test_an_unknown_command_is_reported_in_one_sentence() -> None:
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--plain", "--", "no-such-command"]
    ran = subprocess.run(module, capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (127, "no such command: no-such-command\n")


def test_without_a_command_the_settings_are_printed_until_stdin_closes() -> None:
    module = [sys.executable, "-m", "kros_pipeline.sandbox", "--last-days", "2", "--plain"]
    with subprocess.Popen(module, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdin is not None
        environment = dict(running.stdout.readline().rstrip("\n").split("=", 1) for _ in range(11))
        headers = {"x-api-key": environment["KROSAI_API_KEY"]}
        page = requests.get(f"{environment['KROSAI_BASE_URL']}/calls", headers=headers, timeout=10).json()
        assert page["total"] == 80
        running.stdin.close()
        assert running.wait(10) == 0


def test_an_invalid_option_is_refused_in_one_sentence() -> None:
    bad = [sys.executable, "-m", "kros_pipeline.sandbox", "--audio-seconds", "long"]
    ran = subprocess.run(bad, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stderr.endswith("--audio-seconds must be two whole numbers separated by a comma, not long\n")
