"""No child process outlives its parent, and a child that cannot start reports its error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from kros_pipeline.sandbox import KrosaiSimulator
from kros_pipeline_tests.support.sandbox_client import PLAIN


def test_no_child_outlives_its_parent_even_if_the_parent_is_killed() -> None:
    script = (
        "from kros_pipeline.sandbox import Sandbox\n"
        "sandbox = Sandbox().__enter__()\n"
        "print(sandbox.krosai.pid, sandbox.s3.pid, flush=True)\n"
        "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(_is_alive(pid) for pid in children) and len(children) == 2
        parent.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 5
    while any(map(_is_alive, children)):
        assert time.monotonic() < give_up_at, "a child outlived its parent"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # where there is one: a zombie that nobody has reaped yet is not alive
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


class MissingModule(KrosaiSimulator):
    """A simulator whose module does not exist."""

    module: ClassVar[str] = "kros_pipeline.sandbox.missing"


def test_a_child_that_cannot_start_reports_its_error() -> None:
    with pytest.raises(RuntimeError, match=r"missing did not start: .*No module named"), MissingModule(PLAIN):
        pass


def test_a_child_can_be_stopped_before_it_starts_and_twice() -> None:
    simulator = KrosaiSimulator(PLAIN)
    with pytest.raises(RuntimeError, match=r"krosai_process has not been started"):
        _ = simulator.pid
    simulator.stop()
    simulator.stop()
