"""Owns waiting for something to become true.

Must not wait without a deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], deadline_s: float = 60.0
) -> None:
    """Return once the condition holds. Raises: TimeoutError at the deadline."""
    async with asyncio.timeout(deadline_s):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)
