"""Move audio as the script in KrosAI's documentation does: list, download and upload, one call at a time."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import boto3
import requests


def move(bucket: str, prefix: str, most: int) -> Generator[None, None, dict[str, Any]]:
    """Move the first `most` recordings of the list."""
    base_url, headers = os.environ["KROSAI_BASE_URL"], {"x-api-key": os.environ["KROSAI_API_KEY"]}
    s3 = boto3.client("s3")
    yield
    moved = offset = 0
    while moved < most:
        query: dict[str, Any] = {"status": "completed", "limit": 100, "offset": offset}
        response = requests.get(f"{base_url}/calls", params=query, headers=headers)
        response.raise_for_status()
        calls = response.json()["calls"]
        for call in calls[: most - moved]:
            audio = requests.get(call["recording_url"])
            audio.raise_for_status()
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{call['id']}.mp3", Body=audio.content)
            moved += 1
        offset += len(calls)
    return {"units": moved}
