"""Reporting: one step run inside Dagster, and what an operator sees of it afterwards."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from .core.errors import ApiUnauthorized, ArchiveDenied, ExternalError, MissingTable, UnreadablePartition
from .core.object_keys import call_key
from .core.schemas import CALLS, FLAGGED_CALLS, RECONCILIATION, UTTERANCES, Table
from .failures import WhatToDo, failure, raise_as_dagster_failure, what_to_do
from .partitions import day_of
from .resources import Archive
from .step_checks import check_step

if TYPE_CHECKING:
    from .steps.reconciliation import ReconciliationResult
    from .steps.report import Report
    from .steps.run_context import RunContext

_MAX_SHOWN_ID_CHARACTERS = 128
_OF_THIS_RUN = ("now", "adopted")  # a second run shows 0 of them: they come after what plots well


def sample_table(rows: list[dict[str, Any]]) -> dg.TableMetadataValue:
    """Return a few rows as Dagster shows them. Ids of calls are cut: they may have any length."""
    records = [dg.TableRecord({**row, "call": row["call"][:_MAX_SHOWN_ID_CHARACTERS]}) for row in rows]
    return dg.TableMetadataValue(records, dg.TableSchema(columns=[dg.TableColumn(name) for name in rows[0]]))


class StepRun:
    """One step of one day: the day, the run context, and a meter of seconds and requests."""

    def __init__(self, day: date, ctx: "RunContext", *, is_backfill: bool, log_event: Callable[[Any], None]):
        self.day, self.ctx, self.is_backfill, self._log_event = day, ctx, is_backfill, log_event
        self._began_at = time.monotonic()
        self._api_requests, self._s3_requests = ctx.source.requests_made, ctx.store.requests_made

    def metadata(self, report: "Report") -> dict[str, Any]:
        """Return a report as Dagster's metadata: ids and reasons, no speech, no phone numbers, no URLs."""
        counts = {name.replace("_", " "): count for name, count in report.counts.items()}
        of_this_run = {name: count for name, count in counts.items() if name.endswith(_OF_THIS_RUN)}
        shown: dict[str, Any] = {name: count for name, count in counts.items() if name not in of_this_run}
        if report.written is not None:
            shown |= {
                "dagster/row_count": report.written.rows,
                "table bytes": report.written.size_bytes,
                "table changed": report.written.changed,
            }
        shown |= {
            **of_this_run,
            "seconds": round(time.monotonic() - self._began_at, 2),
            "API requests": self.ctx.source.requests_made - self._api_requests,
            "S3 requests": self.ctx.store.requests_made - self._s3_requests,
        }
        if report.problem_count:
            shown["problems"] = report.problem_count
            shown["sample of problems"] = sample_table(
                [{"call": call_key(call_id), "reason": reason} for call_id, reason in report.problems]
            )
        if report.changes:
            shown["sample of changed calls"] = sample_table(
                [{"call": call_key(call_id), "change": what} for call_id, what in report.changes]
            )
        if report.error is not None:
            shown["error"] = str(report.error)
            shown["what to do"] = what_to_do(report.error).value
        return shown

    def materialize(
        self, report: "Report", check_name: str, problem: str, done: str, extra: dict[str, Any] | None = None
    ) -> "dg.MaterializeResult[Any]":
        """Return the materialization with its one check: red with the `problem`, or green with what was `done`."""
        metadata = self.metadata(report)
        check = check_step(check_name, problem, done, metadata)
        return dg.MaterializeResult(metadata=metadata | (extra or {}), check_results=[check])

    def observe_dry_run(
        self,
        table: Table,
        report: "Report",
        check_name: str,
        problem: str,
        done: str,
        extra: dict[str, Any] | None = None,
    ) -> Iterator[Any]:
        """Yield what a dry run found as an observation, and its check: the day's asset is not materialized."""
        metadata = {"dry run": "nothing was sent, and nothing was written"} | self.metadata(report) | (extra or {})
        yield dg.AssetObservation(table.name, metadata=metadata, partition=self.day.isoformat())
        yield check_step(check_name, problem, done, metadata)

    def reconcile_after_backfill(self, report: "Report") -> None:
        """Write the day's row anew where a backfill has changed a table; nothing is asked.

        Otherwise the row would be about other tables than there are, and the whole day would be run again.
        """
        from .steps.reconciliation import has_reconciliation

        is_changed = report.written is not None and report.written.changed
        if self.is_backfill and is_changed and has_reconciliation(self.ctx.tables, self.day):
            reconcile_failed_day(self.day, self.ctx, log_event=self._log_event, keeps_counters=True)

    def fail_if_person_must_act(self, report: "Report") -> None:
        """Raise where the step met an error that only a person can mend; the day's row says it first.

        What was done before is saved and materialized. Without this, the rest would be pending, and the day `waiting`.
        """
        if report.error is not None and what_to_do(report.error) is WhatToDo.PERSON_MUST_ACT:
            reconcile_failed_day(self.day, self.ctx, log_event=self._log_event, blocked_by=report.error)
            raise failure(report.error)


