"""The preflight: a line for each check, every bad setting at once, no secret, and a probe is all that it writes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kros_pipeline import __main__ as command_line
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, DownloadBroken, LocalFault, UrlRefused
from kros_pipeline.core.object_keys import ARCHIVE_IDENTITY, DAILY_PROBE
from kros_pipeline.operations.clock_check import compare_clocks
from kros_pipeline.operations.preflight import PreflightResult, run_preflight
from kros_pipeline.operations.preflight_result import Skipped
from kros_pipeline.sandbox import Fault, Faults
from kros_pipeline.source.recording_hosts import reach_recording_host
from kros_pipeline.steps.settings import SETTINGS, parse_settings
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.memory_bucket import objects_of
from kros_pipeline_tests.support.memory_store import MemoryGovernance, MemoryObjectStore, MemoryServer
from kros_pipeline_tests.support.webhook_server import webhook_server

ROOT = Path(__file__).parents[2]
DAY_AFTER = datetime(2025, 1, 11, 12, tzinfo=UTC)


def look(our: Account, **settings: str | None) -> list[PreflightResult]:
    return list(run_preflight(our.environment | settings, clock=clock_without_waits(lambda: DAY_AFTER)))


def lines(our: Account, **settings: str | None) -> list[str]:
    return [str(result) for result in look(our, **settings)]


def failures(our: Account, **settings: str | None) -> list[PreflightResult]:
    """What fails but the clocks, which show another day than the servers'."""
    return [one for one in look(our, **settings) if not one.passed and not one.check.startswith("clock")]


def without_probe(our: Account) -> dict[str, Any]:
    return {key: what for key, what in our.archive.objects().items() if key != DAILY_PROBE}


def line(our: Account, check: str, **settings: str | None) -> str:
    [found] = [result for result in look(our, **settings) if result.check == check]
    return str(found)


def test_each_check_is_a_line_with_what_it_found_and_what_to_do(account: MakeAccount) -> None:
    our = account(KROS_RECORDING_HOSTS="127.0.0.1")
    where = f"s3://{our.archive.bucket}/{our.archive.prefix}"
    given = len([setting for setting in SETTINGS if setting.name in our.environment])
    calls = len(our.krosai.expected_calls(str(DAY)))
    assert calls
    result = {one.check: str(one) for one in look(our)}
    # S3's clock shows today, and the test's own one another day.
    assert result.pop("clock and S3").startswith("FAILED  clock and S3: this machine's clock is ")
    assert result.pop("clock and API") == "skipped clock and API: the API did not say what time it is."
    assert list(result.values()) == [
        f"ok      settings: {given} of {len(SETTINGS)} are set, and each can be used.",
        "skipped rules: KROS_FLAG_RULES is not set: no call is flagged, and no recording is kept longer upstream.",
        "skipped notifications: neither KROS_NOTIFY nor KROS_WEBHOOK_URL is set: failures show in the Dagster UI only.",
        f"ok      archive: {where} can be read; it is nobody's yet, and becomes this account's with the first run.",
        "ok      bucket: it can be written, and read back; create-only and conditional writes are honoured; the "
        "SHA-256 of a body is compared. The probe state/probe/daily.json stays.",
        f"skipped region: the server is not AWS ({our.ctx.store.server.endpoint}), and takes the region that is set.",
        "skipped encryption: KROS_SSE is not set: each object gets the bucket's default.",
        "skipped Object Lock: the bucket has none, and no setting needs it: KROS_LEGAL_HOLD is off.",
        "skipped seal key: KROS_SEAL_KEY is not set: days are sealed and chained, and not signed.",
        "skipped time-stamps: KROS_TIMESTAMP_URL is not set: no authority says before which time a day was sealed.",
        f"ok      API: it accepts the key (dialect: offset); yesterday ({DAY}, UTC) has {calls} completed calls.",
        "skipped API key: it may list calls. No answer of the API shows its other scopes or when it expires: look at "
        "the key in the KrosAI dashboard. The pipeline needs it to list calls, and to read recordings and transcripts.",
        result["quota"],
        "ok      recording host 127.0.0.1: it can be reached (status 401 to a request for no recording).",
    ]
    assert re.fullmatch(
        r"ok      quota: the answer's X-RateLimit headers show [\d,]+ of [\d,]+ requests left until \S+ \S+ UTC; "
        r"KROSAI_PLAN is \w+: [\d,]+ requests a day\.",
        result["quota"],
    )
    assert our.archive.objects().keys() == {DAILY_PROBE}, "nothing else is written"
    assert our.requests()["list"] == 1
    our.run_day()
    assert line(our, "archive") == f"ok      archive: {where} can be read; it is this account's."


