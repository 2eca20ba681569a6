"""Parses calls, once, from the raw JSON of KrosAI's list."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from ..core.calls import Call
from ..core.days import names_zone, parse_time
from ..core.json_values import RECORDING_URL_FIELD, canonical_json, finite_number, remove_urls
from ..core.phone_numbers import phone_number_text
from ..core.transcript_shapes import holds_something, read_transcript
from ..core.transcripts import clean_text
from .call_source import ListedCall, TranscriptAnswer, UnparsedRow

_TEXT_FIELDS = (
    "organization_id",
    "status",
    "direction",
    "endpoint_id",
    "phone_number_id",
)
_PHONE_FIELDS = ("from_number", "to_number")
_NUMBER_FIELDS = {"duration": "duration_seconds", "cost_cents": "cost_cents"}
_TIME_FIELDS = ("answered_at", "completed_at")
_FIELDS_OF_COLUMNS = (*_TEXT_FIELDS, *_PHONE_FIELDS, *_NUMBER_FIELDS, *_TIME_FIELDS)
_KNOWN_FIELDS = {"id", "created_at", "transcript", RECORDING_URL_FIELD, *_FIELDS_OF_COLUMNS}
_MAX_COUNT = 1 << 63
TRANSCRIPT_FIELDS = ("transcript", "data", "text", "turns", "messages", "utterances", "segments")
"""The fields of an answer about a transcript that may hold it; only the first is documented."""


class MalformedCall(ValueError):
    """A row of the list that cannot be kept as a call. The message names the field, and never shows its value."""


def parse_rows(
    rows: Iterable[object],
    *,
    organization_id: str | None,
    now: datetime,
    zone: tzinfo | None = None,
    country: str | None = None,
    recording_hosts: Collection[str] = (),
) -> tuple[list[ListedCall], list[UnparsedRow]]:
    """Parse the rows of one page: the calls, and the rows that are none.

    See `parse_listed_call` for `zone`, `country` and `recording_hosts`.
    """
    calls: list[ListedCall] = []
    unparsed: list[UnparsedRow] = []
    for row in rows:
        try:
            calls.append(
                parse_listed_call(
                    row,
                    organization_id=organization_id,
                    now=now,
                    zone=zone,
                    country=country,
                    recording_hosts=recording_hosts,
                )
            )
        except MalformedCall as error:
            fields = row if isinstance(row, Mapping) else {}
            call_id = fields.get("id")
            unparsed.append(
                UnparsedRow(
                    call_id if isinstance(call_id, str) else None,
                    parse_time(fields.get("created_at"), zone or UTC),
                    canonical_json(remove_urls(row, recording_hosts)),
                    str(error),
                )
            )
    return calls, unparsed


def separate_foreign_rows(rows: Iterable[object], organization_id: str | None) -> tuple[list[object], list[str]]:
    """Separate rows of another organization from ours; return ours, and what identifies each of the others.

    A row without an organization is ours, and every row is where no setting names one. One that is no text is compared
    by its JSON. Nothing else of the others is kept: they are somebody else's calls.
    """
    if organization_id is None:
        return list(rows), []
    ours: list[object] = []
    foreign_ids: list[str] = []
    for row in rows:
        if isinstance(row, Mapping) and _organization_of(row) not in ("", organization_id):
            call_id = row.get("id")
            foreign_ids.append(call_id if isinstance(call_id, str) else canonical_json(remove_urls(row)))
        else:
            ours.append(row)
    return ours, foreign_ids


def _organization_of(row: Mapping[str, Any]) -> str:
    """Return the text of a row's organization; empty where it names none."""
    named = row.get("organization_id")
    if named is None:
        return ""
    return (named if isinstance(named, str) else canonical_json(remove_urls(named))).strip()


