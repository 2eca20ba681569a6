"""The sandbox sets all settings of the pipeline, and its bucket and TLS are as configured."""

from __future__ import annotations

import re
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from kros_pipeline.sandbox import Sandbox, tls
from kros_pipeline_tests.support.sandbox_client import PLAIN


def test_the_environment_has_exactly_the_settings_that_the_pipeline_needs(sandbox: Sandbox) -> None:
    environment = sandbox.environment
    assert set(environment) == {
        *("KROSAI_API_KEY", "KROSAI_BASE_URL", "KROS_RECORDING_HOSTS", "KROS_ARCHIVE_URL", "AWS_ENDPOINT_URL_S3"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP"),
        "NO_PROXY",
    }
    assert environment["KROS_ARCHIVE_URL"] == "s3://kros-archive/krosai"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", environment["KROSAI_BASE_URL"])


def test_the_bucket_is_empty_and_unversioned_and_honours_if_none_match(sandbox: Sandbox) -> None:
    s3 = sandbox.s3.client()
    assert s3.list_objects_v2(Bucket=sandbox.s3.bucket)["KeyCount"] == 0
    assert "Status" not in s3.get_bucket_versioning(Bucket=sandbox.s3.bucket)
    s3.put_object(Bucket=sandbox.s3.bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=sandbox.s3.bucket, Key="a", Body=b"2", IfNoneMatch="*")


def test_the_bucket_can_have_versions_and_locks_and_krosai_can_use_tls() -> None:
    config = replace(PLAIN, versioning=True, object_lock=True, tls=True, auth="bearer", organization_id="org-1")
    with Sandbox(config) as sandbox:
        s3 = sandbox.s3.client()
        assert s3.get_bucket_versioning(Bucket=sandbox.s3.bucket)["Status"] == "Enabled"
        assert "ObjectLockConfiguration" in s3.get_object_lock_configuration(Bucket=sandbox.s3.bucket)
        environment = sandbox.environment
        assert (environment["KROSAI_AUTH"], environment["KROSAI_ORGANIZATION_ID"]) == ("bearer", "org-1")
        headers = {"Authorization": f"Bearer {config.api_key}"}
        trust = environment["REQUESTS_CA_BUNDLE"]
        page = requests.get(f"{environment['KROSAI_BASE_URL']}/calls", headers=headers, verify=trust, timeout=10).json()
        url = page["calls"][0]["recording_url"]
        assert url.startswith("https://127.0.0.1:")
        assert requests.get(url, verify=trust, timeout=10).content == sandbox.krosai.audio(page["calls"][0]["id"])


def test_the_certificate_passes_the_strict_verification_of_python_3_13(tmp_path: Path) -> None:
    client = ssl.create_default_context(cafile=tls.make_certificate(str(tmp_path)))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    from_server, from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = tls.server_context(str(tmp_path)).wrap_bio(from_client, from_server, server_side=True)
    client_side = client.wrap_bio(from_server, from_client, server_hostname="127.0.0.1")
    is_done = False
    while not is_done:
        for side in (client_side, server_side):
            try:
                side.do_handshake()
                is_done = side is server_side
            except ssl.SSLWantReadError:
                pass
    assert client_side.version() == "TLSv1.3"