@contextmanager
def step_run(
    context: dg.AssetExecutionContext, archive: Archive, *, asks_krosai: bool = True, is_dry_run: bool = False
) -> Iterator[StepRun]:
    """Open and prepare the archive for the partition's day. What a step raises becomes a failure of one sentence.

    A step that does not ask KrosAI confirms no unknown key either, so that a backfill of it sends no request.

    Where a table of the day is missing or unreadable, Dagster skips the assets that follow. So the day is reconciled
    here: its row must not say `complete` any longer. Whatever fails, the day's page of `reconciliation` says why.
    """
    day = day_of(context)
    step = context.asset_key.to_user_string()
    try:
        with raise_as_dagster_failure():
            ctx = archive.open(context)
            ctx.quota.begin_day(day)
            run = StepRun(day, ctx, is_backfill=is_backfill(context), log_event=context.log_event)
            ctx.prepare_archive(asks_source=asks_krosai or not run.is_backfill)
            ctx.counts_usage |= not is_dry_run
            try:
                yield run
            except (MissingTable, UnreadablePartition):
                reconcile_failed_day(day, ctx, log_event=context.log_event)
                raise
            except (ApiUnauthorized, ArchiveDenied) as error:
                if step != CALLS.name:  # a list that was not read refutes no earlier proof
                    reconcile_failed_day(day, ctx, log_event=context.log_event, blocked_by=error)
                raise
    except dg.Failure as error:
        context.log_event(observe_failed_step(day, step, error))
        raise


def explain_day(result: "ReconciliationResult") -> dict[str, Any]:
    """Return what explains a day, in this order: verdict, problems, what happens next, and its numbers."""
    return {
        "verdict": result.verdict.verdict.value,
        "problems": "\n".join(result.verdict.problems) or "none",
        "what happens next": result.next_step,
        **{name: number for summary in result.summaries.values() for name, number in summary.numbers.items()},
    }


def observe_day(day: date, result: "ReconciliationResult") -> dg.AssetObservation:
    """Return the observation that explains a day, also where it is incomplete and not materialized."""
    return dg.AssetObservation(
        RECONCILIATION.name,
        partition=day.isoformat(),
        metadata=explain_day(result),
        description=f"{day} is {result.verdict.verdict.value}. {result.next_step}",
    )


def observe_failed_step(day: date, step: str, error: dg.Failure) -> dg.AssetObservation:
    """Return the observation of a day whose run failed before it was reconciled, or while it was."""
    return dg.AssetObservation(
        RECONCILIATION.name,
        partition=day.isoformat(),
        metadata={
            "failed step": step,
            "problems": error.description or "Dagster's log of the run has the reason.",
            **{name.replace("_", " "): value for name, value in error.metadata.items() if name == "what_to_do"},
        },
        description=f"The step {step} of {day} failed.",
    )


def is_backfill(context: dg.AssetExecutionContext) -> bool:
    """Return whether the run makes only turns or flags anew, of what the archive holds."""
    selected = {key.to_user_string() for key in context.run.asset_selection or ()}  # empty: all of the job
    return bool(selected) and selected <= {UTTERANCES.name, FLAGGED_CALLS.name}


def reconcile_failed_day(
    day: date,
    ctx: "RunContext",
    *,
    log_event: Callable[[Any], None],
    blocked_by: ExternalError | None = None,
    keeps_counters: bool = False,
) -> None:
    """Write the row of a day from the archive only, because Dagster runs none of the assets that follow.

    Neither legal holds nor upstream's counters are looked at. With `keeps_counters` the last ones stay.
    """
    from .archive.table_versions import read_checked_tables
    from .core.call_counters import CallCounter
    from .steps.reconciliation import reconcile_day

    try:
        checked = read_checked_tables(ctx.store, day) if keeps_counters else None
        counted = checked.counted if checked is not None else None
        result = reconcile_day(
            day,
            store=ctx.store,
            tables=ctx.tables,
            tombstones=ctx.tombstones,
            clock=ctx.clock,
            lookback_days=ctx.settings.lookback_days,
            retention_days=ctx.settings.source.retention_days,
            counters=[CallCounter(name, count, False) for name, count in counted.counters.items()] if counted else (),
            hold_problems=[],
            api_requests=None if keeps_counters else ctx.source.requests_made,
            blocked_by=f"{str(blocked_by).rstrip('.')}." if blocked_by is not None else "",
        )
        log_event(observe_day(day, result))
    except ExternalError as error:
        ctx.log.warning("%s: a step failed, and the day's row could not be written (%s)", day, error)
