"""KrosAI for benchmarks: the sandbox's API with every row written, and a storage that has every recording ready.

The sandbox writes a row, and makes a recording's bytes, when it is asked: that would load the same two cores as the
clients. Here a recording is the beginning of one long one.
"""

from __future__ import annotations

import asyncio
import gc

from kros_pipeline.sandbox import tls
from kros_pipeline.sandbox.api import Api
from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.control import CONTROL_PATH, Control
from kros_pipeline.sandbox.http_server import Answer, Request, listen
from kros_pipeline.sandbox.mp3 import FRAME_BYTES, mp3_audio
from kros_pipeline.sandbox.processes import ChildServer, tell_parent, told_by_parent
from kros_pipeline.sandbox.simulator import KrosaiSimulator
from kros_pipeline.sandbox.world import World


class Source(KrosaiSimulator):
    """The handle: as the sandbox's, with another storage."""

    def __init__(self, config: SandboxConfig) -> None:
        super().__init__(config)
        self._child = ChildServer("benchmarks.source")

    def __enter__(self) -> Source:
        super().__enter__()
        return self

    @property
    def tls_folder(self) -> str | None:
        """Where the certificate and its key are."""
        return self._folder.name if self._folder else None


class _Storage:
    """Whole recordings, after the delay."""

    def __init__(self, world: World) -> None:
        self._world = world
        longest = max((call.audio_frames for call in world.truth()), default=1)
        self._audio = mp3_audio(world.config.seed, "any call", longest)

    def __call__(self, request: Request) -> Answer:
        world = self._world
        world.counters.storage_requests += 1
        call = world.find(request.path.removeprefix("/recordings/").removesuffix(".mp3"))
        if call is None:
            return Answer(404)
        body = self._audio[: call.audio_frames * FRAME_BYTES]
        headers = {"Accept-Ranges": "bytes", "Last-Modified": "Fri, 10 Jan 2025 10:00:00 GMT"}
        delay_seconds = world.switchboard.faults.storage_latency_seconds
        if request.method == "HEAD":
            return Answer(200, b"", "audio/mpeg", headers, delay_seconds, declared_bytes=len(body))
        return Answer(200, body, "audio/mpeg", headers, delay_seconds)


async def _serve(config: SandboxConfig, token: str, tls_folder: str | None) -> None:
    world = World(config)
    api, storage, control = Api(world), _Storage(world), Control(world, token)

    def answer(request: Request) -> Answer:
        return control(request) if request.path.startswith(CONTROL_PATH) else api(request)

    context = tls.server_context(tls_folder) if tls_folder else None
    scheme = "https" if context else "http"
    api_port = await listen(answer, context)
    world.storage_origin = f"{scheme}://127.0.0.1:{await listen(storage, context)}"
    for call in world.truth():
        api._renderer.call(call)  # which keeps what it wrote
    gc.collect()
    gc.freeze()
    tell_parent({"origin": f"{scheme}://127.0.0.1:{api_port}", "storage_origin": world.storage_origin})
    await asyncio.Event().wait()


def main() -> None:
    """The child's side of `Source`."""
    told = told_by_parent()
    asyncio.run(_serve(SandboxConfig.from_json(told["config"]), told["token"], told["tls_folder"]))


if __name__ == "__main__":
    main()
