"""Jobs that only an operator launches: no schedule, no sensor, and nothing starts them again."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .failures import raise_as_dagster_failure
from .resources import Archive

if TYPE_CHECKING:
    from .operations.erasure import Erasure

TURN_ON_RECORDING = "turn_on_recording"
ERASE_CALLS = "erase_calls"
_BY_HAND = "nothing tries it again: mend the cause, and launch the job once more"
NOT_REACHED = (
    "Backups and copies of the bucket, what analysts took out of it, access logs of AWS, ids of calls in Dagster's "
    "event log, and this run's own config: delete the run, or pass the number as {env: NAME}. Dagster never held a "
    "call's number, text or audio otherwise."
)


def turn_on_recording_job() -> dg.JobDefinition:
    """One request to KrosAI, sent once."""

    @dg.op(name="change_settings_at_krosai")
    def change_settings(context: dg.OpExecutionContext, archive: Archive) -> None:
        from .operations.recording_settings import turn_on_recording

        with raise_as_dagster_failure(_BY_HAND):
            accepted = turn_on_recording(archive.open(context))
        context.add_output_metadata(dict(accepted))

    @dg.job(
        name=TURN_ON_RECORDING,
        description="Has KrosAI record and transcribe the organization's calls from now on (PATCH /settings, once).",
    )
    def turn_on() -> None:
        change_settings()

    return turn_on


class ErasureConfig(dg.Config):
    """What to erase: calls by id, or all calls from or to one number."""

    call_ids: list[str] = Field(default=[], description="The calls' ids, as the table `calls` has them.")
    phone_number: str = Field(default="", description="Or a number: all calls from or to it. {env: NAME} keeps it out.")
    reason: str = Field(description="Why, for the audit; it must name nobody.")
    delete_upstream: bool = Field(default=False, description="Have KrosAI delete the recordings, too; once, for good.")
    dry_run: bool = Field(default=False, description="Only say what would be touched.")


def erase_calls_job() -> dg.JobDefinition:
    """Erasure on request: safe to launch twice, beside a running day, and after it was killed."""

    @dg.op(name="erase")
    def erase(context: dg.OpExecutionContext, config: ErasureConfig, archive: Archive) -> None:
        from .operations.erasure import erase_calls
        from .operations.erasure_plan import ErasureRequest

        request = ErasureRequest(tuple(config.call_ids), config.phone_number, config.reason, config.delete_upstream)
        with raise_as_dagster_failure(_BY_HAND):
            found = erase_calls(archive.open(context), request, dry_run=config.dry_run)
        context.add_output_metadata(_told(found, config.dry_run))

    @dg.job(
        name=ERASE_CALLS,
        description="Erases calls from the archive, every version of everything, and proves that nothing is left.",
    )
    def erase_all() -> None:
        erase()

    return erase_all


def _told(found: "Erasure", was_dry: bool) -> dict[str, Any]:
    """Counts and days, nobody's name."""
    told: dict[str, Any] = {"calls": found.calls, "days": ", ".join(map(str, found.days)) or "none"}
    if was_dry:
        return told | {
            "dry run": "nothing was touched",
            "objects of these calls alone": found.versions_deleted,
            "objects that hold something of them": len(found.traces),
        }
    return told | {
        "versions deleted": found.versions_deleted,
        "proof": "a search of every version of every object found nothing",
        "upstream": ", ".join(f"{count} {outcome}" for outcome, count in found.upstream.items()) or "not asked",
        "to be looked at": "; ".join(found.problems) or "nothing",
        "not reached": NOT_REACHED,
    }
