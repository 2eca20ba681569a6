"""The world outside for a benchmark: a source, a sink, and the settings that lead a contestant to them."""

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
class Outside:
    """Both servers, each in a process of its own."""

    source: Source
    sink: Sink
    prefixes: Iterator[int]

    def set_delay(self, seconds: float, *, of_the_sink: bool = True) -> None:
        """Before each answer on both sides, or of the source alone."""
        self.source.set_faults(Faults(api_latency_seconds=seconds, storage_latency_seconds=seconds))
        self.sink.set_delay(seconds if of_the_sink else 0.0)

    def empty(self) -> None:
        """An empty bucket, and counters at zero."""
        self.sink.forget()
        self.source.reset_counters()

    def environment(self) -> dict[str, str]:
        """The settings, with an archive that nobody has written to."""
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
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # as the definitions have it
        }
        if self.source.ca_bundle:
            settings |= {"AWS_CA_BUNDLE": self.source.ca_bundle, "SSL_CERT_FILE": self.source.ca_bundle}
        return settings


@contextmanager
def outside_of(config: SandboxConfig) -> Iterator[Outside]:
    """Both servers, for an account like that."""
    with Source(config) as source, Sink(source.tls_folder) as sink:
        yield Outside(source, sink, count(1))


@contextmanager
def outside(calls: int, audio_seconds: tuple[int, int], *, is_tls: bool = False) -> Iterator[Outside]:
    """`calls` plain calls on the benchmark's day, each recorded and listed with its whole transcript."""
    with outside_of(SandboxConfig(days={DAY: calls}, variety=False, audio_seconds=audio_seconds, tls=is_tls)) as world:
        yield world
