"""What the catalog shows of every asset, before anything was run."""

from __future__ import annotations

import dagster as dg
import pytest

from kros_pipeline.core.schemas import TABLES
from kros_pipeline.definitions import defs

PERSONAL = {"calls", "recordings", "transcripts", "utterances"}


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> dict[str, dg.AssetSpec]:
    monkeypatch.setenv("KROS_ARCHIVE_URL", "s3://company-calls/krosai/")
    return {spec.key.to_user_string(): spec for spec in defs().resolve_all_asset_specs()}


def test_every_asset_has_an_owner_a_kind_and_its_place_in_the_bucket(specs: dict[str, dg.AssetSpec]) -> None:
    assert specs.keys() == {*TABLES, "archive"}
    for name, spec in specs.items():
        assert spec.owners and "s3" in spec.kinds and spec.description, name
        below = "" if name == "archive" else f"tables/{name}/"
        assert spec.metadata["dagster/uri"] == f"s3://company-calls/krosai/{below}"
    assert specs["recordings"].metadata["audio"] == "s3://company-calls/krosai/audio/"


def test_assets_with_personal_data_and_no_others_are_tagged(specs: dict[str, dg.AssetSpec]) -> None:
    assert {name for name, spec in specs.items() if "pii" in spec.tags} == PERSONAL


def test_without_an_archive_the_definitions_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KROS_ARCHIVE_URL", raising=False)
    assert not any("dagster/uri" in spec.metadata for spec in defs().resolve_all_asset_specs())
