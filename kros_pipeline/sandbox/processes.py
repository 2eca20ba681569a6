"""Run a server in a child process that cannot outlive its parent.

`ServerProcess` is the parent's side, `receive_config` and `report_ready` are the child's. The parent writes one line of
JSON to the child's stdin and keeps the pipe open. The child answers with one line of JSON on stdout when it is ready.

The child ends when its stdin closes; the operating system closes it even if the parent is killed. The child also polls
its parent's id, because a forked process may hold a copy of the pipe. Linux's PR_SET_PDEATHSIG is not used: it fires
when the *thread* that started the child ends.
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
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Self, cast

_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_POLL_SECONDS = 0.5
_MOST_STDERR_CHARACTERS = 2000
_IMPORT_ROOT = str(Path(__file__).resolve().parents[2])


class ServerProcess(ABC):
    """A handle of `python -m <module>`, which serves on 127.0.0.1. Use it as a context manager."""

    module: ClassVar[str]
    """The child's module; its `main` calls `receive_config` and then `report_ready`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()

    @abstractmethod
    def _prepare(self) -> Mapping[str, Any]:
        """Return the configuration to send to the child."""

    @abstractmethod
    def _connect(self, ready: Mapping[str, Any]) -> None:
        """Keep the addresses that the child reported."""

    def start(self) -> None:
        """Start the child and return at once, so that several can start together; then call `wait_until_ready`."""
        config = self._prepare()
        paths = [_IMPORT_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of this repository
            [sys.executable, "-m", self.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in a terminal reaches the parent only, which then stops its children
        )
        stdin = cast(IO[bytes], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # the child has ended: wait_until_ready raises with its stderr
            stdin.write(json.dumps(config).encode() + b"\n")
            stdin.flush()

    def wait_until_ready(self) -> None:
        """Wait until the child serves. Raises RuntimeError with the end of its stderr if it does not."""
        stdout = cast(IO[bytes], self._running.stdout)
        line, deadline = b"", time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n") and selector.select(deadline - time.monotonic()):
                if not (received := os.read(stdout.fileno(), 4096)):
                    break
                line += received
        if not line.endswith(b"\n"):
            self._end()
            self._stderr.seek(0)
            stderr = self._stderr.read().decode(errors="replace")[-_MOST_STDERR_CHARACTERS:].strip()
            self.stop()
            raise RuntimeError(f"{self.module} did not start: {stderr or 'it wrote nothing to stderr'}")
        self._connect(json.loads(line))

    def stop(self) -> None:
        """End the child and wait for it. Does nothing before the start or a second time."""
        if self._process is not None:
            self._end()
            cast(IO[bytes], self._process.stdout).close()
        self._stderr.close()

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.module} has not been started")
        return self._process

    def _end(self) -> None:
        process = self._running
        with contextlib.suppress(BrokenPipeError):
            cast(IO[bytes], process.stdin).close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def receive_config() -> dict[str, Any]:
    """Read the configuration in the child. From here on, the child ends with its parent."""
    config: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_when_stdin_closes, daemon=True).start()
    threading.Thread(target=_exit_when_parent_changes, args=(os.getppid(),), daemon=True).start()
    return config


def report_ready(addresses: Mapping[str, Any]) -> None:
    """Report to the parent, in the child, that the server accepts connections."""
    sys.stdout.write(json.dumps(addresses) + "\n")
    sys.stdout.flush()


def _exit_when_stdin_closes() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _exit_when_parent_changes(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(0)
