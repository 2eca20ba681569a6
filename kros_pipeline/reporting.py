"""Reporting: one step run inside Dagster, and what an operator sees of it afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.errors import ApiUnauthorized, ArchiveDenied, ExternalError, MissingTable, UnreadablePartition
from .core.object_keys import call_key
from .core.schemas import CALLS, Table
from .failures import WhatToDo, failure, raise_as_dagster_failure, what_to_do
from .partitions import day_of
from .resources import Archive

if TYPE_CHECKING:
    from .steps.report import Report
    from .steps.run_context import RunContext

_MAX_SHOWN_ID_CHARACTERS = 128


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


def sample_table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Return a few rows as Dagster shows them. Ids of calls are cut: they may have any length."""
    records = [dg.TableRecord({**row, "call": row["call"][:_MAX_SHOWN_ID_CHARACTERS]}) for row in rows]
    return dg.TableMetadataValue(records, dg.TableSchema(columns=[dg.TableColumn(name) for name in rows[0]]))


class StepRun:
    """One step of one day: the day, the run context, and a meter of seconds and requests."""

    def __init__(self, day: date, ctx: "RunContext"):
        self.day, self.ctx = day, ctx
        self._began_at = time.monotonic()
        self._api_requests, self._s3_requests = ctx.source.requests_made, ctx.store.requests_made

    def metadata(self, report: "Report") -> dict[str, Any]:
        """Return a report as Dagster's metadata: ids and reasons, no speech, no phone numbers, no URLs."""
        shown: dict[str, Any] = {name.replace("_", " "): count for name, count in report.counts.items()}
        if report.written is not None:
            shown |= {
                "dagster/row_count": report.written.rows,
                "table bytes": report.written.size_bytes,
                "table changed": report.written.changed,
            }
        shown |= {
            "seconds": round(time.monotonic() - self._began_at, 2),
            "API requests": self.ctx.source.requests_made - self._api_requests,
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

    def materialize(
        self, report: "Report", check_name: str, problem: str, extra: dict[str, Any] | None = None
    ) -> "dg.MaterializeResult[Any]":
        """Return the materialization with its one check, which is red where there is a `problem`."""
        return dg.MaterializeResult(
            metadata=self.metadata(report) | (extra or {}),
            check_results=[dg.AssetCheckResult(passed=not problem, check_name=check_name, description=problem or None)],
        )

    def fail_if_person_must_act(self, report: "Report") -> None:
        """Raise where the step met an error that only a person can mend; the day's row says it first.

        What was done before is saved and materialized. Without this, the rest would be pending, and the day `waiting`.
        """
        if report.error is not None and what_to_do(report.error) is WhatToDo.PERSON_MUST_ACT:
            reconcile_failed_day(self.day, self.ctx, blocked_by=report.error)
            raise failure(report.error)


@contextmanager
def step_run(context: dg.AssetExecutionContext, archive: Archive) -> Iterator[StepRun]:
    """Open and prepare the archive for the partition's day. What a step raises becomes a failure of one sentence.

    Where a table of the day is missing or unreadable, Dagster skips the assets that follow. So the day is reconciled
    here: its row must not say `complete` any longer.
    """
    day = day_of(context)
    with raise_as_dagster_failure():
        ctx = archive.open(context)
        run = StepRun(day, ctx)
        ctx.prepare_archive()
        try:
            yield run
        except (MissingTable, UnreadablePartition):
            reconcile_failed_day(day, ctx)
            raise
        except (ApiUnauthorized, ArchiveDenied) as error:
            if context.asset_key.to_user_string() != CALLS.name:  # a list that was not read refutes no earlier proof
                reconcile_failed_day(day, ctx, blocked_by=error)
            raise


def reconcile_failed_day(day: date, ctx: "RunContext", *, blocked_by: ExternalError | None = None) -> None:
    """Write the row of a day whose step fails, because Dagster skips the assets that follow.

    Neither legal holds nor upstream's counters are looked at.
    """
    from .steps.reconciliation import reconcile_day

    try:
        reconcile_day(
            day,
            store=ctx.store,
            tables=ctx.tables,
            tombstones=ctx.tombstones,
            clock=ctx.clock,
            lookback_days=ctx.settings.lookback_days,
            retention_days=ctx.settings.source.retention_days,
            counters=(),
            hold_problems=[],
            api_requests=ctx.source.requests_made,
            blocked_by=f"{str(blocked_by).rstrip('.')}." if blocked_by is not None else "",
        )
    except ExternalError as error:
        ctx.log.warning("%s: a step failed, and the day's row could not be written (%s)", day, error)
