"""The documents for AWS: what they allow is what the code does, and no more."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

import boto3
import duckdb
import pandas as pd
import pytest
import s3fs
from botocore.exceptions import ClientError

from kros_pipeline.archive.latest_look import write_latest_look
from kros_pipeline.archive.notification_notes import ArchiveNotes
from kros_pipeline.archive.request_quota import read_requests_of_day
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.core.notification_state import Level, Problem, observe
from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.operations.acceptance import open_accepter
from kros_pipeline.operations.archive_totals import gather_totals
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.metrics import make_look
from kros_pipeline.operations.metrics_server import start_metrics_server
from kros_pipeline.operations.preflight import run_preflight
from kros_pipeline.operations.rule_trial import try_rules
from kros_pipeline.sandbox import Fault, Faults, LocalS3
from kros_pipeline.source import downloads
from kros_pipeline_tests.support.accounts import DAY, PLAIN, Account, MakeAccount
from kros_pipeline_tests.support.archive_check import completed_of
from kros_pipeline_tests.support.iam import Need, allows, effects_of, granted_actions
from kros_pipeline_tests.support.role_proxy import Role, role
from kros_pipeline_tests.support.steps import (
    check_health,
    erase_calls,
    find_backlog,
    find_days_to_repeat,
    verify_days,
    witness_calls,
)

FOLDER = Path(__file__).parents[2] / "deploy/aws"
NAMES = {
    "BUCKET": "my-bucket",
    "PREFIX": "krosai",
    "REGION": "us-east-1",
    "ACCOUNT": "123456789012",
    "SEAL_KEY_ID": "seal-key",
    "KEY_ID": "key-1",
}
BUCKET, ARCHIVE = "arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/krosai"
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/key-1"
AsRole: TypeAlias = Callable[..., AbstractContextManager[Role]]
FILES = sorted(file.name for file in FOLDER.glob("*.json"))


def document(name: str, **names: str) -> Any:
    text = (FOLDER / name).read_text()
    for placeholder, value in (NAMES | names).items():
        text = text.replace(placeholder, value)
    return json.loads(text)


def is_allowed(action: str, resource: str, *policies: Any, **context: str) -> bool:
    """`prefix`, `via`, `hold` and `none_match` stand for the condition keys of these policies."""
    names = {
        "prefix": "s3:prefix", "via": "kms:ViaService", "hold": "s3:object-lock-legal-hold",
        "none_match": "s3:if-none-match",
    }  # fmt: skip
    reported = tuple((names[name], value) for name, value in context.items())
    return allows(policies, Need(action, resource, reported))


ROLES = ("pipeline", "erasure", "analyst", "metrics")
PIPELINE, ERASURE, ANALYST, METRICS = (document(f"{name}-policy.json") for name in ROLES)
DELETES = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:DeleteObjectTagging")
NOBODYS = (
    "s3:PutBucketPolicy", "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketObjectLockConfiguration", "s3:PutObjectRetention",
    "s3:BypassGovernanceRetention", "s3:PutObjectAcl", "iam:PassRole", "kms:ScheduleKeyDeletion", "kms:Encrypt",
)  # fmt: skip
FOLDERS = ("audio", "quarantine", "state", "tables", "audit")


def test_every_document_is_json_with_known_placeholders_and_applied_by_the_readme() -> None:
    readme = (FOLDER / "README.md").read_text()
    for name in FILES:
        assert f"file://{name}" in readme, name
        assert not re.findall(r"\b(?!KROS_)[A-Z_]{5,}\b", json.dumps(document(name)).replace("KeepSealsWith", " ")), (
            name
        )
    assert set(re.findall(r"s/([A-Z_]+)/", readme)) == set(NAMES)
    assert set(re.findall(r"file://(\S+)", readme)) == set(FILES)
    for placeholder in NAMES:
        assert any(placeholder in (FOLDER / name).read_text() for name in FILES)


def test_the_roles_documents_are_policies(aws: LocalS3) -> None:
    iam = boto3.client("iam", endpoint_url=aws.endpoint_url)
    for name in ROLES:
        text = json.dumps(document(f"{name}-policy.json"))
        made = iam.create_policy(PolicyName=f"{name}-of-the-test", PolicyDocument=text)["Policy"]
        kept = iam.get_policy_version(PolicyArn=made["Arn"], VersionId="v1")["PolicyVersion"]["Document"]
        assert kept == json.loads(text)


def test_the_buckets_documents_are_accepted_and_read_back(aws: LocalS3, s3_client: Any) -> None:
    bucket = "bucket-of-documents"
    s3_client.create_bucket(Bucket=bucket)
    settings = {
        "public-access-block": ("public_access_block", "PublicAccessBlockConfiguration"),
        "versioning": ("bucket_versioning", "VersioningConfiguration"),
        "encryption": ("bucket_encryption", "ServerSideEncryptionConfiguration"),
        "lifecycle": ("bucket_lifecycle_configuration", "LifecycleConfiguration"),
        "policy": ("bucket_policy", "Policy"),
    }
    assert {f"bucket-{name}.json" for name in settings} == {name for name in FILES if name.startswith("bucket-")}
    for name, (what, argument) in settings.items():
        wanted = document(f"bucket-{name}.json", BUCKET=bucket)
        given = json.dumps(wanted) if name == "policy" else wanted
        getattr(s3_client, f"put_{what}")(Bucket=bucket, **{argument: given})
        answer = getattr(s3_client, f"get_{what}")(Bucket=bucket)
        kept = answer.get(argument, answer)
        kept = json.loads(kept) if name == "policy" else kept
        assert {key: kept[key] for key in wanted} == wanted, name


def test_the_bucket_refuses_plain_http_old_tls_and_other_encryption() -> None:
    policy = document("bucket-policy.json")

    def denied(action: str = "s3:PutObject", **context: str) -> bool:
        reported = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"} | {
            name.replace("__", ":").replace("_", "-"): value for name, value in context.items()
        }
        return "Deny" in effects_of(policy, Need(action, f"{ARCHIVE}/audio/x.mp3", tuple(reported.items())))

    assert not denied() and not denied("s3:GetObject")
    assert denied(aws__SecureTransport="false") and denied("s3:GetObject", aws__SecureTransport="false")
    assert denied(s3__TlsVersion="1.1") and not denied(s3__TlsVersion="1.2")
    assert denied(s3__x_amz_server_side_encryption="AES256")
    assert not denied(s3__x_amz_server_side_encryption="aws:kms")


@pytest.mark.parametrize("action", DELETES + NOBODYS)
def test_the_pipeline_can_delete_nothing_and_change_no_bucket(action: str) -> None:
    for resource in (BUCKET, KMS_KEY, *(f"{ARCHIVE}/{folder}/x" for folder in FOLDERS)):
        assert not is_allowed(action, resource, PIPELINE, via="s3.us-east-1.amazonaws.com")
        assert not is_allowed(action, resource, ANALYST, via="s3.us-east-1.amazonaws.com")
        if action in NOBODYS:
            assert not is_allowed(action, resource, PIPELINE, ERASURE, via="s3.us-east-1.amazonaws.com")


def test_erasure_deletes_versions_below_the_prefix_and_nothing_else() -> None:
    for folder in FOLDERS:
        assert is_allowed("s3:DeleteObjectVersion", f"{ARCHIVE}/{folder}/x", PIPELINE, ERASURE)
        assert not is_allowed("s3:DeleteObject", f"{ARCHIVE}/{folder}/x", PIPELINE, ERASURE)
    assert not is_allowed("s3:DeleteObjectVersion", f"{BUCKET}/others/x", PIPELINE, ERASURE)
    assert is_allowed("s3:ListBucketVersions", BUCKET, ERASURE, prefix="krosai/audio/dt=2025-01-10/")
    assert not is_allowed("s3:ListBucketVersions", BUCKET, ERASURE, prefix="others/")
    assert is_allowed("s3:GetObjectVersion", f"{ARCHIVE}/tables/calls/dt=2025-01-10/part-0.parquet", ERASURE)


def test_holds_are_placed_on_audio_and_lifted_by_nobody() -> None:
    for hold, is_placed in (("ON", True), ("OFF", False)):
        audio = f"{ARCHIVE}/audio/dt=2025-01-10/call_1.mp3"
        assert is_allowed("s3:PutObjectLegalHold", audio, PIPELINE, hold=hold) is is_placed
        assert is_allowed("s3:PutObjectLegalHold", audio, PIPELINE, ERASURE, hold=hold) is is_placed
        assert is_allowed("s3:PutObjectLegalHold", f"{ARCHIVE}/state/probe/x", PIPELINE, ERASURE, hold=hold)
        assert not is_allowed("s3:PutObjectLegalHold", f"{ARCHIVE}/seals/seal-000001.txt", PIPELINE, ERASURE, hold=hold)


@pytest.mark.parametrize("status", ["ON", "OFF"])
def test_a_server_with_the_pipelines_policy_refuses_to_lift_a_hold(
    account: MakeAccount, as_role: AsRole, status: Literal["ON", "OFF"]
) -> None:
    our = account(PLAIN, bucket="locked")
    key = audio_key(DAY, "call_1")
    our.archive.client.put_object(Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{key}", Body=b"x")
    with as_role(our, "pipeline", may_be_refused=True) as asked:
        client = boto3.client("s3", endpoint_url=asked.url)
        with nullcontext() if status == "ON" else pytest.raises(ClientError, match="AccessDenied"):
            client.put_object_legal_hold(
                Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{key}", LegalHold={"Status": status}
            )
    assert bool(asked.refused) is (status == "OFF")


OF_SEALS = {"kms:Sign", "kms:GetPublicKey", "s3:PutObjectRetention"}
SEALS = f"{ARCHIVE}/seals/seal-000001.txt"
SEAL_KEY = "arn:aws:kms:us-east-1:123456789012:key/seal-key"


def test_seals_are_put_signed_and_kept_by_the_pipeline_and_deleted_by_nobody() -> None:
    assert is_allowed("s3:PutObject", SEALS, PIPELINE) and is_allowed("s3:PutObjectRetention", SEALS, PIPELINE)
    assert is_allowed("kms:Sign", SEAL_KEY, PIPELINE) and is_allowed("kms:GetPublicKey", SEAL_KEY, PIPELINE)
    assert not is_allowed("kms:Sign", KMS_KEY, PIPELINE) and not is_allowed("kms:Sign", SEAL_KEY, ANALYST)
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        for key in ("seal-000001.txt", "seal-000001.sig", "seal-000001.tsr", "keys/0.pem"):
            assert not is_allowed(action, f"{ARCHIVE}/seals/{key}", PIPELINE, ERASURE)
    records = f"{ARCHIVE}/seals/dt=2025-01-10/records.jsonl"
    assert is_allowed("s3:DeleteObjectVersion", records, PIPELINE, ERASURE)
    assert not is_allowed("s3:PutObjectRetention", records, PIPELINE), "records stay erasable"
    assert not is_allowed("s3:PutObjectRetention", f"{ARCHIVE}/audio/x", PIPELINE, ERASURE), "audio stays erasable"


def test_the_analyst_can_only_read_tables() -> None:
    assert {folder for folder in FOLDERS if is_allowed("s3:GetObject", f"{ARCHIVE}/{folder}/x", ANALYST)} == {"tables"}
    listed = ("krosai/tables/", "krosai/tables/calls/dt=2025-01-10/", "krosai/audio/", "krosai/", "", "krosai/tables_")
    allowed = {prefix for prefix in listed if is_allowed("s3:ListBucket", BUCKET, ANALYST, prefix=prefix)}
    assert allowed == {"krosai/tables/", "krosai/tables/calls/dt=2025-01-10/"}
    assert not is_allowed("s3:PutObject", f"{ARCHIVE}/tables/calls/x", ANALYST)
    assert is_allowed("kms:Decrypt", KMS_KEY, ANALYST, via="s3.us-east-1.amazonaws.com")
    assert not is_allowed("kms:Decrypt", KMS_KEY, ANALYST, via="other.us-east-1.amazonaws.com")


# What the code really asks of S3, of a server that refuses what the role's documents do not allow.


@pytest.fixture
def as_role(aws: LocalS3, monkeypatch: pytest.MonkeyPatch) -> AsRole:
    """Makes the S3 that a role asks, for one account's archive; the environment leads to it."""

    @contextmanager
    def make(our: Account, *names: str, may_be_refused: bool = False) -> Iterator[Role]:
        placed = {"BUCKET": our.archive.bucket, "PREFIX": our.archive.prefix}
        policies = [document(f"{name}-policy.json", **placed) for name in names]
        with (
            role(aws.endpoint_url, *policies, kms_key=KMS_KEY, may_be_refused=may_be_refused) as asked,
            monkeypatch.context() as patch,
        ):
            patch.setenv("AWS_ENDPOINT_URL_S3", asked.url)
            yield asked

    return make


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """The path of a rules file that flags every call."""
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {id: everyone, extend_days: 200}\n")
    return str(path)


