"""Owns a runner's one connection into a generation: one transaction at a time, made again on loss.

Must not be shared between generations.
"""

import asyncio
from datetime import datetime

import asyncpg

from shared.projections import facts
from shared.projections.applying import TRANSIENT, Applied, apply_batch
from shared.projections.checkpoint import lock_checkpoints, note_head, read_checkpoints
from shared.projections.feed import Checkpoint, FeedBatch
from shared.projections.generations import Generation
from shared.projections.projection import Projection
from shared.projections.read_models import ReadModels
from shared.projections.writing import roll_forward


class GenerationWriter:
    """Writes batches of several logs in turn; every method raises TRANSIENT errors as they come."""

    def __init__(
        self, projection: Projection, generation: Generation, read_models: ReadModels
    ) -> None:
        self._projection = projection
        self._generation = generation
        self._read_models = read_models
        self._turn = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def checkpoint(self, log: str) -> Checkpoint:
        """Read how far a log was read."""
        async with self._turn:
            return (await read_checkpoints(await self._connected()))[log]

    async def apply(self, before: Checkpoint, batch: FeedBatch, now: datetime) -> Applied:
        """See `apply_batch`."""
        async with self._turn:
            connection = await self._connected()
            try:
                applied = await apply_batch(connection, self._projection, before, batch, now)
            except TRANSIENT:
                self.drop()
                raise
        self._read_models.announce()
        return applied

    async def note_head(self, log: str, head: int) -> None:
        """Let readers see that there is more than was applied."""
        async with self._turn:
            await note_head(await self._connected(), log, head)

    async def roll_forward(self, now: datetime) -> int:
        """Refresh what has changed by the passing of time; return how many subjects."""
        if not self._projection.facts:
            return 0
        async with self._turn:
            connection = await self._connected()
            if not await facts.due(connection, now, 1):
                return 0
            async with connection.transaction():
                await lock_checkpoints(connection)
                return await roll_forward(connection, self._projection, now)

    def drop(self) -> None:
        """Let the connection go at once; the next call makes a new one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._read_models.connect(self._generation)
        return self._connection
