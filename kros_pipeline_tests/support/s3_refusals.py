"""What S3 refuses with, and what each refusal is to the archive, whichever client receives it."""

from __future__ import annotations

from kros_pipeline.core.errors import ArchiveDenied, ArchiveError, ArchiveUnavailable

REFUSALS: list[tuple[int, str, type[ArchiveError]]] = [
    (403, "AccessDenied", ArchiveDenied),
    (403, "InvalidAccessKeyId", ArchiveDenied),
    (403, "SignatureDoesNotMatch", ArchiveDenied),
    (400, "ExpiredToken", ArchiveDenied),
    (404, "NoSuchBucket", ArchiveDenied),
    (409, "ConditionalRequestConflict", ArchiveUnavailable),
    (503, "SlowDown", ArchiveUnavailable),
    (500, "InternalError", ArchiveUnavailable),
    (400, "BadDigest", ArchiveError),
]


def refusal_body(code: str) -> bytes:
    """An error as S3 writes it; its message shows a signed URL, which no error of ours may show."""
    message = "https://s3/x?X-Amz-Signature=abc is not allowed"
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
