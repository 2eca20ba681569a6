"""Servers in processes of their own: started together, asked when they are ready, gone when their parent is gone.

The parent writes one line of JSON to the child's stdin and keeps it open; the child answers with one line of JSON on
stdout when it is ready. The child ends when its stdin does, which the operating system sees to even if the parent is
killed. As a second string it watches for a new parent, for a copy of the pipe may live on in some forked process.
(Linux's PR_SET_PDEATHSIG is not used: it fires when the *thread* that started the child ends.)
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_WATCH_SECONDS = 0.5
_IMPORT_ROOT = str(Path(__file__).resolve().parents[2])


class ChildServer:
    """`python -m module` in a process of its own."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()

    def start(self, config: Mapping[str, Any]) -> None:
        """Tells the child `config`. Returns at once, so that several can start together."""
        paths = [_IMPORT_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which then stops its children
        )
        stdin = cast(IO[bytes], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it died at once: wait_until_ready says why
            stdin.write(json.dumps(config).encode() + b"\n")
            stdin.flush()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError(f"{self._module} has not been started")
        return self._process

    def wait_until_ready(self) -> dict[str, Any]:
        """What the child says once it serves. RuntimeError with its last words if it never does."""
        stdout = cast(IO[bytes], self.process.stdout)
        line, give_up_at = b"", time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n") and selector.select(give_up_at - time.monotonic()):
                if not (received := os.read(stdout.fileno(), 4096)):
                    break
                line += received
        if not line.endswith(b"\n"):
            self._end()
            self._stderr.seek(0)
            words = self._stderr.read().decode(errors="replace")[-2000:].strip() or "it said nothing"
            self.stop()
            raise RuntimeError(f"{self._module} did not start: {words}")
        ready: dict[str, Any] = json.loads(line)
        return ready

    def stop(self) -> None:
        """Ends the child and waits for it. Twice is once, and before the start it is nothing."""
        if self._process is not None:
            self._end()
            cast(IO[bytes], self._process.stdout).close()
        self._stderr.close()

    def _end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            cast(IO[bytes], self.process.stdin).close()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def told_by_parent() -> dict[str, Any]:
    """In the child: the configuration. From here on the child ends with its parent."""
    config: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    return config


def tell_parent(ready: Mapping[str, Any]) -> None:
    """In the child: it serves now."""
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(0)