def test_a_key_that_the_archive_does_not_know_is_told(account: MakeAccount) -> None:
    our = account()
    our.run_day()
    stored = our.archive.json(ARCHIVE_IDENTITY)
    our.archive.write(ARCHIVE_IDENTITY, json.dumps(stored | {"key_fingerprints": ["another"]}).encode())
    before = without_probe(our)
    assert line(our, "archive").endswith(
        " can be read; it does not know this API key yet: the first run compares the key's calls with the archive's."
    )
    assert without_probe(our) == before


@pytest.mark.parametrize("stored", [{"format": 1}, {"format": 2, "migration": "under way"}])
def test_an_archive_that_the_first_run_will_migrate_is_told(account: MakeAccount, stored: dict[str, object]) -> None:
    our = account()
    our.run_day()
    identity = {"base_url": our.archive.json(ARCHIVE_IDENTITY)["base_url"], "organization_id": None, **stored}
    our.archive.write(ARCHIVE_IDENTITY, json.dumps(identity).encode())
    before = without_probe(our)
    assert line(our, "archive").endswith(
        " the key's calls with the archive's. "
        "The first run migrates it to format 2: end all runs of version 0.1.0 before."
    )
    assert without_probe(our) == before


def test_a_large_number_is_grouped(account: MakeAccount) -> None:
    our = account(replace(PLAIN, days={str(DAY): 1234}, audio_seconds=(1, 2)))
    assert line(our, "API").endswith("has 1,234 completed calls.")


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
    ours = [result for result in found if not result.check.startswith(("clock", "recording host"))]
    failed = [result for result in ours if not result.passed]
    assert [result.check for result in failed] == [check]
    assert str(failed[0]).startswith(f"FAILED  {check}: ") and words in failed[0].sentence
    assert {"settings", "archive", "bucket", "API", "API key"} <= {result.check for result in found}
    assert "\n" not in str(failed[0]) and "kros_test_wrong" not in " ".join(map(str, found))


def test_another_accounts_archive_is_refused(account: MakeAccount) -> None:
    our = account(KROSAI_ORGANIZATION_ID="org-1")
    our.run_day()
    [failed] = failures(our, KROSAI_ORGANIZATION_ID="org-2")
    assert failed.check == "archive" and "belongs to another account" in failed.sentence


def test_a_missing_erasure_key_is_told_before_the_first_run(account: MakeAccount) -> None:
    our = account(KROS_ERASURE_KEY="an erasure key of the tests, of more than 32 characters")
    our.ctx.tombstones.claim_key()
    [failed] = failures(our, KROS_ERASURE_KEY=None)
    assert failed.check == "archive" and failed.sentence.startswith("KROS_ERASURE_KEY is missing")


def test_an_answer_that_is_no_list_fails_in_one_line(account: MakeAccount) -> None:
    our = account()
    our.krosai.set_faults(Faults(list_unknown_shape=Fault()))
    assert list(map(str, failures(our))) == [
        "FAILED  API: the list of calls has neither 'calls' nor 'data': it has count, items"
    ]


@pytest.mark.parametrize(("bridge", "dialect"), [("/api/v1", "page, Bridge"), ("/v1", "page, Bridge"), ("", "page")])
def test_the_dialect_is_reported(account: MakeAccount, bridge: Any, dialect: str) -> None:
    our = account(replace(PLAIN, dialect="page", bridge=bridge, organization_id="org-1"))
    assert f"it accepts the key (dialect: {dialect}); yesterday ({DAY}, UTC) has 8 completed calls." in line(our, "API")


