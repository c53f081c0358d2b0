"""Owns the newest changes in memory, read once for all who follow the feed in this process.

Must not know who follows. What it no longer holds is read from the database again.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import structlog

from services.notifications.changes.limits import FeedLimits
from services.notifications.read_models.change import Change
from services.notifications.read_models.change_filter import ChangeFilter
from services.notifications.read_models.changes import read_changes
from services.notifications.read_models.cursor import Vector, reaches
from shared.background import Background
from shared.database.errors import UNREACHABLE
from shared.projections.read_models import ReadModels, ReadModelUnavailableError

_log = structlog.get_logger(__name__)

_EVERYTHING: Final = ChangeFilter()
_RETRY_S: Final = 1.0


class ChangeTail:
    """The end of the feed: changes numbered in the order in which this process saw them.

    It looks at the checkpoint every `poll_interval_s`. Whoever follows holds a vector and the
    number of the next change; numbers below the first one held have to be read from the database.
    """

    def __init__(self, read_models: ReadModels, limits: FeedLimits) -> None:
        self._read_models = read_models
        self._limits = limits
        self._changes: list[Change] = []
        self._first = 0
        self._bytes = 0
        self._start: Vector | None = None
        self._end: Vector = {}
        self._is_ending = False
        self._moved = asyncio.Event()
        self._background = Background("change-tail", self._run)

    @property
    def is_ending(self) -> bool:
        """Whether the process is about to stop, so that nobody should wait any longer."""
        return self._is_ending

    async def start(self) -> None:
        """Begin to look."""
        self._background.start()

    async def stop(self) -> None:
        """Tell all who wait to end, and stop looking."""
        self.end()
        await self._background.stop()

    def end(self) -> None:
        """Tell all who wait to end; repeatable."""
        self._is_ending = True
        self._wake()

    def join(self, cursor: Vector, logs: Iterable[str]) -> int | None:
        """The number to follow from, when all that lies behind the cursor in these logs is held."""
        if self._start is None or not reaches(cursor, self._start, logs):
            return None
        return self._first

    def held(self, number: int, limit: int) -> Sequence[Change] | None:
        """At most `limit` changes from a number on; None when some of them are held no longer."""
        if number < self._first:
            return None
        at = number - self._first
        return self._changes[at : at + limit]

    def reaches(self, number: int) -> bool:
        """Whether a change of this number was seen."""
        return number < self._first + len(self._changes)

    async def wait(self, number: int, timeout_s: float) -> None:
        """Return once a change of this number is held, at the end, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.reaches(number) and not self._is_ending:
                    await self._moved.wait()

    async def wait_for_wanted(self, cursor: Vector, wanted: ChangeFilter, timeout_s: float) -> None:
        """Return when a page behind the cursor may hold something, or after `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        number = self.join(cursor, wanted.logs)
        while not self._is_ending:
            left_s = deadline - asyncio.get_running_loop().time()
            held = None if number is None else self.held(number, self._limits.tail_changes)
            if left_s <= 0 or number is None or held is None:
                # Not followed yet: rare, so that asking the database a little later will do.
                await self.wait(self._first + len(self._changes), min(_RETRY_S, max(left_s, 0)))
                return
            for change in held:
                if change.where.position > cursor[change.log].position and wanted.admits(change):
                    return
            number += len(held)
            await self.wait(number, left_s)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except (*UNREACHABLE, ReadModelUnavailableError) as error:
                _log.warning("change_tail_retries", error=repr(error))
                await asyncio.sleep(_RETRY_S)
            except Exception:  # noqa: BLE001 - else all who follow would stand still.
                _log.exception("change_tail_failed")
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(self._limits.poll_interval_s)

    async def _look(self) -> None:
        async with self._read_models.pool.acquire() as connection:
            heads = (await self._read_models.reflection(connection)).positions
        if self._start is None:
            self._start = self._end = heads
            self._wake()
        has_more = not reaches(self._end, heads, heads)
        while has_more:
            has_more = await self._read_on()

    async def _read_on(self) -> bool:
        """Read a page behind the end; tell whether there is another."""
        async with self._read_models.snapshot() as connection:
            heads = (await self._read_models.reflection(connection)).positions
            page = await read_changes(
                connection,
                heads,
                self._end,
                _EVERYTHING,
                limit=self._limits.tail_changes // 4,
                max_bytes=self._limits.tail_bytes // 4,
            )
        self._end = page.next
        self._changes.extend(page.changes)
        self._bytes += sum(len(change.body) for change in page.changes)
        self._let_go()
        self._wake()
        return page.has_more

    def _let_go(self) -> None:
        """Drop the oldest half when there is too much, so that dropping is cheap on average."""
        limits = self._limits
        if len(self._changes) <= limits.tail_changes and self._bytes <= limits.tail_bytes:
            return
        sizes = list(accumulate(len(change.body) for change in self._changes))
        surplus = self._bytes - limits.tail_bytes // 2
        by_bytes = next((at + 1 for at, size in enumerate(sizes) if size >= surplus), 0)
        count = max(by_bytes if surplus > 0 else 0, len(self._changes) - limits.tail_changes // 2)
        dropped, self._changes = self._changes[:count], self._changes[count:]
        self._first += count
        self._bytes -= sizes[count - 1]
        self._start = {**(self._start or {}), **{change.log: change.where for change in dropped}}

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
