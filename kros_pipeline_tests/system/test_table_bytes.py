"""Equal input gives equal bytes, whatever is rebuilt inside: one seeded day, with its tables' SHA-256 on record.

The hashes hold for the pyarrow that `requirements.lock` pins; another version may write other bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.support.accounts import DAY, UNTIL_SECOND_ANSWER, VARIED, Account, environment_of
from kros_pipeline_tests.support.archive_check import TABLES, Archive, table_key

SEEDED = replace(VARIED, seed=4_711, calls_per_day=60, hostile_text=True)
RULES = """
rules:
  - {id: long, duration_seconds_at_least: 15, extend_days: 120}
  - {id: asked, speaker: caller, text_matches: '(?i)\\?', extend_days: 200}
  - {id: silent, no_transcript: true, extend_days: 100}
"""
RECORD = Path(__file__).with_name("table_bytes.json")


def test_a_seeded_day_has_the_tables_on_record(simulators: Any, aws: LocalS3, s3_client: Any, tmp_path: Path) -> None:
    on_record = json.loads(RECORD.read_text())
    if version("pyarrow") != on_record["pyarrow"]:
        pytest.skip(f"the hashes are of pyarrow {on_record['pyarrow']}")
    krosai, archive = simulators(SEEDED), Archive(s3_client, aws.bucket, "table-bytes")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    environment = environment_of(krosai, archive) | {"KROS_FLAG_RULES": str(rules), "KROSAI_RETENTION_DAYS": "90"}
    account = Account(krosai, archive, environment)
    with account.opened:
        account.run_day()
        account.now += UNTIL_SECOND_ANSWER
        account.run_day()
    hashes = {table: hashlib.sha256(archive.read(table_key(table, DAY))).hexdigest() for table in sorted(TABLES)}
    rows = {table: len(archive.table(table, DAY)) for table in sorted(TABLES)}
    assert rows == on_record["rows"]
    assert hashes == on_record["sha256"]