@pytest.mark.parametrize("date_filter", ["ignored", "refused"])
def test_a_list_without_a_date_filter_is_reported(account: MakeAccount, date_filter: Any) -> None:
    our = account(replace(PLAIN, date_filter=date_filter))
    assert "(dialect: offset, no date filter); its list has 14 completed calls." in line(our, "API")


def test_rows_of_another_organization_fail_the_check_without_their_ids(account: MakeAccount) -> None:
    our = account(replace(PLAIN, organization_id="org-1"))
    our.krosai.set_faults(Faults(list_foreign_rows=Fault()))
    assert line(our, "API") == (
        "FAILED  API: The list shows rows of another organization (3): they were refused, and nothing of them is kept. "
        "Compare KROSAI_ORGANIZATION_ID with the organization in the KrosAI dashboard; if they are equal, ask "
        "KrosAI why its list shows others."
    )


def test_a_bridge_that_is_found_without_an_organization_fails_the_check(account: MakeAccount) -> None:
    our = account(replace(PLAIN, bridge="/v1", organization_id="org-1"))
    [failed] = failures(our, KROSAI_ORGANIZATION_ID=None, KROSAI_AUTH=None)
    assert failed.check == "API" and "set KROSAI_ORGANIZATION_ID to your organization" in failed.sentence
    assert "KROSAI_AUTH to bearer" in failed.sentence


def test_an_error_that_nobody_foresaw_is_one_line_and_the_other_check_is_made(account: MakeAccount) -> None:
    our = account()

    def fail(_: ArchiveSettings) -> Any:
        raise KeyError("s3cr3t")

    found = list(run_preflight(our.environment, clock=clock_without_waits(lambda: DAY_AFTER), open_archive=fail))
    by_check = {result.check: str(result) for result in found}
    assert (
        by_check["archive"] == "FAILED  archive: it ended with KeyError, which no check expects. Report this as a bug."
    )
    assert by_check["bucket"] == "skipped bucket: the archive cannot be used: mend that first."
    assert by_check["API"].startswith("ok ") and "s3cr3t" not in str(by_check)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_unknown_name_without_a_text_is_ignored(account: MakeAccount, text: str) -> None:
    assert not failures(account(), KROS_NO_SUCH_SETTING=text)


# The bucket.


