"""The settings as a Dagster resource: texts only, which a run reads in one place before its first request."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from .core.settings import SETTINGS
from .failures import HANDLED, failure

if TYPE_CHECKING:
    from .steps.run_context import RunContext


class Archive(dg.ConfigurableResource[None]):
    """One account of KrosAI and one archive in S3. Each field is the setting of the same name in capitals."""

    krosai_api_key: str = ""
    krosai_auth: str = ""
    krosai_base_url: str = ""
    krosai_organization_id: str = ""
    krosai_plan: str = ""
    krosai_retention_days: str = ""
    krosai_requests_per_second: str = ""
    krosai_requests_per_run: str = ""
    kros_recording_hosts: str = ""
    kros_archive_url: str = ""
    kros_sse: str = ""
    kros_kms_key_id: str = ""
    kros_start_date: str = ""
    kros_lookback_days: str = ""
    kros_transcript_details: str = ""
    kros_flag_rules: str = ""
    kros_download_workers: str = ""
    kros_legal_hold: str = ""
    kros_erasure_key: str = ""
    kros_webhook_url: str = ""

    _ctx: "RunContext | None" = PrivateAttr(default=None)

    def open(self, context: Any) -> "RunContext":
        """The handles of this run, opened once. Raises `dg.Failure` with a sentence for every bad setting."""
        if self._ctx is None:
            from .steps.run_context import open_run_context

            try:
                self._ctx = open_run_context({name: getattr(self, name.lower()) for name in SETTINGS})
            except HANDLED as error:
                raise failure(error) from None
        self._ctx.log = context.log
        if getattr(context, "run", None) is not None:  # a schedule has none
            self._ctx.run_id = context.run.run_id
        return self._ctx

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes what the run opened."""
        if self._ctx is not None:
            self._ctx.close()
            self._ctx = None
