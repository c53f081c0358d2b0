"""The least that could be done with a command over HTTP: read it, validate it, answer.

Must stay bare: it is what the registry's command path is held against.
"""

import asyncio
import sys
from importlib import import_module

import orjson
from aiohttp import web

from deploy.local.state_folder import free_ports
from services.registry.services.commands import ChangePhase

_HEADERS = {"Content-Type": "application/json"}


async def _change_phase(request: web.Request) -> web.Response:
    raw = await request.read()
    tree = orjson.loads(raw)
    body = ChangePhase.model_validate_json(raw)
    answer = {
        "id": request.match_info["service"],
        "events": [{"type": "estate.service.phase_changed.v1", "position": "registry:1"}],
        "positions": "registry:1",
        "version": len(tree),
        "phase": body.phase,
    }
    return web.Response(body=orjson.dumps(answer), headers=_HEADERS)


def main(uvloop_folder: str | None = None) -> None:
    """Serve on asyncio's event loop, or on the one that is installed in that folder."""
    app = web.Application()
    app.router.add_post("/v1/services/{service}/change-phase", _change_phase)
    (port,) = free_ports(1)
    print(f"http://127.0.0.1:{port}", flush=True)
    loop = asyncio.new_event_loop() if uvloop_folder is None else _uvloop(uvloop_folder)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=lambda *_: None, loop=loop)


def _uvloop(folder: str) -> asyncio.AbstractEventLoop:
    sys.path.append(folder)
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    return loop


if __name__ == "__main__":
    main(*sys.argv[1:])
