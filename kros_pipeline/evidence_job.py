"""The job `export_evidence`: calls, with what proves that they are as they were archived, for somebody outside."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .failures import raise_as_dagster_failure
from .jobs import NO_RETRY, opens_with
from .partitions import parse_config_day
from .resources import Archive

if TYPE_CHECKING:
    from .operations.evidence import EvidenceResult

EXPORT_EVIDENCE = "export_evidence"
_MAX_SHOWN = 20


class EvidenceConfig(dg.Config):
    """Which calls to export, why, and where to."""

    call_ids: list[str] = Field(default=[], description="The calls' ids, as the table `calls` has them.")
    day: str = Field(default="", description="Or a day like 2025-01-10: all of its calls.")
    reason: str = Field(description="Why, for the audit and the summary; it must name nobody.")
    folder: str = Field(default="", description="A folder on the machine that runs this, where the package is written.")
    as_zip: bool = Field(default=False, description="Write one zip instead of a folder.")
    dry_run: bool = Field(default=True, description="Only show what would be exported. Set it to false to export.")


def export_evidence_job() -> dg.JobDefinition:
    """Make the job that writes an evidence package. It changes nothing in the archive but its audit log."""

    @dg.op(name="export")
    def export(context: dg.OpExecutionContext, config: EvidenceConfig, archive: Archive) -> None:
        from .operations.evidence import EvidenceRequest, export_evidence

        request = EvidenceRequest(
            tuple(config.call_ids), parse_config_day(config.day), config.reason, config.folder, config.as_zip
        )
        with raise_as_dagster_failure(NO_RETRY):
            ctx = archive.open(context)
            result = export_evidence(
                request,
                store=ctx.store,
                tables=ctx.tables,
                tombstones=ctx.tombstones,
                clock=ctx.clock,
                audit_log=ctx.audit_log,
                run_id=ctx.run_id,
                dry_run=config.dry_run,
            )
        context.add_output_metadata(_evidence_metadata(result, is_dry_run=config.dry_run))

    @dg.job(
        name=EXPORT_EVIDENCE,
        config=opens_with("export", call_ids=[], day="", reason="", folder="", as_zip=False, dry_run=True),
        description="Writes calls with their seals, signatures and time-stamps as a package that anybody can check.",
    )
    def export_calls() -> None:
        export()

    return export_calls


def _evidence_metadata(result: "EvidenceResult", *, is_dry_run: bool) -> dict[str, Any]:
    """Return counts, days and where the package is; nothing of what was said."""
    more = len(result.unsealed) - _MAX_SHOWN
    unsealed = ", ".join(result.unsealed[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return {
        "calls": result.calls,
        "recordings": result.recordings,
        "bytes of audio": result.audio_bytes,
        "days": ", ".join(map(str, result.days)),
        "calls that no seal has yet": unsealed or "none",
        "package": result.place or "dry run: nothing was written; set dry_run to false to export",
        "afterwards": "the package is outside the archive: no erasure reaches it; delete it when it is not needed",
    }
