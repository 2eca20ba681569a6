"""Sealed days in a bucket with versions and Object Lock: seals are kept, calls stay erasable in every version."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kros_pipeline.core.seal_keys import PUBLIC_KEYS, manifest_key, records_key, seal_key, verify_key
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline.operations.sealing import seal_days_of
from kros_pipeline_tests.operations.test_seal_attachments import write_key
from kros_pipeline_tests.support.accounts import AFTER_GRACE, DAY, LAST_CHANCE, PLAIN, MakeAccount
from kros_pipeline_tests.support.steps import erase_calls

SMALL = replace(PLAIN, audio_seconds=(1, 2))


def lock_of(our: Any, key: str) -> tuple[Any, Any]:
    """Mode and end of the retention, as HEAD shows them: the local S3 has no GetObjectRetention."""
    head = our.archive.client.head_object(Bucket=our.archive.bucket, Key=f"{our.archive.prefix}/{key}")
    return head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")


def versions_of(our: Any, key: str) -> list[bytes]:
    place = {"Bucket": our.archive.bucket, "Prefix": f"{our.archive.prefix}/{key}"}
    found = our.archive.client.list_object_versions(**place).get("Versions", [])
    return [
        our.archive.client.get_object(Bucket=our.archive.bucket, Key=one["Key"], VersionId=one["VersionId"])[
            "Body"
        ].read()
        for one in found
    ]


@pytest.mark.slow
def test_seals_are_locked_and_an_erased_call_leaves_every_version_of_records_and_manifest(
    account: MakeAccount, tmp_path: Path
) -> None:
    our = account(SMALL, bucket="locked", now=LAST_CHANCE, KROS_ERASURE_KEY="k" * 40)
    our.run_day()
    report = seal_days_of(our.open(KROS_SEAL_KEY=write_key(tmp_path / "key.pem")))
    assert (report.sealed, report.owed, report.refused) == ([DAY], [], []), report
    assert lock_of(our, seal_key(1)) == (None, None)
    assert not seal_days_of(our.open(KROS_SEAL_RETAIN_DAYS="30")).owed
    (public_key,) = our.archive.objects(PUBLIC_KEYS)
    for key in (seal_key(1), seal_key(1, "sig"), public_key):
        assert lock_of(our, key) == ("COMPLIANCE", LAST_CHANCE + timedelta(days=30)), "also what was there before"
    for key in (records_key(DAY), manifest_key(DAY), verify_key(DAY)):
        assert lock_of(our, key) == (None, None), "the day's files stay erasable"
    call_id = min(our.archive.by_call("calls", DAY))
    before = our.archive.read(seal_key(1))
    erase_calls(our.open(), ErasureRequest((call_id,), reason="request 17"))
    for key in (records_key(DAY), manifest_key(DAY)):
        [body] = versions_of(our, key)
        assert call_id.encode() not in body
    assert our.archive.read(seal_key(1)) == before and len(versions_of(our, seal_key(1))) == 1


def test_a_bucket_without_object_lock_leaves_the_lock_owed(account: MakeAccount) -> None:
    our = account(SMALL, now=LAST_CHANCE)
    assert AFTER_GRACE < LAST_CHANCE
    our.run_day()
    report = seal_days_of(our.open(KROS_SEAL_RETAIN_DAYS="30"))
    assert report.sealed == [DAY] and not report.refused
    [sentence] = report.owed
    assert "Object Lock of seals is owed" in sentence and "s3:PutObjectRetention" in sentence
