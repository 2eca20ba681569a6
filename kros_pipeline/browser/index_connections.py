"""Keep SQLite connections to index files open: to open one costs as much as most questions."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

_MAX_IDLE = 256  # files that are open at once; a process may have 1,024
_SETTINGS = "PRAGMA cache_size = -256; PRAGMA mmap_size = 268435456; PRAGMA query_only = 1;"


class IndexConnections:
    """Connections that nobody uses at the moment, the longest unused one closed first. Threads may share it."""

    def __init__(self) -> None:
        self._idle: OrderedDict[Path, list[sqlite3.Connection]] = OrderedDict()
        self._count = 0
        self._lock = Lock()

    @contextmanager
    def borrow(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Lend a connection to a file that never changes. Raises `sqlite3.Error` where the file is not there."""
        connection = self._take(path) or _open(path)
        try:
            yield connection
        except BaseException as error:
            connection.close()
            _delete_if_damaged(path, error)
            raise
        if path.exists():
            self._give_back(path, connection)
        else:
            connection.close()  # an open file outlives its name: one of an erased call must not

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()
            self._count = 0

    def _take(self, path: Path) -> sqlite3.Connection | None:
        with self._lock:
            connections = self._idle.get(path)
            if not connections:
                return None
            self._count -= 1
            return connections.pop()

    def _give_back(self, path: Path, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._idle.setdefault(path, []).append(connection)
            self._idle.move_to_end(path)
            self._count += 1
            while self._count > _MAX_IDLE:
                _, oldest = self._idle.popitem(last=False)
                self._count -= len(oldest)
                for unused in oldest:
                    unused.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    try:
        connection.executescript(_SETTINGS)
    except sqlite3.DatabaseError as error:
        connection.close()
        _delete_if_damaged(path, error)
        raise
    return connection


def _delete_if_damaged(path: Path, error: BaseException) -> None:
    """Delete a damaged or empty file, which the next question builds again; not one that cannot be opened just now."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error):
            path.unlink(missing_ok=True)
