"""The configs of daily assets that an operator may give to a launch."""

import dagster as dg
from pydantic import Field


class ReconciliationConfig(dg.Config):
    """The config of a launch of `reconciliation`."""

    acknowledged_call_ids: list[str] = Field(
        default=[],
        description="Calls whose recording is known not to be safe, and not to come: they fail the day no more.",
    )


class RecordingsConfig(dg.Config):
    """The config of a launch of `recordings`."""

    call_ids: list[str] = Field(
        default=[],
        description="Only these calls are tried, at once, also where a rejected body of theirs is kept in quarantine.",
    )


class ExtensionsConfig(dg.Config):
    """The config of a launch of `retention_extensions`."""

    dry_run: bool = Field(
        default=False,
        description="Sends nothing and writes nothing: an observation shows what would be sent, and the asset is not "
        "materialized. The assets behind it are skipped.",
    )
    resend: list[str] = Field(
        default=[],
        description="Ids of unconfirmed or refused decisions, or of their calls: this run sends each once more.",
    )
    settle: list[str] = Field(
        default=[],
        description="Ids of unconfirmed or refused decisions, or of their calls, that need nothing any more. What was "
        "unconfirmed is recorded as extended, because you say so.",
    )
