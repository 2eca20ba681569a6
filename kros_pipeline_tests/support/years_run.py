"""A run over an archive of years: its context, with a source that has nothing more."""

from __future__ import annotations

from datetime import UTC, datetime

from kros_pipeline.core.clock import Clock
from kros_pipeline.source.call_source import CallSource
from kros_pipeline.steps.run_context import RunContext, open_run_context
from kros_pipeline_tests.support.clocks import clock_without_waits
from kros_pipeline_tests.support.fake_call_source import FakeCallSource
from kros_pipeline_tests.support.years_store import YearsStore

NOW = datetime(2025, 1, 20, tzinfo=UTC)  # the last day of a `YearsStore` is over its grace days


def open_years_run(store: YearsStore, source: CallSource | None = None, **settings: str) -> RunContext:
    """Open a run whose archive is claimed. The waits of its clock take no time. Requests are counted from here on."""
    clock: Clock = clock_without_waits(lambda: NOW)
    environment = {
        "KROSAI_API_KEY": "kros_test_years",
        "KROS_ARCHIVE_URL": f"s3://{store.bucket}/{store.full_key('').rstrip('/')}",
        "KROS_ERASURE_KEY": "a key of the tests, long enough for them",
        "KROSAI_RETENTION_DAYS": "90",
        "KROS_DOWNLOAD_WORKERS": "8",
    }
    store.claim()
    ctx = open_run_context(environment | settings, clock=clock, open_archive=lambda _: (store, store))
    ctx.source.close()
    ctx.source = source or FakeCallSource((), clock)
    store.forget_requests()
    return ctx
