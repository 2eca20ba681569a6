"""The preflight: a line for each check, every bad setting at once, no secret, no traceback, and nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline import __main__ as command_line
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY
from kros_pipeline.operations.preflight import PreflightResult, run_preflight
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.steps.settings import SETTINGS
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.clocks import clock_without_waits

ROOT = Path(__file__).parents[2]
DAY_AFTER = datetime(2025, 1, 11, 12, tzinfo=UTC)


def look(our: Account, **settings: str | None) -> list[PreflightResult]:
    return list(run_preflight(our.environment | settings, clock=clock_without_waits(lambda: DAY_AFTER)))


def lines(our: Account, **settings: str | None) -> list[str]:
    return [str(result) for result in look(our, **settings)]


def test_each_check_that_passes_is_a_line_with_what_it_found(account: MakeAccount) -> None:
    our = account()
    where = f"s3://{our.archive.bucket}/{our.archive.prefix}"
    given = len([setting for setting in SETTINGS if setting.name in our.environment])
    calls = len(our.krosai.expected_calls(str(DAY)))
    assert calls
    assert lines(our) == [
        f"ok      settings: {given} of {len(SETTINGS)} are set, and each can be used.",
        f"ok      archive: {where} can be read; it is nobody's yet, and becomes this account's with the first run.",
        f"ok      API: it accepts the key (dialect: offset); yesterday ({DAY}, UTC) has {calls} completed calls.",
    ]
    assert our.archive.objects() == {}, "nothing is written"
    assert our.requests() == {"list": 1}
    our.run_day()
    assert lines(our)[1] == f"ok      archive: {where} can be read; it is this account's."


def test_a_key_that_the_archive_does_not_know_is_told(account: MakeAccount) -> None:
    our = account()
    our.run_day()
    stored = our.archive.json(ARCHIVE_IDENTITY)
    our.archive.write(ARCHIVE_IDENTITY, json.dumps(stored | {"key_fingerprints": ["another"]}).encode())
    before = our.archive.objects()
    assert lines(our)[1].endswith(
        " can be read; it does not know this API key yet: the first run compares the key's calls with the archive's."
    )
    assert our.archive.objects() == before


@pytest.mark.parametrize("stored", [{"format": 1}, {"format": 2, "migration": "under way"}])
def test_an_archive_that_the_first_run_will_migrate_is_told(account: MakeAccount, stored: dict[str, object]) -> None:
    our = account()
    our.run_day()
    identity = {"base_url": our.archive.json(ARCHIVE_IDENTITY)["base_url"], "organization_id": None, **stored}
    our.archive.write(ARCHIVE_IDENTITY, json.dumps(identity).encode())
    before = our.archive.objects()
    assert lines(our)[1].endswith(
        " the key's calls with the archive's. "
        "The first run migrates it to format 2: end all runs of version 0.1.0 before."
    )
    assert our.archive.objects() == before


def test_a_large_number_is_grouped(account: MakeAccount) -> None:
    our = account(replace(PLAIN, days={str(DAY): 1234}, audio_seconds=(1, 2)))
    assert lines(our)[2].endswith("has 1,234 completed calls.")


def test_every_bad_missing_or_unknown_setting_is_a_line_and_nothing_is_asked(account: MakeAccount) -> None:
    our = account()
    found = lines(
        our,
        KROSAI_API_KEY=None,
        KROSAI_PLAN="gold",
        KROS_START_DATE="soon",
        KROS_LOOKBAK_DAYS="5",
        KROS_FLAG_RULES="/no",
    )
    assert found == [
        "FAILED  settings: KROSAI_PLAN is 'gold'; it must be one of free, pro, business, enterprise.",
        "FAILED  settings: KROSAI_API_KEY is missing: set it to the key that the KrosAI dashboard shows.",
        "FAILED  settings: KROS_LOOKBAK_DAYS is no setting: did you mean KROS_LOOKBACK_DAYS?",
        "FAILED  settings: KROS_FLAG_RULES (/no) cannot be read: No such file or directory.",
        "FAILED  settings: KROS_START_DATE is 'soon', not a date like 2025-01-01.",
    ]
    assert our.requests() == {}


@pytest.mark.parametrize(
    ("settings", "check", "words"),
    [
        ({"KROSAI_API_KEY": "kros_test_wrong"}, "API", "status 401"),
        ({"KROSAI_BASE_URL": "http://127.0.0.1:9/v1"}, "API", "no answer"),
        ({"KROS_ARCHIVE_URL": "s3://no-such-bucket/x"}, "archive", "NoSuchBucket"),
    ],
)
def test_what_fails_is_one_line_and_the_other_is_looked_at_all_the_same(
    account: MakeAccount, settings: dict[str, str], check: str, words: str
) -> None:
    found = look(account(), **settings)
    assert [result.check for result in found] == ["settings", "archive", "API"]
    assert [result.check for result in found if not result.passed] == [check]
    [failed] = [result for result in found if not result.passed]
    assert str(failed).startswith(f"FAILED  {check}: ") and words in failed.sentence
    assert "\n" not in str(failed) and "kros_test_wrong" not in str(failed)


def test_another_accounts_archive_is_refused(account: MakeAccount) -> None:
    our = account(KROSAI_ORGANIZATION_ID="org-1")
    our.run_day()
    [failed] = [result for result in look(our, KROSAI_ORGANIZATION_ID="org-2") if not result.passed]
    assert failed.check == "archive" and "belongs to another account" in failed.sentence


def test_a_missing_erasure_key_is_told_before_the_first_run(account: MakeAccount) -> None:
    our = account(KROS_ERASURE_KEY="an erasure key of the tests, of more than 32 characters")
    our.ctx.tombstones.claim_key()
    [failed] = [result for result in look(our, KROS_ERASURE_KEY=None) if not result.passed]
    assert failed.check == "archive" and failed.sentence.startswith("KROS_ERASURE_KEY is missing")


def test_an_answer_that_is_no_list_fails_in_one_line(account: MakeAccount) -> None:
    our = account()
    our.krosai.set_faults(Faults(list_unknown_shape=Fault()))
    assert [str(result) for result in look(our) if not result.passed] == [
        "FAILED  API: the list of calls has neither 'calls' nor 'data': it has count, items"
    ]


@pytest.mark.parametrize(("bridge", "dialect"), [("/api/v1", "page, Bridge"), ("/v1", "page, Bridge"), ("", "page")])
def test_the_dialect_is_reported(account: MakeAccount, bridge: Any, dialect: str) -> None:
    our = account(replace(PLAIN, dialect="page", bridge=bridge, organization_id="org-1"))
    assert f"it accepts the key (dialect: {dialect}); yesterday ({DAY}, UTC) has 8 completed calls." in lines(our)[2]


@pytest.mark.parametrize("date_filter", ["ignored", "refused"])
def test_a_list_without_a_date_filter_is_reported(account: MakeAccount, date_filter: Any) -> None:
    our = account(replace(PLAIN, date_filter=date_filter))
    assert "(dialect: offset, no date filter); its list has 14 completed calls." in lines(our)[2]


def test_rows_of_another_organization_fail_the_check_without_their_ids(account: MakeAccount) -> None:
    our = account(replace(PLAIN, organization_id="org-1"))
    our.krosai.set_faults(Faults(list_foreign_rows=Fault()))
    assert lines(our)[2] == (
        "FAILED  API: The list shows rows of another organization (3): they were refused, and nothing of them is kept. "
        "Compare KROSAI_ORGANIZATION_ID with the organization in the KrosAI dashboard; if they are equal, ask "
        "KrosAI why its list shows others."
    )


def test_a_bridge_that_is_found_without_an_organization_fails_the_check(account: MakeAccount) -> None:
    our = account(replace(PLAIN, bridge="/v1", organization_id="org-1"))
    [failed] = [result for result in look(our, KROSAI_ORGANIZATION_ID=None, KROSAI_AUTH=None) if not result.passed]
    assert failed.check == "API" and "set KROSAI_ORGANIZATION_ID to your organization" in failed.sentence
    assert "KROSAI_AUTH to bearer" in failed.sentence


def test_an_error_that_nobody_foresaw_is_one_line_and_the_other_check_is_made(account: MakeAccount) -> None:
    our = account()

    def fail(_: ArchiveSettings) -> Any:
        raise KeyError("s3cr3t")

    found = list(run_preflight(our.environment, clock=clock_without_waits(lambda: DAY_AFTER), open_archive=fail))
    assert [result.passed for result in found] == [True, False, True]
    assert str(found[1]) == "FAILED  archive: it ended with KeyError, which no check expects. Report this as a bug."


@pytest.mark.parametrize("text", ["", "  "])
def test_an_unknown_name_without_a_text_is_ignored(account: MakeAccount, text: str) -> None:
    assert all(result.passed for result in look(account(), KROS_NO_SUCH_SETTING=text))


# The command line.


def test_the_exit_code_is_1_where_a_check_failed(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    our = account()
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["check"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ok", "ok", "ok"]
    monkeypatch.setenv("KROSAI_API_KEY", "kros_test_wrong")
    assert command_line.main(["check"]) == 1
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["ok", "ok", "FAILED"]
    assert "Traceback" not in printed.out + printed.err and "kros_test_wrong" not in printed.out + printed.err


def test_the_settings_of_the_file_win_over_the_environment(account: MakeAccount, tmp_path: Path) -> None:
    our = account()
    (tmp_path / ".env").write_text("# our account\nKROSAI_PLAN=gold\nexport KROSAI_AUTH='basic'\n")
    done = subprocess.run(
        [sys.executable, "-m", "kros_pipeline", "check"],
        cwd=tmp_path,
        env=os.environ | our.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and done.stderr == ""
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["KROSAI_PLAN", "KROSAI_AUTH"]
