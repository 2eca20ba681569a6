"""Region, endpoint and addressing style are found once, for boto3 and for the PUTs of audio alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from kros_pipeline.archive import s3_clients
from kros_pipeline.archive.s3_governance import open_s3
from kros_pipeline.archive.s3_store import S3ObjectStore
from kros_pipeline.archive.settings import ArchiveSettings
from kros_pipeline.core.errors import ArchiveDenied
from kros_pipeline.sandbox import LocalS3


class Aws:
    """AWS, as far as HeadBucket shows it: the bucket's region, with a status of any kind."""

    def __init__(self) -> None:
        self.region: str | None = "us-east-1"
        self.status = 200
        self.asked: list[str] = []

    def answer(self, request: Any, **_: Any) -> AWSResponse:
        self.asked.append(request.url)
        headers = HTTPHeaders()
        if self.region is not None:
            headers["x-amz-bucket-region"] = self.region
        return AWSResponse(request.url, self.status, headers, Raw())


class Raw:
    def stream(self, **_: Any) -> Iterator[bytes]:
        return iter(())


@pytest.fixture
def on_aws(aws: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """No endpoint is set, and no region; HeadBucket is answered without a network."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    there, open_session = Aws(), s3_clients.open_session

    def opened() -> Any:
        session: Any = open_session()
        session.register("before-send.s3.HeadBucket", there.answer)
        return session

    monkeypatch.setattr("kros_pipeline.archive.s3_store.open_session", opened)
    return there


def open_store(bucket: str = "a-bucket") -> tuple[str, str, str]:
    """The region of boto3, and region and URL of the PUTs."""
    store = S3ObjectStore(ArchiveSettings(bucket, "p", None, None, None, connections=4))
    puts = store._bodies  # noqa: SLF001 - where the next PUT goes
    return store.client.meta.region_name, puts._region, puts._url  # noqa: SLF001


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_either_variable_sets_the_region_of_both(on_aws: Aws, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "eu-west-1")
    on_aws.region = None
    assert open_store() == ("eu-west-1", "eu-west-1", "https://a-bucket.s3.eu-west-1.amazonaws.com/")


@pytest.mark.parametrize(("default", "taken"), [("eu-west-1", "eu-west-1"), ("", "eu-west-3")])
def test_an_empty_region_counts_as_not_set(
    on_aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, default: str, taken: str
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_REGION", "")
    monkeypatch.setenv("AWS_DEFAULT_REGION", default)
    on_aws.region = None
    assert open_store()[:2] == (taken, taken)


def test_a_profile_sets_the_region(on_aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile ours]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "ours")
    on_aws.region = None
    assert open_store()[:2] == ("eu-west-3", "eu-west-3")


# S3 names the bucket's region also where it refuses the request.
@pytest.mark.parametrize("status", [200, 301, 400, 403])
@pytest.mark.parametrize("region", [None, "us-east-1", "eu-west-1", "af-south-1"])
def test_the_buckets_own_region_wins(
    on_aws: Aws, monkeypatch: pytest.MonkeyPatch, status: int, region: str | None
) -> None:
    if region is not None:
        monkeypatch.setenv("AWS_REGION", region)
    on_aws.region, on_aws.status = "af-south-1", status
    assert open_store() == ("af-south-1", "af-south-1", "https://a-bucket.s3.af-south-1.amazonaws.com/")


@pytest.mark.parametrize("status", [403, 404])
def test_without_any_region_the_first_is_taken(on_aws: Aws, status: int) -> None:
    on_aws.region, on_aws.status = None, status
    assert open_store()[:2] == ("us-east-1", "us-east-1")


def test_a_bucket_with_dots_is_addressed_by_the_path(on_aws: Aws) -> None:
    on_aws.region = "eu-west-1"
    assert open_store("calls.example.com")[2] == "https://s3.eu-west-1.amazonaws.com/calls.example.com/"


def test_an_endpoint_of_the_settings_is_addressed_by_the_path_and_not_asked(
    on_aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com:9000")
    monkeypatch.setenv("AWS_REGION", "garage")
    assert open_store() == ("garage", "garage", "https://s3.example.com:9000/a-bucket/")
    assert on_aws.asked == []


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://minio:9000", True),
        ("http://10.0.0.5:9000", True),
        ("http://s3.example.com", True),
        ("http://s3.eu-west-1.amazonaws.com", True),
        ("http://127.0.0.1.example.com", True),
        ("http://localhost.example.com", True),
        ("https://minio:9000", False),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:9000", False),
        ("http://[::1]:9000", False),
    ],
)
def test_an_endpoint_over_plain_http_on_another_machine_is_refused(
    on_aws: Aws, monkeypatch: pytest.MonkeyPatch, variable: str, url: str, *, is_refused: bool
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv(variable, url)
    settings = ArchiveSettings("a-bucket", "p", None, None, None, connections=4)
    if not is_refused:
        open_s3(settings)
        return
    with pytest.raises(ArchiveDenied, match=r"is not https.*Nothing was sent"):
        open_s3(settings)
    assert on_aws.asked == []
