"""Owns rebuilding a projection beside the one that serves: copy, index, catch up, flip.

Must not disturb readers, and must be callable again after being killed at any step.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import structlog

from shared.clock import Clock
from shared.contracts.names import Position
from shared.failpoints import reach
from shared.projections.applying import TRANSIENT
from shared.projections.bulk import OpenFeed, copy_log, follow_to, holds, known_head
from shared.projections.checkpoint import read_checkpoints
from shared.projections.feed import (
    Checkpoint,
    Feed,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)
from shared.projections.flip import FlipRefusedError, flip
from shared.projections.folding import ProjectionStoppedError
from shared.projections.generations import (
    CopyingOverError,
    Generation,
    abandon,
    begin_rebuild,
    checkpoints_of,
    drop_retired,
    end_copying,
    note_copied,
    pointed_at,
)
from shared.projections.projection import Connection, Projection
from shared.projections.read_models import ReadModels

_log = structlog.get_logger(__name__)

REBUILD_BATCH_EVENTS: Final = 5_000

REBUILD_ERRORS: Final = (
    *TRANSIENT,
    FeedUnavailableError,
    FeedStoppedError,
    ProjectionStoppedError,
    FlipRefusedError,
)
"""What a rebuild may end with; see there."""

OnProgress = Callable[[int, int, float | None], None]
"""Is told events done, events in all, and seconds still to go (None while that is not known)."""


@dataclass(slots=True)
class Progress:
    """How far a copy has come, over all its logs."""

    clock: Clock
    on_progress: OnProgress
    total: int = 0
    done: int = 0
    _first_done: int | None = None
    _started: float = field(default=0.0)

    def at(self, done: int) -> None:
        """Report; the estimate rests on the pace since the first report."""
        self.done = done
        if self._first_done is None:
            self._first_done, self._started = done, self.clock.monotonic()
        gained = done - self._first_done
        spent_s = self.clock.monotonic() - self._started
        eta_s = spent_s / gained * max(0, self.total - done) if gained > 0 else None
        self.on_progress(done, self.total, eta_s)


async def rebuild(
    projection: Projection,
    open_feed: OpenFeed,
    read_models: ReadModels,
    clock: Clock,
    *,
    on_progress: OnProgress = lambda _done, _total, _eta_s: None,
    batch_max_events: int = REBUILD_BATCH_EVENTS,
) -> Generation:
    """Build the next generation from the start of its logs and let it serve; return it.

    The serving generation answers until the flip. Killed at any step, the next call resumes;
    several processes may run it at once. A generation that has applied what a log has lost since
    is not compared with, and not gone on with.

    Raises: FeedUnavailableError and driver errors, after which it may be called again;
    ProjectionStoppedError, FeedStoppedError, FlipRefusedError.
    """
    await read_models.look()
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(read_models.connected(None))
        feeds = [open_feed(log) for log in projection.logs]
        for feed in feeds:
            stack.push_async_callback(feed.close)
        new = await begin_rebuild(control, projection, clock.now())
        if await _lost_to(control, projection, new, feeds):
            await abandon(control, projection, new)
            new = await begin_rebuild(control, projection, clock.now())
        lost = await _lost_to(control, projection, await pointed_at(control, projection), feeds)
        own = await stack.enter_async_context(read_models.connected(new))
        work = _Rebuild(projection, feeds, clock, control, own, new, lost, batch_max_events)
        await work.copy(Progress(clock, on_progress))
        await flip(control, projection, new, work.catch_up, clock.now(), lost=lost)
        await read_models.look()
        await drop_retired(control, projection)
    return new


async def _lost_to(
    control: Connection,
    projection: Projection,
    generation: Generation | None,
    feeds: Sequence[Feed],
) -> frozenset[str]:
    """The logs that no longer hold what a generation applied last."""
    if generation is None:
        return frozenset()
    reached = await checkpoints_of(control, projection, generation.number)
    return frozenset([feed.log for feed in feeds if not await holds(feed, reached[feed.log])])


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """The parts of one rebuild: `own` writes to the new generation, `control` to the pointer.

    `lost` names the logs of which the serving generation has applied what is no longer in them.
    """

    projection: Projection
    feeds: Sequence[Feed]
    clock: Clock
    control: Connection
    own: Connection
    new: Generation
    lost: frozenset[str]
    batch_max_events: int

    async def copy(self, progress: Progress) -> None:
        if self.new.phase == "copying":
            targets = await self._targets()
            progress.total = sum(targets.values())
            try:
                for feed in self.feeds:
                    await self._copy(feed, targets[feed.log], progress)
            except CopyingOverError:
                _log.info("copying_ended_elsewhere", projection=self.projection.name)
            await end_copying(self.own, self.projection, self.new.number, self.clock.now())
        await self._follow(await self._targets())

    async def catch_up(self, old: Mapping[str, Position]) -> None:
        await self._follow({log: at.position for log, at in old.items() if log not in self.lost})

    async def _targets(self) -> dict[str, int]:
        """Where to stop: at the serving generation's positions when rows must be compared there."""
        serving = None if self.lost else await self._same_version()
        if serving is not None:
            return {log: at.position for log, at in serving.items()}
        checkpoints = await read_checkpoints(self.own)
        return {feed.log: await known_head(feed, checkpoints[feed.log]) for feed in self.feeds}

    async def _same_version(self) -> dict[str, Checkpoint] | None:
        old = await pointed_at(self.control, self.projection)
        if old is None or old.version != self.new.version or old.number == self.new.number:
            return None
        return await checkpoints_of(self.control, self.projection, old.number)

    async def _copy(self, feed: Feed, to: int, progress: Progress) -> None:
        start = progress.done + (await read_checkpoints(self.own))[feed.log].position

        async def counted(inside: Connection, _log: str, batch: FeedBatch) -> None:
            number, events = self.new.number, len(batch.events)
            await note_copied(inside, self.projection, number, events, progress.total)
            progress.at(progress.done + events)
            reach("rebuild.copying")

        progress.at(start)
        await copy_log(
            self.own,
            self.projection,
            feed,
            to,
            self.clock,
            batch_max_events=self.batch_max_events,
            counted=counted,
        )

    async def _follow(self, to: Mapping[str, int]) -> None:
        for feed in self.feeds:
            target = to.get(feed.log, 0)
            await follow_to(
                self.own, self.projection, feed, target, self.clock, self.batch_max_events
            )
