"""Read the tables of a kros_pipeline archive into pandas, with types that filter right. One file: copy it.

    import kros_tables
    turns = kros_tables.read_table("s3://BUCKET/PREFIX", "utterances", "2025-01-10", "2025-01-31")
    turns[turns.call_date == "2025-01-10"]

In a column of days a text (`"2025-01-10"`), a date and a Timestamp at midnight mean the same day, for every comparison
and `isin`; anything else raises. pandas has no type that does this: see docs/tables.md. A merge needs days on both
sides: mine.call_date.astype(turns.call_date.dtype) makes them of texts, dates or Timestamps. It needs pandas 2.2 or
newer, pyarrow and fsspec, and s3fs for `s3://`.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from os import PathLike
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date32[day]": pa.date32(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
    "list<item: string>": pa.list_(pa.string()),
}


def read_table(
    archive: str | PathLike[str],
    table: str,
    first_day: object = None,
    last_day: object = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read the rows of a table from `first_day` to `last_day`, both included; other days' files are not opened.

    Every column is there, whatever version wrote a day's file: what a file lacks is null. Days without a file have no
    rows. Raises `ValueError` for an unknown table or column and for what is no day, and `FileNotFoundError` where the
    archive has no such table.
    """
    if unknown := set(columns or ()) - set(schema_of(table).names):
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}: it has {', '.join(COLUMNS[table])}")
    first, last = (None if day is None else to_day(day) for day in (first_day, last_day))
    if first is not None and last is not None and last < first:
        raise ValueError(f"the last day {last} is before the first day {first}")
    condition = ds.scalar(True)
    if first is not None:
        condition &= ds.field("dt") >= pa.scalar(first)
    if last is not None:
        condition &= ds.field("dt") <= pa.scalar(last)
    rows = open_table(archive, table).to_table(columns=list(columns or COLUMNS[table]), filter=condition)
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_to_pandas_type)
    return frame


def schema_of(table: str) -> pa.Schema:
    """Return the Arrow schema of a table's files as the newest version writes them. Raises `ValueError`."""
    if table not in COLUMNS:
        raise ValueError(f"there is no table {table!r}: the tables are {', '.join(COLUMNS)}")
    return pa.schema([pa.field(name, _TYPES[type_name]) for name, type_name in COLUMNS[table].items()])


def open_table(archive: str | PathLike[str], table: str) -> ds.Dataset:
    """Open a table as an Arrow dataset of all its columns and the partition `dt`, a date."""
    partition = pa.field("dt", pa.date32())
    filesystem, path = fsspec.core.url_to_fs(f"{str(archive).rstrip('/')}/tables/{table}")
    return ds.dataset(
        path,
        filesystem=filesystem,
        format="parquet",
        schema=pa.schema([*schema_of(table), partition]),
        partitioning=ds.partitioning(pa.schema([partition]), flavor="hive"),
    )


def _to_pandas_type(type_: pa.DataType) -> Any:
    """Return the pandas type of a column; None leaves it to pyarrow (times, fractions)."""
    if pa.types.is_date(type_):
        return DayType()
    return {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}.get(type_)


def to_day(value: object) -> date:
    """Return the day that a text like 2025-01-10, a date or a time at midnight means. Raises `ValueError`."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime):
        is_utc = value.tzinfo is None or not value.utcoffset()
        if is_utc and value.time() == time(0):
            return value.date()
        raise ValueError(f"{value} is a time, and no day of UTC: compare `created_at` with it")
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError(f"{value!r} is no day: write it like 2025-01-10")


class DayType(pd.ArrowDtype):
    """The type of a column of days. Values are dates; `.dt` works. A file that pandas writes of it is any reader's."""

    def __init__(self) -> None:
        super().__init__(pa.date32())

    def construct_array_type(self) -> type["Days"]:
        """Return the class of such a column's values."""
        return Days

    def _get_common_dtype(self, dtypes: list[Any]) -> Any:
        """Return the type of days beside values of these types, as a row of a frame has them; None is any object."""
        return self if all(isinstance(t, pd.ArrowDtype) and t.pyarrow_dtype == pa.date32() for t in dtypes) else None


class Days(pd.arrays.ArrowExtensionArray):
    """Days that compare with texts, dates and times at midnight, and with nothing else."""

    def __init__(self, values: pa.Array | pa.ChunkedArray) -> None:
        super().__init__(values)
        if values.type == pa.date32():  # pandas makes other columns by this class, too: numbers for `.dt.year`
            self._dtype = DayType()

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> "Days":
        return cls(_box(scalars))

    def isin(self, values: Any) -> np.ndarray:
        """Return which days are among `values`. Raises `ValueError` where one of these is no day."""
        wanted = Days(_box(values)) if isinstance(self.dtype, DayType) else values
        found = pd.arrays.ArrowExtensionArray.isin(self, wanted)  # type: ignore[attr-defined]
        return np.asarray(found, dtype=bool)

    def _compare(self, other: Any, operator: str) -> Any:
        if isinstance(other, (pd.Series, pd.Index, pd.DataFrame)):
            return NotImplemented
        if not isinstance(self.dtype, DayType):
            return getattr(super(), operator)(other)
        compared = Days(_box(other)) if pd.api.types.is_list_like(other) else _box([other])[0].as_py()
        if compared is None:
            compared = pd.NA
        return getattr(super(), operator)(compared)

    def __eq__(self, other: object) -> Any:
        return self._compare(other, "__eq__")

    def __ne__(self, other: object) -> Any:
        return self._compare(other, "__ne__")

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, "__lt__")

    def __le__(self, other: Any) -> Any:
        return self._compare(other, "__le__")

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, "__gt__")

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, "__ge__")


