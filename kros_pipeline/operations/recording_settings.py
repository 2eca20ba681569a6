"""What the organization has set at KrosAI, as far as the archive depends on it."""

from collections.abc import Mapping

from ..steps.run_context import RunContext

RECORDING_ON: Mapping[str, bool] = {"recording_enabled": True, "transcription_enabled": True}


def turn_on_recording(ctx: RunContext) -> Mapping[str, bool]:
    """Has KrosAI record and transcribe calls from now on; returns what it accepted.

    A call may still be placed without recording. Sent once; raises `ApiError`, after which it may have been accepted.
    """
    ctx.api.change_settings(RECORDING_ON)
    return RECORDING_ON
