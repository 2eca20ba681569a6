"""The settings of the archive: where it is in S3, how it is encrypted, and the key of its tombstones."""

import re
from dataclasses import dataclass, field
from typing import Any

from ..core.pseudonyms import MIN_KEY_CHARACTERS
from ..core.settings import DOWNLOAD_WORKERS, BadValue, Setting, SettingsReader, choice, header_text, show_value

_is_bucket = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch
_is_prefix = re.compile(r"[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*").fullmatch
_MAX_PREFIX_CHARACTERS = 512  # S3 allows keys of 1,024 bytes; the keys below the prefix need the rest


def _parse_archive_url(text: str) -> tuple[str, str]:
    """Parse bucket and prefix. The prefix has no slash at its ends, and may be empty."""
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme != "s3" or not _is_bucket(bucket):
        raise BadValue("must name a bucket, like s3://bucket/prefix, and nothing else.")
    has_dots = {".", ".."} & set(prefix.split("/"))
    if prefix and (not _is_prefix(prefix) or has_dots or len(prefix) > _MAX_PREFIX_CHARACTERS):
        raise BadValue(f"has a prefix with characters that S3 keys should not have: {show_value(prefix)}.")
    return bucket, prefix


def _parse_erasure_key(text: str) -> str:
    if len(text) < MIN_KEY_CHARACTERS:
        raise BadValue(f"must have at least {MIN_KEY_CHARACTERS} characters.")
    return text


ARCHIVE_URL = Setting(
    "KROS_ARCHIVE_URL",
    None,
    "`s3://bucket/prefix`; credentials, region and endpoint the AWS way",
    _parse_archive_url,
    missing="set it to where the archive is, like s3://bucket/prefix",
)
SSE = Setting(
    "KROS_SSE", None, "`AES256` or `aws:kms`", choice("aws:kms", "AES256"), default_in_words="the bucket's default"
)
KMS_KEY_ID = Setting("KROS_KMS_KEY_ID", None, "the key for `KROS_SSE=aws:kms`", header_text)
ERASURE_KEY = Setting(
    "KROS_ERASURE_KEY",
    None,
    f"a secret of at least {MIN_KEY_CHARACTERS} characters, for `erase_calls`; once used, every run needs it",
    _parse_erasure_key,
    is_secret=True,
)

ARCHIVE_SETTINGS: tuple[Setting[Any], ...] = (ARCHIVE_URL, SSE, KMS_KEY_ID, ERASURE_KEY)


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where the archive is and how it is written. `sse` None is the bucket's own encryption.

    `connections` is how many connections to S3 are kept open: one for each thread that may use the store.
    """

    bucket: str
    prefix: str
    sse: str | None
    kms_key_id: str | None
    erasure_key: str | None = field(repr=False)
    connections: int


def parse_archive_settings(reader: SettingsReader) -> ArchiveSettings:
    """Read the settings of the archive. Problems are collected in the reader."""
    bucket, prefix = reader.required(ARCHIVE_URL, ("", ""))
    sse = reader.optional(SSE, None)
    if sse == "aws:kms" and not reader.is_given(KMS_KEY_ID):
        reader.add_problem(f"{KMS_KEY_ID.name} is missing: KROS_SSE=aws:kms needs the key's id or ARN.")
    if reader.is_given(KMS_KEY_ID) and (sse == "AES256" or not reader.is_given(SSE)):
        reader.add_problem(f"{KMS_KEY_ID.name} is set, but KROS_SSE is not aws:kms.")
    return ArchiveSettings(
        bucket=bucket,
        prefix=prefix,
        sse=sse,
        kms_key_id=reader.optional(KMS_KEY_ID, None),
        erasure_key=reader.optional(ERASURE_KEY, None),
        # Recordings are archived by half as many threads more than download; 4 are for the step's own requests.
        connections=reader.value(DOWNLOAD_WORKERS) * 3 // 2 + 4,
    )
