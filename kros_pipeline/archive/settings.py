"""The settings of the archive: where it is, and how it is encrypted."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where the archive is. `connections` is how many requests may be under way at once."""

    bucket: str
    prefix: str
    sse: str | None
    kms_key_id: str | None
    erasure_key: str | None = field(repr=False)
    connections: int
