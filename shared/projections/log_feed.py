"""Owns following a service's own log from Postgres, so that its reads stay current without Kafka.

Must not skip: what is missing or different is a named stop.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg

from shared.contracts.envelope import Event, leaf_of, parse_event
from shared.eventstore.reader import HeadSignal, LogReader
from shared.projections.feed import (
    Checkpoint,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)

_POLL_S: Final = 0.05
_SIGNALLED_POLL_S: Final = 0.25
_UNAVAILABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class LogFeed:
    """One log read through its reader, woken by the signal of the writer in this process if any.

    Other processes append too, so the log is looked at now and then in any case.
    """

    def __init__(self, reader: LogReader, signal: HeadSignal | None = None) -> None:
        self._reader = reader
        self._signal = signal
        self._proven: Checkpoint | None = None

    @property
    def log(self) -> str:
        """The log's name."""
        return self._reader.log

    @property
    def dropped(self) -> int:
        """A table holds each position once: none."""
        return 0

    async def read(self, after: Checkpoint, limit: int, wait_s: float) -> FeedBatch:
        """See `Feed.read`. A checkpoint is proven unless the last read here ended at it."""
        try:
            if after != self._proven:
                await self._prove(after)
            bodies = await self._bodies(after.position, limit, wait_s)
            batch = await self._batch(after, bodies, limit)
        except _UNAVAILABLE as error:
            self._proven = None
            raise FeedUnavailableError(repr(error)) from error
        self._proven = batch.end
        return batch

    async def close(self) -> None:
        """Hold nothing back: the pool is not this feed's."""
        self._proven = None

    async def _prove(self, after: Checkpoint) -> None:
        if after.position == 0:
            return
        event = await self._reader.at(after.position)
        if event is None:
            detail = f"the log ends before {self.log}:{after.position}"
            raise FeedStoppedError("other-history", detail)
        if leaf_of(event.body) != after.digest or event.timeline != after.timeline:
            detail = f"{self.log}:{after.position} is not the event that was applied"
            raise FeedStoppedError("other-history", detail)

    async def _bodies(self, position: int, limit: int, wait_s: float) -> list[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            bodies = await self._reader.bodies_after(position, limit)
            left_s = deadline - loop.time()
            if bodies or left_s <= 0:
                return bodies
            if self._signal is None:
                await asyncio.sleep(min(_POLL_S, left_s))
            else:
                await self._signal.wait(position, min(_SIGNALLED_POLL_S, left_s))

    async def _batch(self, after: Checkpoint, bodies: Sequence[bytes], limit: int) -> FeedBatch:
        if not bodies:
            return FeedBatch((), after, after.position)
        events = [
            self._parse(body, position)
            for position, body in enumerate(bodies, start=after.position + 1)
        ]
        last = events[-1]
        if events[0].timeline != after.timeline:
            await self._prove(after)
        head = last.position
        if len(events) == limit:
            head = (await self._reader.head()).position
        digest = leaf_of(last.body)
        end = Checkpoint(self.log, last.position, last.timeline, digest)
        return FeedBatch(events, end, max(head, last.position))

    def _parse(self, body: bytes, position: int) -> Event:
        try:
            event = parse_event(body)
        except ValueError as error:
            raise FeedStoppedError("unreadable", f"{self.log}:{position}: {error}") from error
        if event.position != position:
            detail = f"{self.log}:{position} is missing; next is {event.position}"
            raise FeedStoppedError("gap", detail)
        return event
