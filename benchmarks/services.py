"""Start the services of a benchmark, a source and a sink, and make the settings with which a contestant uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from benchmarks.sink import BUCKET, Sink
from benchmarks.source import Source
from kros_pipeline.sandbox import Faults, SandboxConfig

DAY = "2025-01-10"


@dataclass
class Services:
    """Both servers, each in its own process."""

    source: Source
    sink: Sink
    prefixes: Iterator[int]

    def set_delay(self, seconds: float, *, includes_sink: bool = True) -> None:
        """Delay each answer of both servers, or only of the source."""
        self.source.set_faults(Faults(api_latency_seconds=seconds, storage_latency_seconds=seconds))
        self.sink.set_delay(seconds if includes_sink else 0.0)

    def clear(self) -> None:
        """Empty the bucket and set all counters to zero."""
        self.sink.clear()
        self.source.reset_counters()

    def environment(self) -> dict[str, str]:
        """Make the settings, with a new, empty archive."""
        settings = {
            **self.source.environment,
            "KROS_ARCHIVE_URL": f"s3://{BUCKET}/run-{next(self.prefixes)}",
            "KROSAI_PLAN": "business",
            "KROSAI_REQUESTS_PER_SECOND": "100000",
            "KROSAI_REQUESTS_PER_RUN": "1000000",
            "KROS_DOWNLOAD_WORKERS": "32",
            "AWS_ENDPOINT_URL_S3": self.sink.endpoint_url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench-secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # these two as `configure_process` sets them
            "MIMALLOC_ALLOW_THP": "0",
        }
        if self.source.ca_bundle:
            settings |= {"AWS_CA_BUNDLE": self.source.ca_bundle, "SSL_CERT_FILE": self.source.ca_bundle}
        return settings


@contextmanager
def start_services_for(config: SandboxConfig) -> Iterator[Services]:
    """Start both servers for this account."""
    with Source(config) as source, Sink(source.tls_folder) as sink:
        yield Services(source, sink, count(1))


@contextmanager
def start_services(calls: int, audio_seconds: tuple[int, int], *, is_tls: bool = False) -> Iterator[Services]:
    """Start both servers with plain calls on one day, each recorded and listed with its whole transcript."""
    config = SandboxConfig(days={DAY: calls}, variety=False, audio_seconds=audio_seconds, tls=is_tls)
    with start_services_for(config) as services:
        yield services