class Stubborn(MemoryObjectStore):
    """A bucket that can be read, and of which a test says how it cannot be written."""

    error: ArchiveError | None = None

    def put(self, key: str, *args: Any, **named: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().put(key, *args, **named)


def look_into(our: Account, store: MemoryObjectStore, governance: Any = None, **settings: str) -> dict[str, str]:
    clock = clock_without_waits(lambda: datetime.now(UTC))
    results = run_preflight(
        our.environment | settings,
        clock=clock,
        open_archive=lambda _: (store, governance or MemoryGovernance(store)),
    )
    return {result.check: str(result) for result in results}


def test_a_bucket_that_can_be_read_and_not_written_is_told(account: MakeAccount) -> None:
    store = Stubborn("preflight", "denied")
    store.error = ArchiveDenied("state/probe/daily.json: S3 says AccessDenied: allow s3:PutObject")
    found = look_into(account(), store)
    assert found["archive"].startswith("ok ")
    assert found["bucket"] == "FAILED  bucket: state/probe/daily.json: S3 says AccessDenied: allow s3:PutObject"
    assert found["clock and S3"] == "skipped clock and S3: nothing could be written: mend the bucket first."


def test_a_server_that_ignores_conditions_is_told(account: MakeAccount) -> None:
    class Ignoring(MemoryObjectStore):
        def put(self, key: str, body: Any, *, mode: Any, **named: Any) -> Any:
            objects_of(self.bucket).pop(self.full_key(key), None)
            return super().put(key, body, mode="create", **named)

    assert (
        "FAILED  bucket: The S3 server at memory (memory) ignores If-None-Match"
        in (look_into(account(), Ignoring("preflight", "ignoring"))["bucket"])
    )


@pytest.mark.parametrize(
    ("has_lock", "keeps_all", "is_denied", "hold", "said"),
    [
        (False, False, False, "off", "skipped Object Lock: the bucket has none"),
        (False, False, False, "on", "FAILED  Object Lock: KROS_LEGAL_HOLD is on, and the bucket has no Object Lock"),
        (True, False, False, "on", "ok      Object Lock: the bucket has it, without a default retention."),
        (True, True, False, "off", "ok      Object Lock: the bucket has it, and a default retention: erase_calls can"),
        (False, False, True, "off", "skipped Object Lock: it cannot be seen, and nothing needs it: denied."),
        (False, False, True, "on", "FAILED  Object Lock: denied"),
    ],
)
def test_object_lock_is_needed_for_holds_only(
    account: MakeAccount, has_lock: bool, keeps_all: bool, is_denied: bool, hold: str, said: str
) -> None:
    store = MemoryObjectStore("preflight", f"lock-{has_lock}-{keeps_all}-{is_denied}-{hold}")

    class Locked(MemoryGovernance):
        def has_object_lock(self) -> bool:
            if is_denied:
                raise ArchiveDenied("denied")
            return has_lock

        def has_default_retention(self) -> bool:
            return keeps_all

    assert look_into(account(), store, Locked(store), KROS_LEGAL_HOLD=hold)["Object Lock"].startswith(said)


def test_seals_under_retention_need_object_lock(account: MakeAccount) -> None:
    store = MemoryObjectStore("preflight", "seals")
    said = look_into(account(), store, KROS_SEAL_RETAIN_DAYS="10")["Object Lock"]
    assert said.startswith("FAILED  Object Lock: KROS_SEAL_RETAIN_DAYS is set, and the bucket has no Object Lock")


def test_encryption_is_seen_at_the_probe(account: MakeAccount) -> None:
    class Encrypting(MemoryServer):
        encryption = "AES256"  # type: ignore[assignment]
        applies = True

        def encrypts(self, key: str) -> bool:
            return self.applies

    store = MemoryObjectStore("preflight", "encrypting")
    store.server = server = Encrypting()
    found = look_into(account(), store, KROS_SSE="AES256")
    assert found["encryption"].startswith("ok      encryption: the probe is encrypted as KROS_SSE asks (AES256)")
    server.applies = False
    found = look_into(account(), store, KROS_SSE="AES256")
    assert "takes KROS_SSE (AES256) and does not apply it" in found["bucket"]
    assert found["encryption"] == "skipped encryption: nothing could be written: mend the bucket first."


# Clocks, quota, hosts, notifications.


def test_clocks_that_agree_are_ok(account: MakeAccount) -> None:
    found = look_into(account(), MemoryObjectStore("preflight", "clocks"))
    assert found["clock and S3"].startswith("ok      clock and S3: this machine's clock is within ")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "this machine's clock is within 1 seconds of S3's."),
        (-299, "this machine's clock is within 299 seconds of S3's."),
        (301, "301 seconds ahead of S3's: set it by NTP"),
        (-86_400, "86,400 seconds behind S3's: set it by NTP"),
    ],
)
def test_a_clock_may_be_off_by_five_minutes(seconds: int, said: str) -> None:
    theirs = datetime(2025, 1, 11, tzinfo=UTC)
    if abs(seconds) > 300:
        with pytest.raises(LocalFault, match=re.escape(said)):
            compare_clocks("S3", theirs, theirs + timedelta(seconds=seconds))
    else:
        assert compare_clocks("S3", theirs, theirs + timedelta(seconds=seconds)) == said
    with pytest.raises(Skipped):
        compare_clocks("S3", None, theirs)


def test_a_recording_host_is_reached_without_a_recordings_url(account: MakeAccount) -> None:
    our = account()
    host = our.environment["KROSAI_BASE_URL"].split("/")[2]
    assert line(our, f"recording host {host}", KROS_RECORDING_HOSTS=host).startswith("ok ")
    assert "this machine" in line(our, "recording host localhost", KROS_RECORDING_HOSTS="localhost")
    refused = line(our, "recording host 127.0.0.1:9", KROS_RECORDING_HOSTS="127.0.0.1:9")
    assert refused.startswith("FAILED ") and "compare KROS_RECORDING_HOSTS" in refused


