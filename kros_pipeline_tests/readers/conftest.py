"""The archive that the big engines read, and Spark, started once. Without Java the tests of Spark are not run."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline_tests.support.reader_archive import build_archive
from kros_pipeline_tests.support.recipes import ROOT

_OLDEST_JAVA = 17


@pytest.fixture(scope="session")
def reader_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of four days; no test changes it."""
    return build_archive(tmp_path_factory.mktemp("readers"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session of Spark with a catalog of its own, in UTC."""
    program = shutil.which("java")
    said = subprocess.run([program, "-version"], capture_output=True, text=True).stderr if program else ""
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _OLDEST_JAVA:
        pytest.skip(f"not run: Spark needs Java {_OLDEST_JAVA} or newer (apt install openjdk-17-jre-headless)")
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.extraJavaOptions", f"-Dderby.system.home={folder}")
        .config("spark.log.level", "OFF")
        .enableHiveSupport()
        .getOrCreate()
    )
    yield session
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session.stop()


@pytest.fixture(autouse=True)
def analysts_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test import what is shipped for analysts by its name, as they do."""
    monkeypatch.syspath_prepend(str(ROOT / "analytics"))
