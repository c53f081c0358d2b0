"""Owns what pulls and streams of the change feed share: the read model, the tail, the places.

Must not know HTTP beyond the problems it raises.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from services.notifications.changes.limits import FeedLimits
from services.notifications.changes.tail import ChangeTail
from services.notifications.read_models.change_filter import ChangeFilter, with_all_names
from services.notifications.read_models.changes import (
    ChangePage,
    ForeignCursorError,
    check_history,
    read_changes,
)
from services.notifications.read_models.cursor import Vector
from shared.http.problems import OVERLOADED, Problem, define_problem
from shared.projections.awaiter import reflects, wait_for
from shared.projections.projection import Connection
from shared.projections.read_models import ReadModels, Reflection
from shared.reads.reading import database_needed

FOREIGN_CURSOR: Final = define_problem(
    "foreign-cursor",
    410,
    "The cursor is of a history that no longer holds",
    "The log was restored to an earlier point since and has gone on from there, or the cursor is "
    "of another estate. Take stock of what you hold of that log, then go on from the last position "
    "that is still right, or from 0.",
)


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and what it reflects."""

    page: ChangePage
    reflection: Reflection


class ChangeFeed:
    """The change feed of one process. Start it after its read models, stop it before them."""

    def __init__(self, read_models: ReadModels, limits: FeedLimits | None = None) -> None:
        self.limits = limits or FeedLimits()
        self.tail = ChangeTail(read_models, self.limits)
        self._read_models = read_models
        self._catching_up = asyncio.Semaphore(self.limits.catch_up_at_once)
        self._streams = 0

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return self._streams

    async def start(self) -> None:
        """Begin to look for changes."""
        await self.tail.start()

    async def end_streams(self, _app: object = None) -> None:
        """End all streams and waiting pulls, whole; meant for `app.on_shutdown`."""
        self.tail.end()

    async def stop(self) -> None:
        """End all streams and waiting pulls, and stop looking."""
        await self.tail.stop()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for streams. Raises: Problem `overloaded`."""
        if self._streams >= self.limits.max_streams or self.tail.is_ending:
            raise Problem(OVERLOADED, "There is no place for another stream here.")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def begin(self, after: Vector, wanted: ChangeFilter) -> ChangeFilter:
        """Check the cursor and look up the names in the filter.

        A cursor that is further on than the feed, as one made of a command's own positions may be,
        is waited for; whoever went on from beyond the end would miss what comes before that.

        Raises: Problem `foreign-cursor`, `not-ready`.
        """
        async with database_needed():
            async with self._snapshot() as (connection, reflection):
                try:
                    await check_history(connection, reflection.positions, after)
                except ForeignCursorError as error:
                    detail = f"It does not fit the log {error.log}."
                    raise Problem(FOREIGN_CURSOR, detail) from error
                if all(reflects(reflection, place) for place in after.values()):
                    return await with_all_names(connection, wanted)
            if not await wait_for(self._read_models, after.values(), self.limits.ahead_wait_s):
                raise Problem(FOREIGN_CURSOR, f"It lies beyond what is known here, {reflection}.")
            async with self._snapshot() as (connection, _):
                return await with_all_names(connection, wanted)

    async def pull(self, after: Vector, wanted: ChangeFilter, limit: int) -> Found:
        """A page of `limit` changes at most. Raises: Problem `not-ready`."""
        async with database_needed(), self._snapshot() as (connection, reflection):
            page = await read_changes(
                connection,
                reflection.positions,
                after,
                wanted,
                limit=limit,
                max_bytes=self.limits.page_bytes,
            )
            return Found(page, reflection)

    async def catch_up(self, after: Vector, wanted: ChangeFilter) -> ChangePage:
        """A page for a stream that is behind the tail; only some streams are served at once.

        Raises: driver errors, ReadModelUnavailableError.
        """
        async with self._catching_up, self._snapshot() as (connection, reflection):
            return await read_changes(
                connection,
                reflection.positions,
                after,
                wanted,
                limit=self.limits.catch_up_changes,
                max_bytes=self.limits.catch_up_bytes,
            )

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[tuple[Connection, Reflection]]:
        async with self._read_models.snapshot() as connection:
            yield connection, await self._read_models.reflection(connection)
