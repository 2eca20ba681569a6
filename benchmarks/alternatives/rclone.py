"""Move recordings with `rclone copyurl`: one rclone daemon, as many copies at once as the others have threads."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from benchmarks.contest import read_peak_bytes


def find_rclone() -> str | None:
    """Find rclone: the one of the environment (the dev extra brings the newest), else the machine's."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


def move(bucket: str, prefix: str, workers: int) -> Generator[None, None, dict[str, Any]]:
    """Move every recording."""
    base_url = os.environ["KROSAI_BASE_URL"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_SINK_TYPE": "s3",
        "RCLONE_CONFIG_SINK_PROVIDER": "Other",
        "RCLONE_CONFIG_SINK_ENV_AUTH": "true",
        "RCLONE_CONFIG_SINK_ENDPOINT": os.environ["AWS_ENDPOINT_URL_S3"],
        "RCLONE_CONFIG_SINK_FORCE_PATH_STYLE": "true",
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }
    # rclone takes AWS_CA_BUNDLE for all there is, and refuses the source's certificate then; SSL_CERT_FILE serves both.
    environment.pop("AWS_CA_BUNDLE", None)
    program = find_rclone()
    assert program is not None, "rclone is not installed"
    command = [program, "rcd", "--rc-no-auth", "--rc-addr", address]
    daemon = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=workers))
    for _ in range(100):
        try:
            session.post(f"http://{address}/rc/noop", timeout=5).raise_for_status()
            break
        except requests.ConnectionError:
            time.sleep(0.05)

    def move_one(call: dict[str, Any]) -> None:
        to = {"fs": f"sink:{bucket}", "remote": f"{prefix}/{call['id']}.mp3", "url": call["recording_url"]}
        session.post(f"http://{address}/operations/copyurl", json=to, timeout=60).raise_for_status()

    yield
    try:
        moved = offset = 0
        with ThreadPoolExecutor(workers) as pool:
            moves = []
            while True:
                query: dict[str, Any] = {"status": "completed", "limit": 100, "offset": offset}
                page = session.get(
                    f"{base_url}/calls", params=query, headers={"x-api-key": os.environ["KROSAI_API_KEY"]}
                ).json()
                moves += [pool.submit(move_one, call) for call in page["calls"]]
                offset += len(page["calls"])
                if offset >= page["total"]:
                    break
            for each in moves:
                each.result()
                moved += 1
        peak = read_peak_bytes(daemon.pid)
    finally:
        daemon.terminate()
        daemon.wait()
    return {"units": moved, "peak_bytes_beside": peak}
