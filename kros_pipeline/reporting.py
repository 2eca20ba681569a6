"""A step within Dagster: what it is given, how its errors fail, and what an operator sees of it afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.object_keys import call_key
from .core.schemas import Table
from .failures import raise_as_dagster_failure, what_to_do
from .partitions import day_of
from .resources import Archive

if TYPE_CHECKING:
    from .steps.report import Report
    from .steps.run_context import RunContext


def table_metadata(table: Table) -> dict[str, Any]:
    """The table's columns with their descriptions, as Dagster shows them."""
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


def sample_table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """A few rows as Dagster shows them; a call's id may be of any length."""
    records = [dg.TableRecord({**row, "call": row["call"][:128]}) for row in rows]
    return dg.TableMetadataValue(records, dg.TableSchema(columns=[dg.TableColumn(name) for name in rows[0]]))


class StepRun:
    """One step of one day: the day, the handles, and a meter of seconds and requests."""

    def __init__(self, day: date, ctx: "RunContext"):
        self.day, self.ctx = day, ctx
        self._began = time.monotonic()
        self._api_requests, self._s3_requests = ctx.api.requests_made, ctx.store.requests_made

    def metadata(self, report: "Report") -> dict[str, Any]:
        """A report as Dagster's metadata. Ids and reasons, no speech, no phone numbers, no URLs."""
        shown: dict[str, Any] = {name.replace("_", " "): count for name, count in report.counts.items()}
        if report.written is not None:
            shown |= {
                "dagster/row_count": report.written.rows,
                "table bytes": report.written.size_bytes,
                "table changed": report.written.changed,
            }
        shown |= {
            "seconds": round(time.monotonic() - self._began, 2),
            "API requests": self.ctx.api.requests_made - self._api_requests,
            "S3 requests": self.ctx.store.requests_made - self._s3_requests,
        }
        if report.problem_count:
            shown["problems"] = report.problem_count
            shown["sample of problems"] = sample_table(
                [{"call": call_key(call_id), "reason": reason} for call_id, reason in report.problems]
            )
        if report.error is not None:
            shown["error"] = str(report.error)
            shown["what to do"] = what_to_do(report.error).value
        return shown

    def materialized(
        self, report: "Report", check_name: str, wrong: str, more: dict[str, Any] | None = None
    ) -> "dg.MaterializeResult[Any]":
        """The materialization with its one check: red, and why, if `wrong` says something."""
        return dg.MaterializeResult(
            metadata=self.metadata(report) | (more or {}),
            check_results=[dg.AssetCheckResult(passed=not wrong, check_name=check_name, description=wrong or None)],
        )


@contextmanager
def step_run(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[StepRun]:
    """Opens the archive for the partition's day. What a step raises becomes a failure of one sentence."""
    day = day_of(context)
    with raise_as_dagster_failure():
        yield StepRun(day, archive.open(context))
