"""Owns keeping the services of a shown run alive: tells of one that ended, and starts it again.

Must not be used where services are ended on purpose, as tests of faults do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from cli.local_estate import ServiceProcess

FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_STEADY_S: Final = 60.0


@asynccontextmanager
async def kept_running(
    services: Iterable[ServiceProcess],
    tell: Callable[[str], None],
    *,
    first_pause_s: float = FIRST_PAUSE_S,
) -> AsyncIterator[None]:
    """Start a service that ends inside the block again, after pauses that grow to 30 s."""
    keepers = [asyncio.create_task(_keep(one, tell, first_pause_s)) for one in services]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep(service: ServiceProcess, tell: Callable[[str], None], first_pause_s: float) -> None:
    loop = asyncio.get_running_loop()
    pause_s = first_pause_s
    while True:
        started_at = loop.time()
        code = await service.ended()
        if loop.time() - started_at > _STEADY_S:
            pause_s = first_pause_s
        # At Ctrl-C the services end too, a little before this does: that is nothing to tell.
        await asyncio.sleep(pause_s)
        tell(f"{service.name} ended {_how(code)}, and is started again; see {service.log_path}")
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        await service.start()


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by signal {-code}"
