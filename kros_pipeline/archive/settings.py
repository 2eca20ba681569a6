"""The settings of the archive: where it lies, how it is encrypted, and the key of erasure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """One bucket and prefix. `prefix` has no slash at its ends, and may be empty.

    `connections` is the number of HTTP connections to S3 that may be open at once: as many as threads use the store.
    """

    bucket: str
    prefix: str
    sse: str | None
    kms_key_id: str | None
    erasure_key: str | None = field(repr=False)
    connections: int
