"""Open the two clients of S3, with one region, one endpoint and one source of credentials."""

from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from ..core.errors import ArchiveDenied
from .s3_errors import NO_CREDENTIALS
from .settings import ArchiveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def open_boto3(settings: ArchiveSettings, session: boto3.Session) -> "S3Client":
    """Open boto3's client. Raises `ArchiveDenied` where no credentials are found."""
    client = session.client(
        "s3",
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=settings.connections,
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path"},
        ),
    )
    if session.get_credentials() is None:
        raise ArchiveDenied(NO_CREDENTIALS)
    return client


def open_obstore(settings: ArchiveSettings, session: boto3.Session, client: "S3Client") -> S3Store:
    """Open obstore's store at the same endpoint and region; keys are relative to the archive's prefix.

    obstore ignores AWS_PROFILE, and so takes its credentials from boto3's session.
    """
    endpoint = client.meta.endpoint_url
    config: dict[str, Any] = {
        "endpoint": endpoint,
        "region": client.meta.region_name or "us-east-1",
        "checksum_algorithm": "sha256",
        "virtual_hosted_style_request": False,
    }
    if settings.sse:
        config["server_side_encryption"] = settings.sse
    if settings.kms_key_id:
        config["sse_kms_key_id"] = settings.kms_key_id
    return S3Store(
        settings.bucket,
        prefix=f"{settings.prefix}/" if settings.prefix else None,
        config=cast(Any, config),
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "300s", "connect_timeout": "5s"},
        retry_config={"max_retries": 4},
        credential_provider=Boto3CredentialProvider(session),
    )
