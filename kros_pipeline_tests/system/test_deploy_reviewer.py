"""The role of the reviewer's page: it allows what the page asks of S3, and no other write."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import boto3
import pytest

from kros_pipeline.archive.json_objects import create_json
from kros_pipeline.archive.object_store import CREATE
from kros_pipeline.archive.seal_index import SealIndex
from kros_pipeline.browser.reviews import Reviews
from kros_pipeline.core.object_keys import audit_key, review_key
from kros_pipeline.core.seal_keys import SEALS_INDEX, seal_key
from kros_pipeline.core.seal_text import NO_PREVIOUS, Seal, sha256_of_text
from kros_pipeline.sandbox import LocalS3
from kros_pipeline_tests.support.listen_archive import DAY, NOW, ListedCall, ListenArchive
from kros_pipeline_tests.support.listen_page import open_store
from kros_pipeline_tests.support.role_proxy import role
from kros_pipeline_tests.system.test_deploy_aws import ARCHIVE, DELETES, NOBODYS, document, is_allowed

REVIEWER = document("reviewer-policy.json")
OWN = {"sec-fetch-site": "same-origin"}


@pytest.mark.parametrize("action", DELETES + NOBODYS)
def test_it_can_delete_nothing_and_change_no_bucket(action: str) -> None:
    for folder in ("audio", "audit", "reviews", "state", "tables", "quarantine"):
        assert not is_allowed(action, f"{ARCHIVE}/{folder}/x", REVIEWER, via="s3.us-east-1.amazonaws.com")


def test_it_writes_reviews_and_its_own_audit_lines_only() -> None:
    own = (
        review_key(DAY, "call_1", NOW, "amina"),
        audit_key(DAY, "5f1c", "browse", 1),
        audit_key(DAY, "5f1c", "browse", 2),
    )
    others = (
        audit_key(DAY, "5f1c", "recordings", 1), "audio/dt=2025-01-10/call_1.mp3", "state/erased.json",
        "tables/calls/dt=2025-01-10/part-0.parquet", "quarantine/x", "seals/x", "state/archive.json",
    )  # fmt: skip
    for key in own:
        assert is_allowed("s3:PutObject", f"{ARCHIVE}/{key}", REVIEWER, none_match="*")
        assert not is_allowed("s3:PutObject", f"{ARCHIVE}/{key}", REVIEWER), "it could overwrite what was noted"
    for key in others:
        assert not is_allowed("s3:PutObject", f"{ARCHIVE}/{key}", REVIEWER, none_match="*")


@pytest.mark.parametrize("key", ["quarantine/dt=2025-01-10/x.bin", "state/erasing/run.json", "state/unparsed/x.json",
                                 "state/transcripts/x.json", "audit/dt=2025-01-10/run-recordings.jsonl"])  # fmt: skip
def test_it_reads_nothing_that_the_page_does_not_show(key: str) -> None:
    assert not is_allowed("s3:GetObject", f"{ARCHIVE}/{key}", REVIEWER)


def test_the_document_is_a_policy(aws: LocalS3) -> None:
    iam = boto3.client("iam", endpoint_url=aws.endpoint_url)
    made = iam.create_policy(PolicyName="reviewer-of-the-test", PolicyDocument=json.dumps(REVIEWER))["Policy"]
    kept = iam.get_policy_version(PolicyArn=made["Arn"], VersionId="v1")["PolicyVersion"]["Document"]
    assert kept == REVIEWER


def test_analysts_read_reviews_and_do_not_write_them() -> None:
    analyst = document("analyst-policy.json")
    assert is_allowed("s3:GetObject", f"{ARCHIVE}/reviews/dt=2025-01-10/call_1/x.json", analyst)
    assert not is_allowed("s3:PutObject", f"{ARCHIVE}/reviews/dt=2025-01-10/call_1/x.json", analyst)


def test_whatever_the_page_asks_of_s3_is_allowed_and_recordings_are_read_in_ranges(
    aws: LocalS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ListenArchive(
        tmp_path, [ListedCall("call_1"), ListedCall("call_2", has_audio=False)], open_store(aws.bucket, "page")
    )
    policy = document("reviewer-policy.json", BUCKET=aws.bucket, PREFIX="page")
    store = open_store(aws.bucket, "page")
    seal = Seal(1, NO_PREVIOUS, DAY, 1, 0, None, "complete", NOW, is_signature_due=False)
    body = b"".join(seal.pieces())
    digest = sha256_of_text(body)
    store.put(seal_key(1), body, sha256=digest, mode=CREATE, content_type="text/plain")
    create_json(store, SEALS_INDEX, asdict(SealIndex(1, digest, {DAY.isoformat(): [1]})))
    with role(aws.endpoint_url, policy) as asked:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", asked.url)
        archive = ListenArchive(tmp_path, [], open_store(aws.bucket, "page"))
        client = archive.client()
        call = "/call/2025-01-10/call_1"
        paths = (
            "/days",
            "/calls",
            "/calls.csv",
            "/calls?turn=with&words=hello",
            "/sample?seed=a",
            call,
            f"{call}/peaks",
        )
        assert [client.get(path).status_code for path in paths] == [200] * len(paths)
        assert "seal 000001" in client.get(call).text
        begin = len(asked.requests)
        assert client.get(f"{call}/audio", headers={"Range": "bytes=0-"}).status_code == 206
        heard = [
            request for request in asked.requests[begin:] if "call_1.mp3" in request.target and request.method == "GET"
        ]
        assert heard and all("range" in request.headers for request in heard)
        assert client.get("/call/2025-01-10/call_2/audio").status_code == 404
        assert client.post(f"{call}/hash", headers=OWN).status_code == 200
        assert client.post(f"{call}/reviews", data={"verdict": "good"}, headers=OWN).status_code == 200
        assert Reviews(archive.store, archive.clock).of_call(DAY, "call_1")
        archive.tombstones.check_key()
