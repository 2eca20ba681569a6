"""Serve KrosAI for benchmarks: the sandbox's API with every call rendered, and a storage with every recording ready.

The sandbox renders a call and makes a recording's bytes on request, which would use the CPU that the contestants are
measured on. Here every recording is the beginning of one long recording.
"""

from __future__ import annotations

import asyncio
import gc
from typing import ClassVar

from kros_pipeline.sandbox import KrosaiSimulator, SandboxConfig, tls
from kros_pipeline.sandbox.api import Api
from kros_pipeline.sandbox.control import CONTROL_PATH, Control
from kros_pipeline.sandbox.http_server import Answer, Request, listen
from kros_pipeline.sandbox.mp3 import FRAME_BYTES, mp3_audio
from kros_pipeline.sandbox.processes import receive_config, report_ready
from kros_pipeline.sandbox.rendering import Renderer
from kros_pipeline.sandbox.world import World


class Source(KrosaiSimulator):
    """The sandbox's simulator with a faster storage."""

    module: ClassVar[str] = "benchmarks.source"


class _Storage:
    """Serves whole recordings after the delay."""

    def __init__(self, world: World) -> None:
        self._world = world
        calls = world.list_final_calls()
        longest = max((call.audio_frames for call in calls), default=1)
        # Each call's audio begins one frame later than the last one's: no two calls have the same bytes.
        self._first_frames = {call.id: number for number, call in enumerate(calls)}
        self._audio = mp3_audio(world.config.seed, "any call", longest + len(calls))

    def __call__(self, request: Request) -> Answer:
        world = self._world
        world.counters.storage_requests += 1
        call = world.find(request.path.removeprefix("/recordings/").removesuffix(".mp3"))
        if call is None:
            return Answer(404)
        first = self._first_frames[call.id]
        body = self._audio[first * FRAME_BYTES : (first + call.audio_frames) * FRAME_BYTES]
        headers = {"Accept-Ranges": "bytes", "Last-Modified": "Fri, 10 Jan 2025 10:00:00 GMT"}
        delay_seconds = world.fault_injector.faults.storage_latency_seconds
        if request.method == "HEAD":
            return Answer(200, b"", "audio/mpeg", headers, delay_seconds, declared_bytes=len(body))
        return Answer(200, body, "audio/mpeg", headers, delay_seconds)


async def _serve(config: SandboxConfig, token: str, tls_folder: str | None) -> None:
    world = World(config)
    renderer = Renderer(world)
    api, storage, control = Api(world, renderer), _Storage(world), Control(world, token)

    def answer(request: Request) -> Answer:
        return control(request) if request.path.startswith(CONTROL_PATH) else api(request)

    context = tls.server_context(tls_folder) if tls_folder else None
    scheme = "https" if context else "http"
    api_port = await listen(answer, context)
    world.storage_origin = f"{scheme}://127.0.0.1:{await listen(storage, context)}"
    for call in world.list_final_calls():
        renderer.render(call)  # which caches its result
    gc.collect()
    gc.freeze()
    report_ready({"origin": f"{scheme}://127.0.0.1:{api_port}", "storage_origin": world.storage_origin})
    await asyncio.Event().wait()


def main() -> None:
    """Read the configuration from the parent and serve."""
    config = receive_config()
    asyncio.run(_serve(SandboxConfig.from_json(config["config"]), config["token"], config["tls_folder"]))


if __name__ == "__main__":
    main()
