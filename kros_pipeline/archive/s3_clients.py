"""Open botocore's session and boto3's client. `S3Puts` takes region, address and credentials from them, too."""

from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from ..core.errors import ArchiveDenied
from .s3_errors import EXPIRED, NO_CREDENTIALS
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# boto3 reads AWS_DEFAULT_REGION only (boto3#3620), and other AWS tools AWS_REGION.
_VARIABLES = {"region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)}
_FIRST_REGION = "us-east-1"
_REGION_HEADER = "x-amz-bucket-region"
_MAX_ATTEMPTS = 5
_EXPIRED = EXPIRED | {"400"}


def open_session() -> Session:
    """Open a session that reads settings the AWS way, `AWS_REGION` among them."""
    return Session(session_vars=_VARIABLES)


def open_boto3(settings: ArchiveSettings, session: Session) -> "S3Client":
    """Open the client of S3 in the bucket's own region. Raises `ArchiveDenied` where no credentials are found.

    On AWS the bucket is asked once for its region: a region that is not set, or is another one, is no reason to fail.
    """
    if session.get_credentials() is None:
        raise ArchiveDenied(NO_CREDENTIALS)
    boto = boto3.Session(botocore_session=session)
    region = session.get_config_variable("region") or _FIRST_REGION
    client = _open(settings, boto, region, "path")
    if not _is_aws(client):
        return client
    own_region = _find_region(client, settings.bucket) or region
    # AWS wants new buckets to be addressed by a host of their own; its certificates do not cover names with dots.
    return _open(settings, boto, own_region, "path" if "." in settings.bucket else "virtual")


def _retry_expired(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Return the pause before a request is signed and sent again: its token has expired, and may have been renewed.

    A HEAD says 400 only. Called by botocore after each answer; None leaves the decision to it.
    """
    code = response[1].get("Error", {}).get("Code") if response is not None else None
    return 0.2 * attempts if code in _EXPIRED and attempts < _MAX_ATTEMPTS else None


def _open(
    settings: ArchiveSettings, boto: boto3.Session, region: str, addressing_style: Literal["path", "virtual"]
) -> "S3Client":
    client = boto.client(
        "s3",
        region_name=region,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=settings.connections,
            retries={"mode": "standard", "max_attempts": _MAX_ATTEMPTS},
            s3={"addressing_style": addressing_style},
        ),
    )
    client.meta.events.register("needs-retry.s3", _retry_expired)  # type: ignore[arg-type] # what it returns counts
    return client


def _is_aws(client: "S3Client") -> bool:
    """Return whether the endpoint is AWS's own, and none that the settings name."""
    host = client.meta.endpoint_url.split("/")[2]
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _find_region(client: "S3Client", bucket: str) -> str | None:
    """Return the region that S3 names for a bucket, also where it refuses; None where it names none."""
    try:
        headers = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    return headers.get(_REGION_HEADER)
