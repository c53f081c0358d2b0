"""Owns keeping all processes of a shown run alive: tells of one that ended, and starts it again.

Must not be used where they are ended on purpose, as tests of faults do.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from deploy.local.errors import LaunchError

FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_STEADY_S: Final = 60.0


class Kept(Protocol):
    """A process that is to run: a service, or a server of ours."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def log_path(self) -> Path:
        """Where it logs."""

    async def ended(self) -> int | None:
        """Wait for its end; the exit code, or the number of a signal below zero, if known."""

    async def start(self) -> None:
        """Start it. Raises: LaunchError when it cannot be."""


@asynccontextmanager
async def kept_running(
    processes: Iterable[Kept],
    tell: Callable[[str], None],
    *,
    first_pause_s: float = FIRST_PAUSE_S,
) -> AsyncIterator[None]:
    """Start again what ends inside the block, after pauses that grow to 30 s."""
    keepers = [asyncio.create_task(_keep(one, tell, first_pause_s)) for one in processes]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep(process: Kept, tell: Callable[[str], None], first_pause_s: float) -> None:
    loop = asyncio.get_running_loop()
    pause_s = first_pause_s
    while True:
        started_at = loop.time()
        code = await process.ended()
        if loop.time() - started_at > _STEADY_S:
            pause_s = first_pause_s
        # At Ctrl-C the services end too, a little before this does: that is nothing to tell.
        await asyncio.sleep(pause_s)
        tell(f"{process.name} ended {_how(code)}, and is started again; see {process.log_path}")
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        try:
            await process.start()
        except LaunchError as error:
            tell(str(error))


def _how(code: int | None) -> str:
    if code is None:
        return "with whoever watched it"
    return f"with exit code {code}" if code >= 0 else f"by signal {-code}"
