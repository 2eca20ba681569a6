"""The documents for AWS: what they allow is what the code does, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest

from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.sandbox import Fault, Faults, LocalS3
from kros_pipeline.source import downloads
from kros_pipeline_tests.support.accounts import DAY, PLAIN, MakeAccount
from kros_pipeline_tests.support.archive_check import assert_nothing_is_false, completed_of
from kros_pipeline_tests.support.s3_recorder import Asked, recorder
from kros_pipeline_tests.support.steps import erase_calls

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
FILES = sorted(file.name for file in FOLDER.glob("*.json"))


def document(name: str, **names: str) -> Any:
    text = (FOLDER / name).read_text()
    for placeholder, value in (NAMES | names).items():
        text = text.replace(placeholder, value)
    return json.loads(text)


# A small reading of IAM: enough for these documents, and an error for anything else.


def statements_about(policy: Any, action: str, resource: str, context: dict[str, str]) -> Iterator[str]:
    """The effects of the statements that apply."""
    for statement in policy["Statement"]:
        actions, resources = (_list(statement[name]) for name in ("Action", "Resource"))
        if (
            any(fnmatchcase(action, pattern) for pattern in actions)
            and any(fnmatchcase(resource, pattern) for pattern in resources)
            and all(
                _holds(operator, context.get(key), _list(values))
                for operator, conditions in statement.get("Condition", {}).items()
                for key, values in conditions.items()
            )
        ):
            yield statement["Effect"]


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _holds(operator: str, value: str | None, wanted: list[str]) -> bool:
    match operator:
        case "Null":
            return (value is None) == (wanted == ["true"])
        case "StringNotEquals":
            return value not in wanted
        case "StringEquals" | "Bool":
            return value in wanted
        case "StringLike":
            return value is not None and any(fnmatchcase(value, pattern) for pattern in wanted)
        case "NumericLessThan":
            return value is not None and float(value) < float(wanted[0])
    raise ValueError(operator)


def allows(action: str, resource: str, *policies: Any, **context: str) -> bool:
    """`prefix` and `via` stand for s3:prefix and kms:ViaService."""
    names = {"prefix": "s3:prefix", "via": "kms:ViaService"}
    reported = {names[name]: value for name, value in context.items()}
    effects = {effect for policy in policies for effect in statements_about(policy, action, resource, reported)}
    return effects == {"Allow"}


PIPELINE, ERASURE, ANALYST = (document(f"{role}-policy.json") for role in ("pipeline", "erasure", "analyst"))
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
    for role in ("pipeline", "erasure", "analyst"):
        text = json.dumps(document(f"{role}-policy.json"))
        made = iam.create_policy(PolicyName=f"{role}-of-the-test", PolicyDocument=text)["Policy"]
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
        return "Deny" in statements_about(policy, action, f"{ARCHIVE}/audio/x.mp3", reported)

    assert not denied() and not denied("s3:GetObject")
    assert denied(aws__SecureTransport="false") and denied("s3:GetObject", aws__SecureTransport="false")
    assert denied(s3__TlsVersion="1.1") and not denied(s3__TlsVersion="1.2")
    assert denied(s3__x_amz_server_side_encryption="AES256")
    assert not denied(s3__x_amz_server_side_encryption="aws:kms")


@pytest.mark.parametrize("action", DELETES + NOBODYS)
def test_the_pipeline_can_delete_nothing_and_change_no_bucket(action: str) -> None:
    for resource in (BUCKET, KMS_KEY, *(f"{ARCHIVE}/{folder}/x" for folder in FOLDERS)):
        assert not allows(action, resource, PIPELINE, via="s3.us-east-1.amazonaws.com")
        assert not allows(action, resource, ANALYST, via="s3.us-east-1.amazonaws.com")
        if action in NOBODYS:
            assert not allows(action, resource, PIPELINE, ERASURE, via="s3.us-east-1.amazonaws.com")


def test_erasure_deletes_versions_below_the_prefix_and_nothing_else() -> None:
    for folder in FOLDERS:
        assert allows("s3:DeleteObjectVersion", f"{ARCHIVE}/{folder}/x", PIPELINE, ERASURE)
        assert not allows("s3:DeleteObject", f"{ARCHIVE}/{folder}/x", PIPELINE, ERASURE)
    assert not allows("s3:DeleteObjectVersion", f"{BUCKET}/others/x", PIPELINE, ERASURE)
    assert allows("s3:ListBucketVersions", BUCKET, ERASURE, prefix="krosai/audio/dt=2025-01-10/")
    assert not allows("s3:ListBucketVersions", BUCKET, ERASURE, prefix="others/")
    assert allows("s3:GetObjectVersion", f"{ARCHIVE}/tables/calls/dt=2025-01-10/part-0.parquet", ERASURE)


SEALS = f"{ARCHIVE}/seals/seal-000001.txt"
SEAL_KEY = "arn:aws:kms:us-east-1:123456789012:key/seal-key"


def test_seals_are_put_signed_and_kept_by_the_pipeline_and_deleted_by_nobody() -> None:
    assert allows("s3:PutObject", SEALS, PIPELINE) and allows("s3:PutObjectRetention", SEALS, PIPELINE)
    assert allows("kms:Sign", SEAL_KEY, PIPELINE) and allows("kms:GetPublicKey", SEAL_KEY, PIPELINE)
    assert not allows("kms:Sign", KMS_KEY, PIPELINE) and not allows("kms:Sign", SEAL_KEY, ANALYST)
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        for key in ("seal-000001.txt", "seal-000001.sig", "seal-000001.tsr", "keys/0.pem"):
            assert not allows(action, f"{ARCHIVE}/seals/{key}", PIPELINE, ERASURE)
    records = f"{ARCHIVE}/seals/dt=2025-01-10/records.jsonl"
    assert allows("s3:DeleteObjectVersion", records, PIPELINE, ERASURE)
    assert not allows("s3:PutObjectRetention", records, PIPELINE), "records stay erasable"
    assert not allows("s3:PutObjectRetention", f"{ARCHIVE}/audio/x", PIPELINE, ERASURE), "audio stays erasable"


def test_the_analyst_can_only_read_tables() -> None:
    assert {folder for folder in FOLDERS if allows("s3:GetObject", f"{ARCHIVE}/{folder}/x", ANALYST)} == {"tables"}
    listed = ("krosai/tables/", "krosai/tables/calls/dt=2025-01-10/", "krosai/audio/", "krosai/", "", "krosai/tables_")
    allowed = {prefix for prefix in listed if allows("s3:ListBucket", BUCKET, ANALYST, prefix=prefix)}
    assert allowed == {"krosai/tables/", "krosai/tables/calls/dt=2025-01-10/"}
    assert not allows("s3:PutObject", f"{ARCHIVE}/tables/calls/x", ANALYST)
    assert allows("kms:Decrypt", KMS_KEY, ANALYST, via="s3.us-east-1.amazonaws.com")
    assert not allows("kms:Decrypt", KMS_KEY, ANALYST, via="other.us-east-1.amazonaws.com")


# What the code really asks of S3.


@pytest.mark.slow
def test_a_whole_day_is_allowed_to_the_pipeline_and_every_write_names_the_key(
    account: MakeAccount, aws: LocalS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: everyone, extend_days: 200}\n")
    our = account(PLAIN, KROS_SSE="aws:kms", KROS_KMS_KEY_ID=KMS_KEY, KROS_FLAG_RULES=str(rules))
    calls = our.krosai.expected_calls(str(DAY), hashes=False)
    our.krosai.set_faults(Faults(storage_html=Fault(calls=(calls[0]["id"],)), list_malformed=Fault(share=0.2)))
    # Half of the bodies are larger than this, and go another way.
    middle = sorted(call["size_bytes"] for call in calls)[len(calls) // 2]
    monkeypatch.setattr(downloads, "IN_MEMORY_BYTES", middle)
    with recorder(aws.endpoint_url) as (endpoint, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        our.ctx.prepare_archive()  # the server is probed
        our.run_day()
        our.run_day()
        our.opened.close()
    assert {"state/probe/daily.json", "state/capabilities.json"} <= our.archive.objects().keys()
    assert_nothing_is_false(our.krosai, our.archive, DAY)

    policy = document("pipeline-policy.json", BUCKET=our.archive.bucket, PREFIX=our.archive.prefix)
    actions = {(action, resource, prefix_of(request)) for request in asked for action, resource in request.actions()}
    assert {action for action, _, _ in actions} >= {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    refused = {entry for entry in actions if not allows(entry[0], entry[1], policy, prefix=entry[2])}
    assert refused == set()
    assert {request.method for request in asked} == {"GET", "HEAD", "PUT"}, "nothing is deleted, nothing is POSTed"

    puts = [request for request in asked if request.method == "PUT"]
    writers = {
        (request.key.split("/")[1], "boto" if "boto" in request.headers["user-agent"].lower() else "pyreqwest")
        for request in puts
    }
    assert writers >= {
        ("audio", "pyreqwest"), ("audio", "boto"), ("tables", "boto"), ("state", "boto"), ("quarantine", "boto"),
    }  # fmt: skip
    for request in puts:
        assert request.headers["x-amz-server-side-encryption"] == "aws:kms", request.key
        assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == KMS_KEY, request.key
    # And S3 has it so.
    for key in our.archive.objects():
        head = our.archive.client.head_object(Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY), key


def prefix_of(request: Asked) -> str:
    """s3:prefix: of a listing its own; whether an absent object is 404 or 403, S3 asks with the key for a prefix."""
    return request.query.get("prefix", [request.key])[0]


@pytest.mark.slow
def test_an_erasure_is_allowed_to_its_role_and_not_to_the_pipeline(
    account: MakeAccount, aws: LocalS3, s3_client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a bucket with versions and Object Lock, of a flagged call whose hold was lifted."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - {id: everyone, extend_days: 200}\n")
    our = account(bucket="locked", KROS_FLAG_RULES=str(rules), KROS_LEGAL_HOLD="on", KROS_ERASURE_KEY="k" * 32)
    bucket, prefix = our.archive.bucket, our.archive.prefix
    call_id = min(completed_of(our.krosai, DAY))
    with recorder(aws.endpoint_url) as (endpoint, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        our.run_day()
        by_the_pipeline = list(asked)
        held = {"Bucket": bucket, "Key": f"{prefix}/{audio_key(DAY, call_id)}"}
        s3_client.put_object_legal_hold(**held, LegalHold={"Status": "OFF"})
        asked.clear()
        erase_calls(our.open(), ErasureRequest((call_id,), reason="request 1"))
        our.opened.close()
    pipeline, erasure = (
        document(f"{role}-policy.json", BUCKET=bucket, PREFIX=prefix) for role in ("pipeline", "erasure")
    )

    def refused(requests: list[Asked], *policies: Any) -> set[str]:
        reported = [(*one, prefix_of(request)) for request in requests for one in request.actions()]
        return {action for action, about, place in reported if not allows(action, about, *policies, prefix=place)}

    assert "s3:PutObjectLegalHold" in {action for request in by_the_pipeline for action, _ in request.actions()}
    assert refused(by_the_pipeline, pipeline) == set()
    assert refused(asked, pipeline, erasure) == set()
    assert refused(asked, pipeline) == {
        "s3:ListBucketVersions", "s3:GetObjectVersion", "s3:DeleteObjectVersion",
        "s3:GetObjectLegalHold", "s3:PutObjectLegalHold",  # below state/probe/, before the first erasure
    }  # fmt: skip
