"""Name the statuses that tables store as texts.

A member is a `str`: Arrow, JSON and comparisons take it as it is. Dagster's serializer refuses Enum members, so give
Dagster `.value`.
"""

from enum import StrEnum


class RecordingStatus(StrEnum):
    """What became of a call's recording (`recordings.status`). Only `archived` is final."""

    ARCHIVED = "archived"
    PENDING = "pending"
    NOT_RECORDED = "not_recorded"
    LOST = "lost"
    FAILED = "failed"
    REFUSED = "refused"


UNSAFE_RECORDINGS = (RecordingStatus.LOST, RecordingStatus.FAILED, RecordingStatus.REFUSED)
"""The statuses that fail a day, unless an operator has acknowledged the call."""


class TranscriptStatus(StrEnum):
    """What became of a call's transcript (`transcripts.status`). Only `kept` is final."""

    KEPT = "kept"
    PENDING = "pending"
    NONE = "none"


class TextSource(StrEnum):
    """Which answer of the API a text is from (`transcripts.source`)."""

    LIST = "list"
    CALL = "call"


class ExtensionStatus(StrEnum):
    """What became of a decision to keep a recording longer upstream (`retention_extensions.status`)."""

    EXTENDED = "extended"
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"
    NOT_ALLOWED = "not_allowed"


OPEN_EXTENSIONS = (ExtensionStatus.REFUSED, ExtensionStatus.UNCONFIRMED)
"""The statuses that wait for an operator, until one settles the decision or has it sent again."""

NOT_SENT = "not_sent"
"""The status of a request's outcome in the journal, and never of a row: the next run sends the request."""


class DayVerdict(StrEnum):
    """The verdict on a day (`reconciliation.verdict`)."""

    COMPLETE = "complete"
    WAITING = "waiting"
    INCOMPLETE = "incomplete"


class Speaker(StrEnum):
    """Who speaks a turn (`utterances.speaker`): `other` has a label of another role, `unknown` has none."""

    AGENT = "agent"
    CALLER = "caller"
    OTHER = "other"
    UNKNOWN = "unknown"
