"""Serve the metrics: a small process beside the pipeline that needs to read one object of the archive, and no more."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_wsgi_server

from ..archive.governance import Governance
from ..archive.object_store import ObjectStore
from ..archive.s3_governance import open_s3
from ..archive.settings import ArchiveSettings, parse_archive_settings
from ..core.errors import LocalFault
from ..core.settings import BadSettings, SettingsReader
from ..steps.metrics_settings import METRICS_ADDRESS
from ..steps.settings import SETTINGS
from .metrics import LookCollector


def start_metrics_server(
    texts: Mapping[str, str | None],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    open_archive: Callable[[ArchiveSettings], tuple[ObjectStore, Governance]] = open_s3,
) -> tuple[WSGIServer, Thread]:
    """Start to serve `/metrics` in a thread; return the server, which knows its port, and the thread.

    `texts` are the settings by name, as the environment has them; the API's are not needed, and not read. Raises
    `BadSettings`, and `LocalFault` where the address cannot be listened at.
    """
    reader = SettingsReader(texts)
    archive = parse_archive_settings(reader)
    host, port = reader.value(METRICS_ADDRESS)
    reader.refuse_unknown_names(SETTINGS)
    if reader.problems:
        raise BadSettings(reader.problems)
    store, _ = open_archive(archive)
    registry = CollectorRegistry()  # of its own: the library's has this process's memory and garbage collection
    registry.register(LookCollector(store, now))
    try:
        return start_wsgi_server(port, host, registry)
    except OSError as error:
        raise LocalFault(f"{METRICS_ADDRESS.name}: {host}:{port} cannot be listened at ({error.strerror}).") from None
