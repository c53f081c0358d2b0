"""Owns waiting until a read model reflects given positions: read your own write.

Must not trust what this process remembers: the answer comes from the checkpoint.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from shared.contracts.names import Position
from shared.projections.read_models import ReadModels, Reflection

_POLL_S: Final = 0.025


class UnknownLogError(ValueError):
    """A position was asked for of a log that this read model does not follow."""


async def wait_for(
    read_models: ReadModels, positions: Iterable[Position], timeout_s: float
) -> bool:
    """Wait until the read model reflects at least these positions; False when time ran out.

    Raises: UnknownLogError, ReadModelUnavailableError, driver errors.
    """
    wanted = tuple(positions)
    unknown = {position.log for position in wanted}.difference(read_models.projection.logs)
    if unknown:
        raise UnknownLogError(f"not followed here: {', '.join(sorted(unknown))}")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        async with read_models.pool.acquire() as connection:
            reached = await read_models.reflection(connection)
        if all(reflects(reached, position) for position in wanted):
            return True
        left_s = deadline - loop.time()
        if left_s <= 0:
            return False
        await read_models.wait_for_advance(min(_POLL_S, left_s))


def reflects(reached: Reflection, wanted: Position) -> bool:
    """Whether what was reached includes a position."""
    at = reached.positions[wanted.log]
    return at.timeline >= wanted.timeline and at.position >= wanted.position
