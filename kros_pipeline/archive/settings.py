"""The settings of the archive: where it is in S3, how it is encrypted and sealed, and the key of its tombstones."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..core.pseudonyms import MIN_KEY_CHARACTERS
from ..core.settings import (
    DOWNLOAD_WORKERS,
    BadValue,
    Setting,
    SettingsReader,
    choice,
    header_text,
    show_value,
    whole_number,
)

_is_bucket = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]").fullmatch
_is_prefix = re.compile(r"[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*").fullmatch
_is_kms_arn = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+").fullmatch
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


def _parse_seal_key(text: str) -> str:
    """Parse the name of a PEM file or of a KMS key. A key itself is refused, and not shown."""
    if "-----BEGIN" in text:
        raise BadValue(
            "is a private key itself; write it to a file that only the pipeline can read, and name the file."
        )
    if not text.isprintable():
        raise BadValue("holds control characters, which no path and no name of a KMS key has.")
    if text.startswith("arn:") and not _is_kms_arn(text):
        raise BadValue("is no ARN of a KMS key or of its alias.")
    return text


def _parse_timestamp_url(text: str) -> str:
    """Parse the URL of an authority. Plain http is usual: what comes back is signed."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # `port` raises where it is no port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username:
        raise BadValue("must be a whole URL like https://timestamp.example.com, without a user name.")
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
SEAL_KEY = Setting(
    "KROS_SEAL_KEY",
    None,
    "what signs the sealed days: a PEM file with a private key of the curve P-256, or a KMS key by its ARN or alias "
    "(`alias/…`)",
    _parse_seal_key,
)
TIMESTAMP_URL = Setting(
    "KROS_TIMESTAMP_URL",
    None,
    "a time-stamp authority (RFC 3161), which gets the hash of each seal; needs `openssl` on the machine",
    _parse_timestamp_url,
)
SEAL_RETAIN_DAYS = Setting(
    "KROS_SEAL_RETAIN_DAYS",
    None,
    "for how many days S3 Object Lock keeps each seal; **nobody can shorten it**, not even the account's owner. Audio "
    "and records stay erasable",
    whole_number(1, 36_500),
)

ARCHIVE_SETTINGS: tuple[Setting[Any], ...] = (
    ARCHIVE_URL,
    SSE,
    KMS_KEY_ID,
    ERASURE_KEY,
    SEAL_KEY,
    TIMESTAMP_URL,
    SEAL_RETAIN_DAYS,
)


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
    seal_key: str | None = None
    timestamp_url: str | None = None
    seal_retain_days: int | None = None


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
        seal_key=reader.optional(SEAL_KEY, None),
        timestamp_url=reader.optional(TIMESTAMP_URL, None),
        seal_retain_days=reader.optional(SEAL_RETAIN_DAYS, None),
    )
