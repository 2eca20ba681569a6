"""The job `erase_calls`: what an operator orders, and what the run reports in return; nothing in it names somebody."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from .failures import raise_as_dagster_failure
from .jobs import NEVER_REPEATED, NO_RETRY, opens_with
from .resources import Archive

if TYPE_CHECKING:
    from .operations.erasure_request import ErasureResult

ERASE_CALLS = "erase_calls"
_MAX_SHOWN = 200
NOT_REACHED = (
    "Backups and copies of the bucket, what analysts took out of it, evidence packages that were exported, the search "
    "index of a reviewer's page that is not running (it has transcripts: start the page, which builds it anew, or "
    "delete this archive's folder below KROS_BROWSE_CACHE), access logs of AWS, ids of calls in Dagster's event log, "
    "and this run's own config: delete the run, or pass the number as {env: NAME}. Dagster holds no number, text or "
    "audio of a call otherwise."
)
PROOF = "the search found nothing"
PROOF_COVERS = (
    "the ids of the calls, their keys and digests, and the number wherever it is one of a call's two numbers, in every "
    "form. Not: numbers that were spoken, near matches that were not named, and what follows below"
)


class ErasureConfig(dg.Config):
    """What to erase: calls by id, or all calls from or to one number.

    A text may be given as `{env: NAME}`: then the run reads the variable, and Dagster stores its name only.
    """

    call_ids: list[str] = Field(default=[], description="The calls' ids, as the table `calls` has them.")
    phone_number: str = Field(default="", description="Or a number: all calls from or to it. {env: NAME} keeps it out.")
    reason: str = Field(description="Why, for the audit; it must name nobody.")
    candidates: list[str] = Field(
        default=[], description="Near matches of the number that are meant, too, as a dry run names them."
    )
    stop_number: bool = Field(default=False, description="Do not archive later calls of the number, either.")
    delete_upstream: bool = Field(default=False, description="Have KrosAI delete the recordings, too; once, for good.")
    full_search: bool = Field(
        default=False,
        description="Search every version of every object of the archive, not only what the calls' days, the days "
        "beside them and the tables of all days have. It takes hours with years of calls, in a dry run, too. Launched "
        "again after it was killed, the job goes on where it was.",
    )
    dry_run: bool = Field(default=False, description="Only say what would be touched.")


def erase_calls_job(tags: Mapping[str, str] | None = None) -> dg.JobDefinition:
    """Make the job that erases on request: safe to launch twice, beside a running day, and after it was killed."""

    @dg.op(name="erase")
    def erase(context: dg.OpExecutionContext, config: ErasureConfig, archive: Archive) -> None:
        from .operations.erasure import open_eraser
        from .operations.erasure_request import ErasureRequest

        request = ErasureRequest(
            call_ids=tuple(config.call_ids),
            phone_number=config.phone_number,
            reason=config.reason,
            delete_upstream=config.delete_upstream,
            candidates=tuple(config.candidates),
            stop_number=config.stop_number,
            full_search=config.full_search,
        )
        with raise_as_dagster_failure(NO_RETRY):
            result = open_eraser(archive.open(context)).erase(request, dry_run=config.dry_run)
        context.add_output_metadata(_erasure_metadata(result, is_dry_run=config.dry_run))

    @dg.job(
        name=ERASE_CALLS,
        tags={**NEVER_REPEATED, **(tags or {})},
        description="Erases calls from the archive, every version of everything, and searches for what is left.",
        config=opens_with("erase", call_ids=[], phone_number="", reason="", candidates=[], dry_run=True),
    )
    def erase_all() -> None:
        erase()

    return erase_all


def _erasure_metadata(result: "ErasureResult", *, is_dry_run: bool) -> dict[str, Any]:
    """Return counts, days and keys; never the number, which Dagster would store."""
    metadata: dict[str, Any] = {"calls": result.calls, "days": ", ".join(map(str, result.days)) or "none"}
    metadata["near matches"] = _sample([f"{one.name} ({one.day}): {one.reason}" for one in result.candidates])
    not_reached = "; ".join([*result.not_reached, NOT_REACHED])
    searched = "; ".join(result.searched)
    if is_dry_run:
        return metadata | {
            "dry run": "nothing was touched",
            "objects of these calls only": result.versions_deleted,
            "keys of these calls only": _sample(result.owned_keys),
            "objects that hold something of them": len(result.residue),
            "keys that hold something of them": _sample(result.residue),
            "searched": searched,
            "not reached": not_reached,
            "what to do next": _describe_next(result),
        }
    return metadata | {
        "versions deleted": result.versions_deleted,
        "proof": PROOF,
        "searched": searched,
        "the proof covers": PROOF_COVERS,
        "upstream": ", ".join(f"{count} {outcome}" for outcome, count in result.upstream.items()) or "not asked",
        "to be looked at": "; ".join(result.problems) or "nothing",
        "not reached": not_reached,
    }


def _describe_next(result: "ErasureResult") -> str:
    """Return what the operator does after a dry run."""
    sentences = []
    if result.candidates:
        sentences.append(
            f"Look at the {len(result.candidates)} near matches, and write the names of those that are meant into "
            "candidates: the others stay."
        )
    if result.calls or result.candidates:
        sentences.append("Launch again with the same config and dry_run: false. It cannot be undone.")
    if result.days:
        sentences.append("Runs of these days may go on meanwhile.")
    return " ".join(sentences) or "Nothing: no call was found."


def _sample(names: list[str]) -> str:
    more = [f"and {len(names) - _MAX_SHOWN} more"] if len(names) > _MAX_SHOWN else []
    return "; ".join([*names[:_MAX_SHOWN], *more]) or "none"
