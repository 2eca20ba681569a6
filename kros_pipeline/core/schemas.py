"""Declare the tables: the names, types and meanings of their columns.

Columns are only ever added, at a table's end, nullable. Every file carries the descriptions in its Arrow schema, so a
changed description changes the bytes of every file that is written afterwards. Dagster shows the same descriptions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .statuses import DayVerdict, ExtensionStatus, RecordingStatus, TranscriptStatus

if TYPE_CHECKING:
    import pyarrow as pa

# Arrow's own names of its types. The definitions show them, and do not import Arrow.
STRING, INT64, FLOAT64, BOOL, DATE = "string", "int64", "double", "bool", "date32[day]"
TIMESTAMP = "timestamp[us, tz=UTC]"
STRING_LIST = "list<item: string>"


@dataclass(frozen=True)
class Column:
    """One column. It is nullable unless declared otherwise."""

    name: str
    type: str
    description: str
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """One table: its columns in order, and the columns by which a file is sorted and a row is unique."""

    name: str
    description: str
    columns: tuple[Column, ...]
    sorted_by: tuple[str, ...]

    @cached_property
    def schema(self) -> "pa.Schema":
        """The Arrow schema with which every file of the table is written."""
        import pyarrow as pa

        types = {
            STRING: pa.string(),
            INT64: pa.int64(),
            FLOAT64: pa.float64(),
            BOOL: pa.bool_(),
            DATE: pa.date32(),
            TIMESTAMP: pa.timestamp("us", tz="UTC"),
            STRING_LIST: pa.list_(pa.string()),
        }
        return pa.schema(
            [
                pa.field(column.name, types[column.type], column.nullable, {"description": column.description})
                for column in self.columns
            ]
        )

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names, in the order of the file."""
        return tuple(column.name for column in self.columns)

    def sort_key(self) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        """Return a key function that sorts rows, which are dicts, as a file is sorted."""
        return lambda row: tuple(row[name] for name in self.sorted_by)


_CALL_ID = Column("call_id", STRING, "the call's id, as KrosAI gives it", nullable=False)
_CALL_DATE = Column("call_date", DATE, "the UTC day on which the call was created; the partition", nullable=False)


def _table(name: str, description: str, columns: list[Column], sorted_by: tuple[str, ...] = ("call_id",)) -> Table:
    return Table(name, description, (_CALL_ID, _CALL_DATE, *columns), sorted_by)


def _list_values(statuses: type[StrEnum]) -> str:
    """Return `kept, pending or none` for the statuses of a column."""
    *others, last = statuses
    return f"{', '.join(others)} or {last}"


CALLS = _table(
    "calls",
    "Every completed call of the day, as the list showed it; rows are added and updated, never removed but by erasure.",
    [
        Column("organization_id", STRING, "the organization, from the call or from the setting"),
        Column("status", STRING, "the call's status upstream"),
        Column("direction", STRING, "inbound or outbound"),
        Column("from_number", STRING, "who called (E.164)"),
        Column("to_number", STRING, "who was called (E.164)"),
        Column("duration_seconds", FLOAT64, "the call's duration upstream"),
        Column("cost_cents", FLOAT64, "what the call cost, in cents"),
        Column("endpoint_id", STRING, "the endpoint that handled the call"),
        Column("phone_number_id", STRING, "the phone number's id upstream"),
        Column("created_at", TIMESTAMP, "when the call was created (UTC)", nullable=False),
        Column("answered_at", TIMESTAMP, "when it was answered (UTC)"),
        Column("completed_at", TIMESTAMP, "when it was completed (UTC)"),
        Column("has_recording", BOOL, "whether the list has ever shown a recording of it", nullable=False),
        Column("listed_transcript", STRING, "the transcript as the list showed it: it may be shortened or unlabelled"),
        Column("extra", STRING, "JSON of every field without a column here; never a recording's URL"),
        Column("listed_at", TIMESTAMP, "when the row last changed (UTC)", nullable=False),
    ],
)

