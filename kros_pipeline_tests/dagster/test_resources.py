"""The resource has one text field for each setting, and shows no secret."""

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from kros_pipeline.resources import Archive
from kros_pipeline.steps.settings import SETTINGS

SECRETS = {setting.name.lower(): f"s3cr3t-of-{setting.name.lower()}" for setting in SETTINGS if setting.is_secret}


def test_the_fields_are_the_settings_in_lower_case() -> None:
    fields = {name: field.description for name, field in Archive.model_fields.items() if name != "unknown_names"}
    assert list(fields.items()) == [(setting.name.lower(), setting.help) for setting in SETTINGS]


def test_the_texts_are_named_like_the_settings() -> None:
    texts = Archive(kros_archive_url="s3://bucket").texts()  # type: ignore[call-arg]
    assert texts == {setting.name: "" for setting in SETTINGS} | {"KROS_ARCHIVE_URL": "s3://bucket"}


def test_an_unknown_name_fails_the_run_with_the_bad_settings_in_one_failure() -> None:
    fields: dict[str, Any] = {"unknown_names": "KROS_LOOKBAK_DAYS KROSAI_REGION", "kros_sse": "des"}
    with pytest.raises(dg.Failure) as failed:
        Archive(**fields).open(SimpleNamespace(log=None))
    said = str(failed.value.description)
    assert "KROS_LOOKBAK_DAYS is no setting: did you mean KROS_LOOKBACK_DAYS?" in said
    assert "KROSAI_REGION is no setting: the README lists all settings." in said
    assert "KROS_SSE is 'des'" in said and "KROSAI_API_KEY is missing" in said


def test_no_secret_is_in_the_resources_repr() -> None:
    fields: dict[str, Any] = {**SECRETS, "kros_sse": "AES256"}
    archive = Archive(**fields)
    with archive.process_config_and_initialize_cm() as opened:
        shown = f"{archive!r} {archive!s} {[archive]} {opened!r}"
    assert "AES256" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("field", SECRETS)
def test_no_secret_is_in_an_error_about_the_resource(field: str) -> None:
    bad: dict[str, Any] = {field: [SECRETS[field]]}
    with pytest.raises(ValidationError) as error:
        Archive(**bad)
    assert field in str(error.value)
    assert "s3cr3t" not in f"{error.value!s} {error.value!r}"


def test_bad_settings_fail_the_run_in_one_sentence_without_a_secret() -> None:
    bad: dict[str, Any] = {**SECRETS, "krosai_api_key": "s3cr3t\n2", "kros_sse": "des"}
    archive = Archive(**bad)
    with pytest.raises(dg.Failure) as failed:
        archive.open(SimpleNamespace(log=None))
    assert "KROS_SSE is 'des'" in str(failed.value.description)
    assert "KROS_WEBHOOK_URL must be" in str(failed.value.description)
    assert "s3cr3t" not in f"{failed.value!r} {failed.value.description} {failed.value.metadata}"
