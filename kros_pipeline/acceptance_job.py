"""The job `accept_quarantined`: an operator makes bodies that are kept in quarantine the recordings of their calls."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .failures import raise_as_dagster_failure
from .jobs import NO_RETRY, opens_with
from .partitions import parse_config_day
from .reporting import sample_table
from .resources import Archive

if TYPE_CHECKING:
    from .operations.acceptance import Acceptance

ACCEPT_QUARANTINED = "accept_quarantined"
_MAX_SHOWN_BODIES = 50


class AcceptanceConfig(dg.Config):
    """Which kept bodies to accept: those of calls, or of all calls of one day that have no recording."""

    call_ids: list[str] = Field(default=[], description="The calls' ids, as the table `recordings` has them.")
    day: str = Field(default="", description="A day like 2025-01-10: of the calls, or all of its kept bodies.")
    reason: str = Field(description="Why, for the audit; it must name nobody.")
    dry_run: bool = Field(default=True, description="Only show what would be accepted. Set it to false to accept.")


def accept_quarantined_job() -> dg.JobDefinition:
    """Make the job that makes bodies of the quarantine recordings of their calls: safe to launch twice."""

    @dg.op(name="accept")
    def accept(context: dg.OpExecutionContext, config: AcceptanceConfig, archive: Archive) -> None:
        from .operations.acceptance import open_accepter

        day = parse_config_day(config.day)
        with raise_as_dagster_failure(NO_RETRY):
            ctx = archive.open(context)
            ctx.prepare_archive()
            result = open_accepter(ctx).accept(config.call_ids, day, config.reason, dry_run=config.dry_run)
        context.add_output_metadata(_acceptance_metadata(result, is_dry_run=config.dry_run))

    @dg.job(
        name=ACCEPT_QUARANTINED,
        config=opens_with("accept", call_ids=[], day="", reason="", dry_run=True),
        description="Makes bodies that came, were rejected and are kept in quarantine the recordings of their calls.",
    )
    def accept_bodies() -> None:
        accept()

    return accept_bodies


def _acceptance_metadata(result: "Acceptance", *, is_dry_run: bool) -> dict[str, Any]:
    """Return counts, days, keys of calls and why their bodies were rejected."""
    bodies = [
        {"call": body.call_id, "day": str(body.day), "bytes": body.size_bytes, "rejected because": body.why_rejected}
        for body in result.bodies[:_MAX_SHOWN_BODIES]
    ]
    return {
        "calls": len(result.bodies),
        "days": ", ".join(map(str, result.days)),
        "would be accepted" if is_dry_run else "accepted": sample_table(bodies),
        "to be looked at": "; ".join(result.problems) or "nothing",
        **({"dry run": "nothing was changed: set dry_run to false to accept them"} if is_dry_run else {}),
    }
