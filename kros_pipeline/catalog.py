"""What Dagster's catalog shows of each asset: owner, personal data, where it is in the bucket, and its columns."""

from typing import Any

import dagster as dg

from .core.object_keys import AUDIO, table_prefix
from .core.schemas import CALLS, RECORDINGS, TRANSCRIPTS, UTTERANCES, Table

OWNERS = ["team:call-archive"]
_PERSONAL_DATA = {
    CALLS.name: "phone-numbers-and-speech",
    RECORDINGS.name: "voices",
    TRANSCRIPTS.name: "speech",
    UTTERANCES.name: "speech",
}


def personal_data_tags(table: Table) -> dict[str, str]:
    """Return the tag `pii` of a table with personal data, and of the audio that `recordings` archives."""
    return {"pii": _PERSONAL_DATA[table.name]} if table.name in _PERSONAL_DATA else {}


def place_metadata(archive_url: str | None, table: Table | None = None) -> dict[str, Any]:
    """Return where a table is in the bucket, or the archive where none is named; nothing where no URL is set.

    A bad URL is shown as it is set: a run says what is wrong with it.
    """
    if not archive_url or not archive_url.strip():
        return {}
    root = archive_url.strip().rstrip("/") + "/"
    place = {"dagster/uri": root + (table_prefix(table.name) if table is not None else "")}
    return place | ({"audio": root + AUDIO} if table is RECORDINGS else {})


def table_metadata(table: Table) -> dict[str, Any]:
    """Return a table's columns with their descriptions, as Dagster shows them."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=column.type,
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}
