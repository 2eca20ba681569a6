"""The simulator's process: one world, its API (with the control routes) on one port, its storage on another."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from kros_pipeline.sandbox import tls
from kros_pipeline.sandbox.api import Api
from kros_pipeline.sandbox.config import SandboxConfig
from kros_pipeline.sandbox.control import CONTROL_PATH, Control
from kros_pipeline.sandbox.http_server import Answer, Request, listen
from kros_pipeline.sandbox.processes import tell_parent, told_by_parent
from kros_pipeline.sandbox.storage import Storage
from kros_pipeline.sandbox.world import World


async def serve(config: SandboxConfig, token: str, tls_folder: str | None) -> None:
    """Serves until the process ends."""
    world = World(config)
    api, storage, control = Api(world), Storage(world), Control(world, token)

    def answer(request: Request) -> Answer:
        return control(request) if request.path.startswith(CONTROL_PATH) else api(request)

    context = tls.server_context(tls_folder) if tls_folder else None
    scheme = "https" if context else "http"
    api_port = await listen(answer, context)
    world.storage_origin = f"{scheme}://127.0.0.1:{await listen(storage, context)}"
    gc.collect()
    gc.freeze()  # the calls are here to stay: no collection need look at them again
    tell_parent({"origin": f"{scheme}://127.0.0.1:{api_port}", "storage_origin": world.storage_origin})
    await asyncio.Event().wait()


def main() -> None:
    """The child's side of `KrosaiSimulator`."""
    told: dict[str, Any] = told_by_parent()
    asyncio.run(serve(SandboxConfig.from_json(told["config"]), told["token"], told["tls_folder"]))


if __name__ == "__main__":
    main()
