"""Dagster loads the definitions for each run, each tick and each look at the UI: its cost is kept low by counting."""

import subprocess
import sys

# What the steps need. Each takes a tenth of a second or more, and 10 to 50 MB, in every process that loads.
HEAVY = {"boto3", "botocore", "numpy", "pyreqwest", "pandas", "pyarrow", "requests", "tenacity", "urllib3"}

PROGRAM = """
import sys
from kros_pipeline.definitions import defs
defs().get_repository_def().get_all_jobs()
print(*sys.modules)
"""


def test_loading_the_definitions_imports_none_of_the_steps_libraries() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert "kros_pipeline.assets" in loaded
    assert HEAVY.isdisjoint(loaded), sorted(HEAVY.intersection(loaded))
    assert {name for name in loaded if name.startswith("kros_pipeline.steps.")} == {
        "kros_pipeline.steps.metrics_settings",
        "kros_pipeline.steps.process",
        "kros_pipeline.steps.settings",
        "kros_pipeline.steps.start_date",
    }


def test_arrow_releases_the_memory_of_a_run() -> None:
    program = """
from kros_pipeline.definitions import defs
defs()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "system"
