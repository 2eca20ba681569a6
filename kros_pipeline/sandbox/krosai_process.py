"""Run the KrosAI simulator (the child of `KrosaiSimulator`): API and control routes on one port, storage on another."""

from __future__ import annotations

import asyncio
import gc

from . import tls
from .api import Api
from .config import SandboxConfig
from .control import CONTROL_PATH, Control
from .http_server import Answer, Request, listen
from .processes import receive_config, report_ready
from .storage import Storage
from .world import World


async def serve(config: SandboxConfig, token: str, tls_folder: str | None) -> None:
    """Serve until the process ends."""
    world = World(config)
    api, storage, control = Api(world), Storage(world), Control(world, token)

    def answer(request: Request) -> Answer:
        return control(request) if request.path.startswith(CONTROL_PATH) else api(request)

    context = tls.server_context(tls_folder) if tls_folder else None
    scheme = "https" if context else "http"
    api_port = await listen(answer, context)
    world.storage_origin = f"{scheme}://127.0.0.1:{await listen(storage, context)}"
    gc.collect()
    gc.freeze()  # the calls stay until the end, so no later collection needs to visit them
    report_ready({"origin": f"{scheme}://127.0.0.1:{api_port}", "storage_origin": world.storage_origin})
    await asyncio.Event().wait()


def main() -> None:
    """Read the configuration from the parent and serve."""
    config = receive_config()
    asyncio.run(serve(SandboxConfig.from_json(config["config"]), config["token"], config["tls_folder"]))


if __name__ == "__main__":
    main()
