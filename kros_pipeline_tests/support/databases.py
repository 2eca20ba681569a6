"""PostgreSQL and Redis for the tests: running ones where they can be used, otherwise own ones on free ports.

A running server is named by KROS_TEST_POSTGRES_URL or KROS_TEST_REDIS_URL, or answers on its standard port of this
machine. It is left as it was found: tests use a database of their own. Otherwise Debian's packages are installed where
the account is root, and started in a folder that ends with the context.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg2
import redis
from sqlalchemy.engine import URL, make_url

from kros_pipeline_tests.support.debian import ProgramMissing, need_program
from kros_pipeline_tests.support.s3_servers import free_ports

_START_SECONDS = 60.0
_REDIS_DATABASES = 16  # unless its configuration says otherwise


@contextmanager
def postgres() -> Iterator[URL]:
    """Yield the URL of an empty database, which is dropped afterwards."""
    with ExitStack() as stack:
        server = _running_postgres() or stack.enter_context(_own_postgres())
        name = f"kros_test_{uuid.uuid4().hex[:12]}"
        _execute(server, f'CREATE DATABASE "{name}"')
        try:
            yield server.set(database=name)
        finally:
            _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of an empty database of a Redis, which is emptied afterwards: Celery leaves keys in it."""
    with ExitStack() as stack:
        server = _running_redis() or stack.enter_context(_own_redis())
        url, client = _empty_database(server)
        with closing(client):
            try:
                yield url
            finally:
                client.flushdb()


def _empty_database(server: str) -> tuple[str, redis.Redis]:
    for number in reversed(range(_REDIS_DATABASES)):
        url = make_url(server).set(database=str(number)).render_as_string(hide_password=False)
        client = redis.Redis.from_url(url)
        if not client.dbsize():
            return url, client
        client.close()
    raise RuntimeError("each database of the Redis has keys: name another server in KROS_TEST_REDIS_URL")


def _running_postgres() -> URL | None:
    """Return the server that the environment names, or one on the standard port that lets us in."""
    if named := os.environ.get("KROS_TEST_POSTGRES_URL"):
        return make_url(named)
    for password in (None, "postgres"):
        url = URL.create("postgresql", "postgres", password, "127.0.0.1", 5432, "postgres")
        try:
            _execute(url, "SELECT 1")
        except psycopg2.Error:
            continue
        return url
    return None


def _running_redis() -> str | None:
    if named := os.environ.get("KROS_TEST_REDIS_URL"):
        return named
    url = "redis://127.0.0.1:6379/0"
    return url if _answers_ping(url) else None


def _execute(server: URL, statement: str) -> None:
    address = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(address, connect_timeout=5)) as connection:
        connection.autocommit = True  # databases are not created in transactions
        connection.cursor().execute(statement)


def _answers_ping(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@contextmanager
def _own_postgres() -> Iterator[URL]:
    """Start a server of our own. It refuses to run as root, so that root starts it as Debian's user `postgres`."""
    programs = _postgres_programs()
    [port] = free_ports(1)
    is_root = os.geteuid() == 0
    as_user = ["runuser", "-u", "postgres", "--"] if is_root else []
    with tempfile.TemporaryDirectory(prefix="kros-postgres-", ignore_cleanup_errors=True) as folder:
        if is_root:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = str(Path(folder, "data"))
        made = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([*as_user, *made], check=True, capture_output=True, cwd=folder)
        serve = [str(programs / "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        with _serving([*as_user, *serve], folder):
            url = URL.create("postgresql", "postgres", "", "127.0.0.1", port, "postgres")
            _wait_until(lambda: _is_open(url), "PostgreSQL", Path(folder, "log"))
            yield url


def _postgres_programs() -> Path:
    """Return the folder of `initdb` and `postgres`: Debian keeps them out of PATH."""

    def found() -> list[Path]:
        versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
        return sorted(versions, key=lambda path: float(path.parts[-3]))

    if (in_path := shutil.which("initdb")) is not None:
        return Path(in_path).resolve().parent
    if not found():
        need_program("psql", "postgresql")
    if not found():
        raise ProgramMissing("PostgreSQL's server is missing. On Debian and Ubuntu: apt install postgresql")
    return found()[-1].parent


def _is_open(url: URL) -> bool:
    try:
        _execute(url, "SELECT 1")
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def _own_redis() -> Iterator[str]:
    program = need_program("redis-server", "redis-server")
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="kros-redis-") as folder:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        with _serving([str(program), "--port", str(port), *options], folder):
            url = f"redis://127.0.0.1:{port}/0"
            _wait_until(lambda: _answers_ping(url), "Redis", Path(folder, "log"))
            yield url


@contextmanager
def _serving(command: list[str], folder: str) -> Iterator[None]:
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()  # `runuser` passes it on
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until(is_ready: Callable[[], bool], name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not start: {log.read_text(errors='replace')[-1000:]}")
        time.sleep(0.1)