def _box(values: Iterable[Any]) -> pa.Array:
    """Return days as Arrow keeps them; missing values stay missing. Raises `ValueError`."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array) and values.type == pa.date32():
        return values
    return pa.array([None if pd.api.types.is_scalar(v) and pd.isna(v) else to_day(v) for v in values], pa.date32())


# What each table has, from the schemas of kros_pipeline; `make tables` writes it.
# >>> generated
COLUMNS: dict[str, dict[str, str]] = {
    "calls": {
        "call_id": "string",
        "call_date": "date32[day]",
        "organization_id": "string",
        "status": "string",
        "direction": "string",
        "from_number": "string",
        "to_number": "string",
        "duration_seconds": "double",
        "cost_cents": "double",
        "endpoint_id": "string",
        "phone_number_id": "string",
        "created_at": "timestamp[us, tz=UTC]",
        "answered_at": "timestamp[us, tz=UTC]",
        "completed_at": "timestamp[us, tz=UTC]",
        "has_recording": "bool",
        "listed_transcript": "string",
        "extra": "string",
        "listed_at": "timestamp[us, tz=UTC]",
    },
    "recordings": {
        "call_id": "string",
        "call_date": "date32[day]",
        "status": "string",
        "reason": "string",
        "object_key": "string",
        "size_bytes": "int64",
        "sha256": "string",
        "duration_seconds": "double",
        "declared_duration_seconds": "double",
        "sample_rate_hz": "int64",
        "channels": "int64",
        "bitrate_bps": "int64",
        "attempts": "int64",
        "archived_at": "timestamp[us, tz=UTC]",
        "upstream_expires_on": "date32[day]",
        "defects": "string",
        "quarantine_key": "string",
        "declared_size_bytes": "int64",
    },
    "transcripts": {
        "call_id": "string",
        "call_date": "date32[day]",
        "status": "string",
        "source": "string",
        "text": "string",
        "word_count": "int64",
        "language": "string",
        "confidence": "double",
        "fetched_at": "timestamp[us, tz=UTC]",
        "reason": "string",
        "asked_at": "timestamp[us, tz=UTC]",
        "upstream_word_count": "int64",
    },
    "utterances": {
        "call_id": "string",
        "call_date": "date32[day]",
        "turn_index": "int64",
        "speaker": "string",
        "speaker_label": "string",
        "text": "string",
        "word_count": "int64",
        "char_start": "int64",
        "char_end": "int64",
        "created_at": "timestamp[us, tz=UTC]",
        "direction": "string",
        "language": "string",
        "start_seconds": "double",
    },
    "flagged_calls": {
        "call_id": "string",
        "call_date": "date32[day]",
        "rule_id": "string",
        "reason": "string",
        "turn_index": "int64",
        "extend_days": "int64",
        "rules_version": "string",
    },
    "retention_extensions": {
        "call_id": "string",
        "call_date": "date32[day]",
        "decision_id": "string",
        "rule_id": "string",
        "requested_days": "int64",
        "sent_days": "int64",
        "status": "string",
        "reason": "string",
        "attempts": "int64",
        "requested_at": "timestamp[us, tz=UTC]",
        "confirmed_at": "timestamp[us, tz=UTC]",
        "settled_at": "timestamp[us, tz=UTC]",
    },
    "reconciliation": {
        "call_date": "date32[day]",
        "verdict": "string",
        "listed_total": "int64",
        "stats_total": "int64",
        "calls": "int64",
        "erased": "int64",
        "recordings_expected": "int64",
        "recordings_archived": "int64",
        "recordings_pending": "int64",
        "recordings_lost": "int64",
        "recordings_failed": "int64",
        "objects_in_bucket": "int64",
        "bytes_in_bucket": "int64",
        "transcripts_expected": "int64",
        "transcripts_kept": "int64",
        "transcripts_pending": "int64",
        "utterances": "int64",
        "problems": "list<item: string>",
        "checked_at": "timestamp[us, tz=UTC]",
        "audio_seconds": "double",
        "api_requests": "int64",
    },
    "call_events": {
        "call_id": "string",
        "call_date": "date32[day]",
        "event_index": "int64",
        "event": "string",
        "occurred_at": "timestamp[us, tz=UTC]",
        "hangup_cause": "string",
        "extra": "string",
        "asked_at": "timestamp[us, tz=UTC]",
    },
}
# <<< generated