def parse_listed_call(
    raw: object,
    *,
    organization_id: str | None,
    now: datetime,
    zone: tzinfo | None = None,
    country: str | None = None,
    recording_hosts: Collection[str] = (),
) -> ListedCall:
    """Parse one row of `GET /calls`.

    A row needs an id and a readable `created_at`: without the first it cannot be named, without the second it belongs
    to no day. Any other field of an unexpected type is null in its column, and whole in `extra`. A time without a zone
    is meant in `zone`; where no setting gives it, in UTC. A phone number is normalised, a national one as one of
    `country`; where its text changes by that, `extra` has it as it came. URLs of the `recording_hosts` are kept without
    what grants access. Raises `MalformedCall`.
    """
    if not isinstance(raw, Mapping):
        raise MalformedCall(f"a row of the list is a {type(raw).__name__}, not an object")
    call_id = raw.get("id")
    if not isinstance(call_id, str) or not call_id.strip():
        raise MalformedCall("field 'id' is missing, empty or not a string")
    if call_id != clean_text(call_id):
        raise MalformedCall("field 'id' is not valid Unicode")
    created_at = parse_time(raw.get("created_at"), zone or UTC)
    if created_at is None:
        raise MalformedCall("field 'created_at' is missing or not an ISO 8601 time")

    extra = {key: value for key, value in raw.items() if key not in _KNOWN_FIELDS}
    columns: dict[str, Any] = {}
    for name in _TEXT_FIELDS:
        value = raw.get(name)
        columns[name] = clean_text(value) if isinstance(value, str) else None
        if value is not None and columns[name] is None:
            extra[name] = value
    for name in _PHONE_FIELDS:
        value = raw.get(name)
        columns[name] = phone_number_text(value, country)
        if value is not None and not (isinstance(value, str) and columns[name] == clean_text(value)):
            extra[name] = value
    for name, column in _NUMBER_FIELDS.items():
        columns[column] = finite_number(raw.get(name))
        if raw.get(name) is not None and columns[column] is None:
            extra[name] = raw[name]
    for name in _TIME_FIELDS:
        columns[name] = parse_time(raw.get(name), zone or UTC)
        if raw.get(name) is not None and columns[name] is None:
            extra[name] = raw[name]
    transcript = raw.get("transcript")
    text = read_transcript(transcript, recording_hosts)
    columns["listed_transcript"] = clean_text(text) if text is not None else None
    if transcript is not None and not isinstance(transcript, str) and (text is None or isinstance(transcript, Mapping)):
        extra["transcript"] = transcript
    columns["organization_id"] = columns["organization_id"] or organization_id
    url = raw.get(RECORDING_URL_FIELD)
    recording_url = url if isinstance(url, str) and url.strip() else None

    call = Call(
        call_id=call_id,
        call_date=created_at.date(),
        created_at=created_at,
        has_recording=recording_url is not None,
        extra=canonical_json(remove_urls(extra, recording_hosts)) if extra else None,
        listed_at=now,
        **columns,
    )
    return ListedCall(call, recording_url, has_zone=zone is not None or names_zone(raw["created_at"]))


def parse_transcript_answer(answer: Mapping[str, Any]) -> TranscriptAnswer:
    """Parse the answer about one call's transcript; it may be wrapped in `data`, and need not be a text."""
    inner = answer.get("data")
    fields = inner if isinstance(inner, Mapping) and "transcript" not in answer else answer
    details = {name: fields.get(name, answer.get(name)) for name in ("word_count", "language", "confidence")}
    others = {name: fields[name] for name in TRANSCRIPT_FIELDS if name in fields}
    value = fields.get("transcript", others)
    text, language = read_transcript(value), details["language"]
    is_unread = text is None and holds_something(value)
    return TranscriptAnswer(
        clean_text(text) if text is not None else None,
        parse_count(details["word_count"]),
        clean_text(language) if isinstance(language, str) else None,
        finite_number(details["confidence"]),
        canonical_json(remove_urls(answer)) if is_unread else None,
    )


def parse_count(value: object) -> int | None:
    """Return a count that an int64 column takes; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT else None
