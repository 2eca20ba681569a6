"""The steps of the Dockerfile, run in an empty folder, and the processes of the image: no engine is needed.

What is not run: the base image (this interpreter stands for it), the user, and the download of the packages. That the
lock is complete and has a hash for each is tried by `make setup`, which installs the same pins; here the installed
packages are compared with the lock, and linked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from kros_pipeline.sandbox import KrosaiSimulator, SandboxConfig
from kros_pipeline_tests.support.dagster_processes import wait_until
from kros_pipeline_tests.support.deployment_files import ROOT, compose_services, dockerfile
from kros_pipeline_tests.support.s3_servers import free_ports

_FOLDERS = ("/opt/kros", "/app", "/run/dagster", "/tmp")


class Image:
    """The file system that the Dockerfile makes, below a folder, and its environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        [self.port] = free_ports(1)
        for folder in _FOLDERS:
            self.path(folder).mkdir(parents=True)
        self._folder, stage = self.path("/app"), -1
        for line in dockerfile():
            if line.stage != stage:  # a stage begins empty, in /
                stage, self._folder = line.stage, root
            getattr(self, f"_{line.name.lower()}", self._ignore)(line.value)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def placed(self, text: str) -> str:
        """Replace the folders of the image by those of this test, and its port by a free one."""
        pattern = rf"(?<![\w/.])({'|'.join(map(re.escape, _FOLDERS))})(?=[/:\s\"]|$)"
        return re.sub(pattern, lambda found: str(self.path(found[1])), text).replace("4000", str(self.port))

    def command(self, words: list[str]) -> list[str]:
        return [self.placed(word) for word in words]

    @staticmethod
    def _ignore(value: str) -> None:
        """FROM, VOLUME, USER, EXPOSE, HEALTHCHECK and CMD change no file."""

    def _workdir(self, value: str) -> None:
        self._folder = self.path(value)

    def _env(self, value: str) -> None:
        name, _, text = value.partition("=")
        self.environment[name] = self.placed(text)

    def _copy(self, value: str) -> None:
        if value.startswith("--from="):
            return  # of the stage before, in the same folder
        *sources, target = value.split()
        for source in sources:
            to = self._folder if target.endswith("/") else self._folder / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)

    def _run(self, value: str) -> None:
        if "--require-hashes" in value:
            self._link_packages(value.split()[-1])
            return
        command = self.placed(value).replace("python -m venv", f"{sys.executable} -m venv", 1)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self._folder, env=self.variables(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"RUN {value}: {done.stdout[-1000:]}{done.stderr[-1000:]}"

    def _link_packages(self, lock: str) -> None:
        """Compare the lock with what is installed here, and link it instead of downloading it."""
        pins = re.findall(r"^([\w.-]+)==([\w.!+-]+)(.*)$", (self._folder / lock).read_text(), re.MULTILINE)
        assert len(pins) > 80
        for name in {name for name, _, _ in pins}:
            ours = {pinned: marker for each, pinned, marker in pins if each == name}  # one for each version of Python
            try:
                assert version(name) in ours, name
            except PackageNotFoundError:
                assert all(";" in marker for marker in ours.values()), f"{name} is not installed"
        here = sysconfig.get_path("purelib")
        inside = next(self.path("/opt/kros").glob("lib/python*/site-packages"))
        (inside / "linked.pth").write_text(here + "\n")
        for program in ("dagster", "dagster-webserver", "dagster-daemon", "celery"):
            text = (Path(sys.executable).parent / program).read_text()
            script = self.path("/opt/kros/bin") / program
            script.write_text(re.sub(r"^#!.*", f"#!{self.path('/opt/kros/bin/python')}", text, count=1))
            script.chmod(0o755)

    def variables(self, **more: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | self.environment | more

    def files(self) -> set[Path]:
        """Every file of the part that is read-only in a container."""
        return {path for folder in ("/app", "/opt/kros") for path in self.path(folder).rglob("*")}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path / "image")


@pytest.fixture
def variables(image: Image, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    with KrosaiSimulator(SandboxConfig(days=("2025-01-10",), calls_per_day=1)) as krosai:
        yield image.variables(
            **environment, **krosai.environment, KROS_START_DATE="2025-01-10", PYTHONWARNINGS="ignore"
        )


@contextmanager
def container(image: Image, service: str, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A service of compose.yaml, as its entry point starts it."""
    described = compose_services()[service]
    command = image.command(described["entrypoint"] + described["command"])
    with (image.root / f"{service}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=image.path("/app"), env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.timeout(600)
def test_the_image_prepares_the_storage_and_serves_the_code_and_writes_nothing_into_itself(
    image: Image, variables: dict[str, str]
) -> None:
    before = image.files()
    with container(image, "prepare", variables) as process:
        assert process.wait(120) == 0, (image.root / "prepare.log").read_text()[-2000:]
    assert "the pool krosai has the limit 1" in (image.root / "prepare.log").read_text()

    [check] = [line for line in dockerfile() if line.name == "HEALTHCHECK"]

    def is_healthy() -> bool:
        command = image.command(check.words)
        return subprocess.run(command, env=variables, cwd=image.path("/app"), capture_output=True).returncode == 0

    assert not is_healthy()
    with container(image, "code-server", variables) as process:
        wait_until(lambda: is_healthy() or process.poll() is not None, "the code server is healthy", 90)
        log = (image.root / "code-server.log").read_text()
        assert process.poll() is None, log[-2000:]
        assert all(line.startswith("{") for line in log.splitlines()), log
    assert image.files() == before
    assert {path.name for path in image.path("/run/dagster").iterdir()} == {"dagster.yaml"}