RECORDINGS = _table(
    "recordings",
    "What became of each call's recording: one row a call.",
    [
        Column("status", STRING, _list_values(RecordingStatus), nullable=False),
        Column("reason", STRING, "why it is not archived, in words"),
        Column("object_key", STRING, "the object's key in the bucket, where it is archived"),
        Column("size_bytes", INT64, "the object's size"),
        Column("sha256", STRING, "SHA-256 of its bytes, hexadecimal"),
        Column("duration_seconds", FLOAT64, "the audio's length, counted over its frames"),
        Column("declared_duration_seconds", FLOAT64, "the length that the list declared"),
        Column("sample_rate_hz", INT64, "samples a second"),
        Column("channels", INT64, "1 is mono"),
        Column("bitrate_bps", INT64, "bits a second, the mean over the frames"),
        Column("attempts", INT64, "downloads begun, over all runs", nullable=False),
        Column("archived_at", TIMESTAMP, "when the object was put (UTC)"),
        Column("upstream_expires_on", DATE, "from this day on upstream may have deleted its copy"),
        Column("defects", STRING, "what is odd about the archived bytes, in words; null where nothing is"),
        Column("quarantine_key", STRING, "the key in the bucket of the last body that came and was rejected"),
        Column("declared_size_bytes", INT64, "the size that upstream declared, where it was asked for the recording"),
    ],
)

TRANSCRIPTS = _table(
    "transcripts",
    "Each call's transcript, as it came: one row a call.",
    [
        Column("status", STRING, _list_values(TranscriptStatus), nullable=False),
        Column("source", STRING, "list or call: which answer of the API the text is from"),
        Column("text", STRING, "the text, every character of it"),
        Column("word_count", INT64, "words of the speech, between white space: the sum over the turns"),
        Column("language", STRING, "the language, where upstream was asked for the call"),
        Column("confidence", FLOAT64, "upstream's confidence, 0 to 1, where it was asked for the call"),
        Column("fetched_at", TIMESTAMP, "when the row last changed (UTC)", nullable=False),
        Column("reason", STRING, "why it is not kept, or what is doubtful about the text, in words"),
        Column("asked_at", TIMESTAMP, "when upstream last answered a request about a doubtful kept text (UTC)"),
        Column("upstream_word_count", INT64, "upstream's own count of words, where it gave one"),
    ],
)

UTTERANCES = _table(
    "utterances",
    "Turns of speech, in their order: one row a turn. transcripts.text[char_start:char_end] of all turns is the text.",
    [
        Column("turn_index", INT64, "0 for the first turn of the call", nullable=False),
        Column("speaker", STRING, "agent, caller, other (another label) or unknown (no sure label)", nullable=False),
        Column("speaker_label", STRING, "the label as it was written"),
        Column("text", STRING, "the speech alone, without the label", nullable=False),
        Column("word_count", INT64, "words of the speech, between white space", nullable=False),
        Column(
            "char_start", INT64, "where it begins in transcripts.text, label included (code points)", nullable=False
        ),
        Column("char_end", INT64, "where it ends, exclusive (code points)", nullable=False),
        Column("created_at", TIMESTAMP, "when the call was created (UTC)", nullable=False),
        Column("direction", STRING, "the call's direction"),
        Column("language", STRING, "the transcript's language, where known"),
        Column("start_seconds", FLOAT64, "seconds from the call's begin, only where the text itself says them"),
    ],
    ("call_id", "turn_index"),
)

FLAGGED_CALLS = _table(
    "flagged_calls",
    "Calls that a rule flags: one row a call and rule.",
    [
        Column("rule_id", STRING, "the rule's id", nullable=False),
        Column("reason", STRING, "which conditions held, in words; no speech", nullable=False),
        Column("turn_index", INT64, "the first turn that satisfied the rule, where it is about a turn"),
        Column("extend_days", INT64, "for how many days the rule wants the recording kept upstream", nullable=False),
        Column("rules_version", STRING, "which text of the rules file: the start of its SHA-256", nullable=False),
    ],
    ("call_id", "rule_id"),
)

