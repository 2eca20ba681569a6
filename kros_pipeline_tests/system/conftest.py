"""Fixtures of the tests of the sandbox and of readers; modules of `support` implement them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kros_pipeline_tests.support.reader_archive import build_archive
from kros_pipeline_tests.support.recipes import ROOT
from kros_pipeline_tests.support.sandbox_client import plain, running_sandbox, sandbox, url, varied

__all__ = ["plain", "running_sandbox", "sandbox", "url", "varied"]


@pytest.fixture(scope="session")
def reader_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of four days; no test changes it."""
    return build_archive(tmp_path_factory.mktemp("readers"))


@pytest.fixture
def analysts_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test import what is shipped for analysts by its name, as they do."""
    monkeypatch.syspath_prepend(str(ROOT / "analytics"))
    yield
