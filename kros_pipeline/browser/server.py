"""Serve the reviewer's page: `make browse`."""

import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import uvicorn

from ..archive.identity import FORMAT
from ..archive.json_objects import read_json
from ..archive.object_store import ObjectStore
from ..archive.s3_governance import open_s3
from ..archive.settings import ArchiveSettings, parse_archive_settings
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.browse_settings import BrowseSettings, parse_browse_settings
from ..core.clock import Clock
from ..core.errors import WrongArchive
from ..core.object_keys import ARCHIVE_IDENTITY
from ..core.settings import BadSettings, Setting, SettingsReader
from .app import Listen, make_app
from .index_builder import has_fts5
from .index_cache import own_folder, protect
from .review_form import BadForm, read_form

_GRACEFUL_SECONDS = 3
_SOCKET_MODE = 0o660
_MAX_REQUESTS = 400  # at once; more are refused with 503


def open_listen(
    texts: Mapping[str, str | None],
    *,
    declared: Iterable[Setting[Any]],
    caches: Path,
    local_user: str,
    clock: Clock,
    open_archive: Callable[[ArchiveSettings], ObjectStore] = lambda settings: open_s3(settings)[0],
) -> tuple[Listen, BrowseSettings]:
    """Read the settings, look at the archive, and make the application. The archive is not written.

    `declared` are all settings of the project: other names are refused. `caches` is this machine's folder of caches.
    Raises `BadSettings` with every problem, and `ArchiveError` where the archive cannot be used.
    """
    reader = SettingsReader(texts)
    archive, settings = parse_archive_settings(reader), parse_browse_settings(reader)
    reader.refuse_unknown_names(declared)
    form = None
    try:
        form = read_form(Path(settings.review_form) if settings.review_form else None)
    except BadForm as error:
        reader.add_problem(str(error))
    if not has_fts5():
        reader.add_problem("This Python's SQLite has no FTS5, with which the page searches: use another Python.")
    base = Path(settings.cache) if settings.cache else caches / "kros_pipeline"
    folder = own_folder(base, f"s3://{archive.bucket}/{archive.prefix}")
    try:
        protect(folder)
    except OSError as error:
        reader.add_problem(f"KROS_BROWSE_CACHE ({folder}) cannot be used: {error.strerror}.")
    if reader.problems or form is None:
        raise BadSettings(reader.problems)
    store = open_archive(archive)
    tombstones = Tombstones(store, archive.erasure_key, clock)
    tombstones.check_key()
    _refuse_other_format(store)
    listen = make_app(
        store=store,
        tables=Tables(store, tombstones),
        tombstones=tombstones,
        settings=settings,
        form=form,
        cache_folder=folder,
        local_user=local_user,
        clock=clock,
    )
    return listen, settings


def _refuse_other_format(store: ObjectStore) -> None:
    """Raise `WrongArchive` where another version of the software wrote the archive: tombstones may lie elsewhere."""
    stored = read_json(store, ARCHIVE_IDENTITY)
    if stored is not None and stored.get("format") != FORMAT:
        raise WrongArchive(
            f"{store.url(ARCHIVE_IDENTITY)} has format {stored.get('format')}, and this version reads {FORMAT}. Run "
            "one day with this version first, which migrates an older archive, or use the version that wrote it."
        )


def serve(listen: Listen, settings: BrowseSettings, say: Callable[[str], None]) -> None:
    """Serve until an interrupt comes. Port 0 is a free one; `say` gets the address. Raises `OSError`."""
    is_unix = settings.is_unix_socket
    with _bound_to_path(settings.host) if is_unix else _bound(settings.host, settings.port) as listening:
        listening.listen()  # a browser that is opened at once waits, and is not refused
        say(f"Listen is on {_address_of(listening)} until Ctrl-C.")
        config = uvicorn.Config(
            listen.app,
            access_log=False,  # addresses have what was searched for
            log_level="warning",
            proxy_headers=False,  # who asks is the peer of the connection, whatever a header says
            server_header=False,
            limit_concurrency=_MAX_REQUESTS,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    return listening


def _bound_to_path(path: str) -> socket.socket:
    """Make a Unix socket that its user and group can open. One that an ended process left is replaced."""
    if Path(path).is_socket():
        Path(path).unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    Path(path).chmod(_SOCKET_MODE)
    return listening


def _address_of(listening: socket.socket) -> str:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"http://[{name[0]}]:{name[1]}" if listening.family == socket.AF_INET6 else f"http://{name[0]}:{name[1]}"
