"""Move audio with the pipeline's libraries (requests, obstore, threads) and without any check.

The difference to the pipeline is the cost of its verification.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore
import requests
from obstore.store import S3Store
from requests.adapters import HTTPAdapter


def move(bucket: str, prefix: str, workers: int) -> Generator[None, None, dict[str, Any]]:
    """Move every recording."""
    base_url, endpoint = os.environ["KROSAI_BASE_URL"], os.environ["AWS_ENDPOINT_URL_S3"]
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=workers))
    store = S3Store(
        bucket,
        prefix=prefix,
        config={
            "endpoint": endpoint,
            "region": os.environ["AWS_REGION"],
            "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "virtual_hosted_style_request": False,
        },
        client_options={"allow_http": True},
    )

    def move_one(call: dict[str, Any]) -> None:
        with session.get(call["recording_url"], stream=True, timeout=60) as response:
            response.raise_for_status()
            body = response.raw.read()
        obstore.put(store, f"{call['id']}.mp3", body, use_multipart=False)

    yield
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
    return {"units": moved}
