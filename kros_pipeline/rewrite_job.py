"""The job `rewrite_days`: gives files that an older version wrote the present columns."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .failures import raise_as_dagster_failure
from .jobs import NO_RETRY, opens_with
from .resources import Archive
from .runbook import runbook_metadata

if TYPE_CHECKING:
    from .operations.rewriting import Rewriting

REWRITE_DAYS = "rewrite_days"
_MAX_SHOWN = 20


class RewritingConfig(dg.Config):
    """Which days are rewritten."""

    days: list[str] = Field(
        default=[], description="Days and ranges, such as 2025-01-10 or 2025-01-01..2025-01-31. None: all days."
    )
    dry_run: bool = Field(default=True, description="Only say which files lack which columns.")


def rewrite_days_job() -> dg.JobDefinition:
    """Make the job that rewrites old files: safe to kill, to launch twice, and beside a running day."""

    @dg.op(name="rewrite")
    def rewrite(context: dg.OpExecutionContext, config: RewritingConfig, archive: Archive) -> None:
        from .operations.rewriting import days_of_tables, rewrite_days
        from .operations.rule_trial import read_days

        with raise_as_dagster_failure(NO_RETRY):
            ctx = archive.open(context)
            if not config.dry_run:
                ctx.prepare_archive(asks_source=False)
            archived = days_of_tables(ctx.store)
            wanted = set(read_days(config.days)) if config.days else set(archived)
            result = rewrite_days(
                [day for day in archived if day in wanted],
                store=ctx.store,
                tables=ctx.tables,
                roles=ctx.settings.speaker_roles,
                dry_run=config.dry_run,
            )
        context.add_output_metadata(_metadata(result, is_dry_run=config.dry_run))
        if result.problems:
            raise dg.Failure(
                description=f"{len(result.problems)} files could not be read or written; the others are done. "
                f"{'; '.join(result.problems[:_MAX_SHOWN])}",
                metadata=runbook_metadata("UnreadablePartition"),
                allow_retries=False,
            )

    @dg.job(
        name=REWRITE_DAYS,
        config=opens_with("rewrite", days=[], dry_run=True),
        description="Gives tables of old days the columns that were added since. KrosAI is not asked; no row is lost.",
    )
    def rewrite_old_days() -> None:
        rewrite()

    return rewrite_old_days


def _metadata(result: "Rewriting", *, is_dry_run: bool) -> dict[str, Any]:
    """Return how many files of each table lacked which columns, and the days."""
    files = {f"files of {name}": f"{count}, without {', '.join(sorted(result.columns[name]))}"
             for name, count in result.files.items()}  # fmt: skip
    shown = ", ".join(map(str, result.changed_days[:_MAX_SHOWN]))
    more = len(result.changed_days) - _MAX_SHOWN
    return {
        "days looked at": result.days,
        "would be rewritten" if is_dry_run else "rewritten": sum(result.files.values()),
        **files,
        "days": f"{shown} and {more} more" if more > 0 else shown or "none",
        "to be looked at": "; ".join(result.problems[:_MAX_SHOWN]) or "nothing",
        **({"dry run": "nothing was changed: set dry_run to false to rewrite them"} if is_dry_run else {}),
    }
