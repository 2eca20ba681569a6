"""Jobs that only an operator launches: no schedule, no sensor, and nothing starts them again."""

import dagster as dg

from .failures import HANDLED
from .resources import Archive
from .steps.upstream_settings import turn_on_recording

TURN_ON_RECORDING = "turn_on_recording"


def turn_on_recording_job() -> dg.JobDefinition:
    """One request to KrosAI, sent once."""

    @dg.op(name="change_settings_at_krosai")
    def change_settings(context: dg.OpExecutionContext, archive: Archive) -> None:
        try:
            accepted = turn_on_recording(archive.open(context))
        except HANDLED as error:
            raise dg.Failure(
                description=f"{error} Nothing tries it again: mend the cause, and launch the job once more.",
                allow_retries=False,
            ) from None
        context.add_output_metadata(dict(accepted))

    @dg.job(
        name=TURN_ON_RECORDING,
        description="Has KrosAI record and transcribe the organization's calls from now on (PATCH /settings, once).",
    )
    def turn_on() -> None:
        change_settings()

    return turn_on
