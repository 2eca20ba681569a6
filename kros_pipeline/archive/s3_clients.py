"""Open boto3's client of S3."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

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