RETENTION_EXTENSIONS = _table(
    "retention_extensions",
    "What upstream was asked to keep longer, and what it answered: one row a decision.",
    [
        Column("decision_id", STRING, "call, rule and days, hashed: a decision is sent once", nullable=False),
        Column("rule_id", STRING, "the rule that decided", nullable=False),
        Column("requested_days", INT64, "the days that the rule wants", nullable=False),
        Column("sent_days", INT64, "the days that were sent: the plan's maximum, if that is less"),
        Column("status", STRING, _list_values(ExtensionStatus), nullable=False),
        Column("reason", STRING, "why it is not extended, in words"),
        Column("attempts", INT64, "requests of which an intent was written", nullable=False),
        Column("requested_at", TIMESTAMP, "when the last request was about to be sent (UTC)"),
        Column("confirmed_at", TIMESTAMP, "when upstream confirmed it (UTC)"),
        Column("settled_at", TIMESTAMP, "when an operator settled what was unconfirmed or refused (UTC)"),
    ],
    ("call_id", "decision_id"),
)

RECONCILIATION = Table(
    "reconciliation",
    "One row a day: what the source says exists, what the tables say, and what the bucket really holds.",
    (
        _CALL_DATE,
        Column("verdict", STRING, _list_values(DayVerdict), nullable=False),
        Column("listed_total", INT64, "distinct calls of the proved list that this day keeps; null without a proof"),
        Column("stats_total", INT64, "what upstream's statistics say, where readable; weighs nothing"),
        Column("calls", INT64, "rows of the table calls", nullable=False),
        Column("erased", INT64, "calls of the day that were erased on request", nullable=False),
        Column("recordings_expected", INT64, "calls but those that were not recorded", nullable=False),
        Column("recordings_archived", INT64, "verified and in the bucket", nullable=False),
        Column("recordings_pending", INT64, "not there yet, or not yet tried", nullable=False),
        Column("recordings_lost", INT64, "gone upstream before they were archived", nullable=False),
        Column("recordings_failed", INT64, "tried and not verified, or refused", nullable=False),
        Column(
            "objects_in_bucket", INT64, "audio objects that a listing of the bucket shows for the day", nullable=False
        ),
        Column("bytes_in_bucket", INT64, "their size together", nullable=False),
        Column("transcripts_expected", INT64, "calls but those without a transcript", nullable=False),
        Column("transcripts_kept", INT64, "transcripts with their text", nullable=False),
        Column("transcripts_pending", INT64, "not there yet, or not yet asked for", nullable=False),
        Column("utterances", INT64, "rows of the table utterances", nullable=False),
        Column("problems", STRING_LIST, "what is wrong or was odd, a sentence each", nullable=False),
        Column("checked_at", TIMESTAMP, "when the check began, before anything was read (UTC)", nullable=False),
        Column("audio_seconds", FLOAT64, "the length of the archived recordings together"),
        Column("api_requests", INT64, "API requests of the run until then; null where the run was not the daily one"),
    ),
    ("call_date",),
)

CALL_EVENTS = _table(
    "call_events",
    "What happened in each call, with KROS_CALL_EVENTS=on: one row an event, or one without `event` if there is none.",
    [
        Column("event_index", INT64, "0 for the first event of the call, in upstream's order", nullable=False),
        Column("event", STRING, "the event's name as upstream gives it; null: upstream has no events of the call"),
        Column("occurred_at", TIMESTAMP, "when it happened (UTC)"),
        Column("hangup_cause", STRING, "why the call ended, in the event that says it"),
        Column("extra", STRING, "JSON of every other field of the event; never a recording's URL"),
        Column("asked_at", TIMESTAMP, "when upstream answered (UTC)", nullable=False),
    ],
    ("call_id", "event_index"),
)

TABLES = {
    table.name: table
    for table in (
        CALLS,
        RECORDINGS,
        TRANSCRIPTS,
        UTTERANCES,
        FLAGGED_CALLS,
        RETENTION_EXTENSIONS,
        RECONCILIATION,
    )
}
# Tables that a setting turns on: a day may lack them, and they weigh nothing in its verdict.
OPTIONAL_TABLES = {CALL_EVENTS.name: CALL_EVENTS}
ALL_TABLES = TABLES | OPTIONAL_TABLES
