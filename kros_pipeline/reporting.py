"""What an operator sees of a materialization: counts, bytes, seconds, requests, a sample of what went wrong."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from .core.schemas import Table
from .failures import HANDLED, failure, what_to_do
from .steps.report import Report
from .steps.workspace import Workspace


def table_metadata(table: Table) -> dict[str, Any]:
    """The table's columns with their descriptions, as Dagster shows them."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=str(column.type),
            description=column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


class Meter:
    """Seconds and requests of one step."""

    def __init__(self, work: Workspace):
        self._work = work
        self._began = time.monotonic()
        self._api_requests, self._s3_requests = work.api.requests_made, work.store.requests_made

    def metadata(self, report: Report) -> dict[str, Any]:
        """A report as Dagster's metadata. Ids and reasons, no speech, no phone numbers, no URLs."""
        written = report.written
        shown: dict[str, Any] = {name.replace("_", " "): count for name, count in report.counts.items()}
        if written is not None:
            shown |= {
                "dagster/row_count": written.rows,
                "table bytes": written.size_bytes,
                "table changed": written.changed,
            }
        shown |= {
            "seconds": round(time.monotonic() - self._began, 2),
            "API requests": self._work.api.requests_made - self._api_requests,
            "S3 requests": self._work.store.requests_made - self._s3_requests,
        }
        if report.problem_count:
            shown["problems"] = report.problem_count
            shown["sample of problems"] = dg.TableMetadataValue(
                records=[dg.TableRecord({"call": call_id[:128], "reason": reason}) for call_id, reason in report.problems],
                schema=dg.TableSchema(columns=[dg.TableColumn("call"), dg.TableColumn("reason")]),
            )
        if report.error is not None:
            shown["error"] = str(report.error)
            shown["what to do"] = what_to_do(report.error).value
        return shown


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turns what a step raises into a failure of one sentence; the trace stays only with a mistake of ours."""
    try:
        yield
    except HANDLED as error:
        raise failure(error) from None
    except Exception as error:
        raise failure(error) from error