@pytest.mark.slow
def test_each_role_may_do_its_work_and_is_granted_nothing_else(
    account: MakeAccount, as_role: AsRole, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole days and all that is looked at between them; then the metrics and the analysts."""
    our = account(
        PLAIN, bucket="locked", KROS_SSE="aws:kms", KROS_KMS_KEY_ID=KMS_KEY, KROS_FLAG_RULES=rules, KROS_LEGAL_HOLD="on"
    )
    calls = our.krosai.expected_calls(str(DAY), hashes=False)
    our.krosai.set_faults(Faults(storage_html=Fault(calls=(calls[0]["id"],)), list_malformed=Fault(share=0.2)))
    # Half of the bodies are larger than this, and go another way.
    middle = sorted(call["size_bytes"] for call in calls)[len(calls) // 2]
    monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", middle)
    with as_role(our, "pipeline") as pipeline:
        failed = [str(line) for line in run_preflight(our.environment, clock=our.clock) if not line.passed]
        assert all("clock" in line.partition(":")[0] for line in failed), failed  # the test's clock is in the past
        our.ctx.prepare_archive()  # the server is probed
        our.ctx.counts_usage = True
        our.run_day()
        our.run_day()
        accepted = open_accepter(our.ctx).accept([calls[0]["id"]], DAY, "a test", dry_run=False)
        assert len(accepted.bodies) == 1
        look_after_archive(our)
        our.opened.close()
    assert {"state/probe/daily.json", "state/capabilities.json"} <= our.archive.objects().keys()
    assert {request.method for request in pipeline.requests} == {"GET", "HEAD", "PUT"}, "nothing is deleted or POSTed"
    assert set(granted_actions(PIPELINE)) - pipeline.used <= OF_SEALS
    written = " ".join(our.archive.objects())
    assert all(f"state/{name}" in written for name in ("day_totals/", "notifications.json", "quota/", "usage/"))
    assert_every_write_names_the_key(our, pipeline)

    with as_role(our, "metrics") as metrics:
        server, thread = start_metrics_server(our.environment | {"KROS_METRICS_ADDRESS": "127.0.0.1:0"})
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            assert b"kros_calls 8.0" in answer.read()
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(granted_actions(METRICS)) - metrics.used == {"s3:ListBucket"}, "for an archive that has no look yet"

    with as_role(our, "analyst") as analyst:
        read_tables(our, analyst)
    assert set(granted_actions(ANALYST)) - analyst.used == {"s3:GetBucketLocation"}, "Athena asks for it"


def look_after_archive(our: Account) -> None:
    """All that schedules and operators have the pipeline do beside the days."""
    ctx, day_before, today = our.ctx, DAY - timedelta(days=1), our.now.date()
    find_backlog(ctx, day_before, DAY)
    find_days_to_repeat(ctx, day_before, DAY)
    check_health(ctx, day_before, DAY)
    assert verify_days(ctx, [DAY]).is_sound
    witness_calls(ctx, day_before)
    try_rules([DAY], ctx.rules, tables=ctx.tables)
    totals = gather_totals(
        day_before,
        DAY,
        store=ctx.store,
        tables=ctx.tables,
        clock=ctx.clock,
        retention_days=90,
        requests_per_day=500_000,
        api_requests_today=read_requests_of_day(ctx.store, today),
    )
    write_latest_look(ctx.store, make_look(totals, {}, our.now))
    red = {"check no_day_is_missing": Problem(Level.WARNING, "a test", our.now.isoformat())}
    ArchiveNotes(ctx.store).update(lambda present: observe(present, red))


def assert_every_write_names_the_key(our: Account, pipeline: Role) -> None:
    puts = [request for request in pipeline.requests if request.method == "PUT"]
    objects = [request for request in puts if "?" not in request.target]
    folders = [unquote(request.target).split("/")[3] for request in objects]
    writers = {
        (folder, "boto" if "boto" in request.headers["user-agent"].lower() else "pyreqwest")
        for folder, request in zip(folders, objects, strict=True)
    }
    assert writers >= {
        ("audio", "pyreqwest"), ("audio", "boto"), ("tables", "boto"), ("state", "boto"), ("quarantine", "boto"),
    }  # fmt: skip
    for request in objects:
        assert request.headers["x-amz-server-side-encryption"] == "aws:kms", request.target
        assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == KMS_KEY, request.target
    # And S3 has it so.
    for key in our.archive.objects():
        head = our.archive.client.head_object(Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY), key


def read_tables(our: Account, analyst: Role) -> None:
    """As the README shows it, in pandas and in DuckDB."""
    place = f"s3://{our.archive.bucket}/{our.archive.prefix}/tables/utterances/"
    options = {"endpoint_url": analyst.url, "skip_instance_cache": True}
    turns = len(our.archive.table("utterances", DAY))
    assert len(pd.read_parquet(place, storage_options=options)) == turns > 0
    with duckdb.connect() as connection:
        connection.register_filesystem(s3fs.S3FileSystem(**options))
        [counted] = connection.execute(f"SELECT count(*) FROM read_parquet('{place}dt=*/part-0.parquet')").fetchall()
    assert counted == (turns,)


@pytest.mark.slow
def test_an_erasure_is_allowed_to_its_role_and_not_to_the_pipeline(
    account: MakeAccount, as_role: AsRole, s3_client: Any, rules: str
) -> None:
    """In a bucket with versions and Object Lock, of a flagged call whose hold was lifted."""
    our = account(bucket="locked", KROS_FLAG_RULES=rules, KROS_LEGAL_HOLD="on", KROS_ERASURE_KEY="k" * 32)
    call_id = min(completed_of(our.krosai, DAY))
    with as_role(our, "pipeline"):
        our.run_day()
        our.opened.close()
    held = {"Bucket": our.archive.bucket, "Key": f"{our.archive.prefix}/{audio_key(DAY, call_id)}"}
    s3_client.put_object_legal_hold(**held, LegalHold={"Status": "OFF"})
    request = ErasureRequest((call_id,), reason="request 1")
    with as_role(our, "pipeline", may_be_refused=True) as pipeline, pytest.raises(ArchiveDenied):
        erase_calls(our.open(), request)
    assert pipeline.refused and audio_key(DAY, call_id) in our.archive.objects(), "nothing is half erased"
    with as_role(our, "pipeline", "erasure") as erasure:
        erase_calls(our.open(), request)
        our.opened.close()
    assert audio_key(DAY, call_id) not in our.archive.objects()
    assert set(granted_actions(ERASURE)) <= erasure.used


def test_a_role_that_asks_for_more_is_refused(account: MakeAccount, as_role: AsRole) -> None:
    """The server of these tests would otherwise allow anything."""
    our = account()
    our.archive.write("tables/calls/dt=2025-01-10/part-0.parquet", b"a table")
    our.archive.write("audio/dt=2025-01-10/a.mp3", b"audio")
    with as_role(our, "analyst", may_be_refused=True) as analyst:
        client: Any = boto3.client("s3", endpoint_url=analyst.url)
        whole = {"Bucket": our.archive.bucket}
        below = our.archive.prefix
        assert client.get_object(**whole, Key=f"{below}/tables/calls/dt=2025-01-10/part-0.parquet")["Body"].read()
        assert client.list_objects_v2(**whole, Prefix=f"{below}/tables/")["KeyCount"] == 1
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(**whole, Key=f"{below}/tables/calls/absent")
        for asked in (
            partial(client.get_object, **whole, Key=f"{below}/audio/dt=2025-01-10/a.mp3"),
            partial(client.put_object, **whole, Key=f"{below}/tables/calls/x", Body=b""),
            partial(client.delete_object, **whole, Key=f"{below}/tables/calls/dt=2025-01-10/part-0.parquet"),
            partial(client.list_objects_v2, **whole),
            partial(client.list_objects_v2, **whole, Prefix=below),
            partial(client.get_bucket_policy, **whole),
            partial(client.get_object, **whole, Key=f"{below}/audio/absent"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                asked()
        client.close()