def test_a_recording_host_that_does_not_resolve_or_is_not_public_fails(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, *_: Any, **__: Any) -> Any:
        if host == "gone.example.com":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    settings = parse_settings({"KROSAI_API_KEY": "kros_test_x", "KROS_ARCHIVE_URL": "s3://bucket/x"})
    clock = clock_without_waits(lambda: DAY_AFTER)
    with pytest.raises(DownloadBroken, match=r"gone\.example\.com does not resolve"):
        reach_recording_host("https://gone.example.com", settings.source, clock)
    with pytest.raises(UrlRefused, match=r"10\.0\.0\.1, which is not a public address"):
        reach_recording_host("https://inside.example.com", settings.source, clock)


def test_the_targets_of_notifications_are_read_and_nothing_is_sent(account: MakeAccount) -> None:
    with webhook_server() as hook:
        said = line(account(), "notifications", KROS_NOTIFY=hook.url("json"))
    assert said.startswith("ok      notifications: JSON at 127.0.0.1: the URLs can be read. Nothing was sent")
    assert not hook.posted and "make notify-test" in said
    failed = line(account(), "notifications", KROS_NOTIFY="slack://s3cr3t")
    assert failed.startswith("FAILED  notifications: KROS_NOTIFY: Notification target 1") and "s3cr3t" not in failed


def test_the_rules_are_counted(account: MakeAccount, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{id: a, extend_days: 1}, {id: b, extend_days: 2}]")
    assert line(account(), "rules", KROS_FLAG_RULES=str(rules)) == (
        f"ok      rules: {rules} has 2 rules. The job test_rules shows what they flag."
    )


def test_the_seal_key_is_tried_and_nothing_is_sealed(
    account: MakeAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    our, key = account(), tmp_path / "key.pem"
    set_to = {"KROS_SEAL_KEY": str(key)}
    assert [one.check for one in failures(our, **set_to)] == ["seal key"]
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    assert not failures(our, **set_to) and not our.archive.objects("seals/")
    monkeypatch.setenv("PATH", "")  # without openssl
    stamped = set_to | {"KROS_TIMESTAMP_URL": "https://timestamp.example.com"}
    assert [one.check for one in failures(our, **stamped)] == ["time-stamps"]


def test_a_bad_setting_of_the_reviewers_page_is_a_line(account: MakeAccount) -> None:
    found = failures(account(), KROS_BROWSE_LISTEN="0.0.0.0", KROS_BROWSE_USERS="amina")
    assert [one.sentence.split()[0] for one in found] == [
        "KROS_BROWSE_LISTEN",
        "KROS_BROWSE_USERS",
        "KROS_BROWSE_USERS",
    ]


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ("https://s3.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("https://minio.example.com", None),
    ],
)
def test_the_region_is_that_of_the_address(account: MakeAccount, endpoint: str, region: str | None) -> None:
    store = MemoryObjectStore("preflight", f"region-{region}")
    store.server = MemoryServer()
    store.server.endpoint = endpoint
    said = look_into(account(), store)["region"]
    assert said.startswith(
        f"ok      region: {region}, the bucket's own" if region else "skipped region: the server is not"
    )


# The command line.


def test_the_exit_code_is_1_where_a_check_failed(
    account: MakeAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    our = account()
    for name, value in our.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["check"]) == 0
    lines_printed = capsys.readouterr().out.splitlines()
    assert {text.split()[0] for text in lines_printed} == {"ok", "skipped"} and len(lines_printed) >= 12
    monkeypatch.setenv("KROSAI_API_KEY", "kros_test_wrong")
    assert command_line.main(["check"]) == 1
    printed = capsys.readouterr()
    assert [text.split(":")[0] for text in printed.out.splitlines() if not text.startswith(("ok", "skipped"))] == [
        "FAILED  API"
    ]
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
