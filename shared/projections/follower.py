"""Owns following one log into one generation: retry what may pass, stop on what cannot.

Must not skip an event.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass, replace

import structlog

from shared.clock import Clock
from shared.contracts.names import Position
from shared.projections.applying import TRANSIENT, Applied, BatchRefusedError
from shared.projections.checkpoint import CheckpointMovedError
from shared.projections.feed import (
    Checkpoint,
    Feed,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)
from shared.projections.folding import ProjectionStoppedError
from shared.projections.status import LogStatus, RunnerState
from shared.projections.writer import GenerationWriter

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerLimits:
    """Bounds of a runner; see docs/configuration.md."""

    batch_max_events: int = 2_000
    read_wait_s: float = 5.0
    tick_interval_s: float = 0.5
    backoff_first_s: float = 0.1
    backoff_max_s: float = 3.0


class Backoff:
    """Ever longer waits with jitter, so that many processes do not come back at once."""

    def __init__(self, limits: RunnerLimits) -> None:
        self._limits = limits
        self._attempts = 0

    def reset(self) -> None:
        """Start short again after a success."""
        self._attempts = 0

    async def wait(self) -> None:
        """Wait between half and the whole of the next step."""
        step_s = self._limits.backoff_first_s * 2 ** min(self._attempts, 20)
        self._attempts += 1
        step_s = min(step_s, self._limits.backoff_max_s)
        await asyncio.sleep(step_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret.


class LogFollower:
    """Follows one log until cancelled or stopped; `status` tells how."""

    def __init__(
        self,
        feed: Feed,
        writer: GenerationWriter,
        clock: Clock,
        limits: RunnerLimits,
        projection: str,
    ) -> None:
        self.status = LogStatus(Position(feed.log, 0), 0)
        self._feed = feed
        self._writer = writer
        self._clock = clock
        self._limits = limits
        self._backoff = Backoff(limits)
        self._max_events = limits.batch_max_events
        self._dropped = 0
        self._logger = _log.bind(projection=projection, log=feed.log)

    async def run(self) -> None:
        """Follow; return only when stopped for good. Never raises but when cancelled."""
        try:
            while self.status.state is not RunnerState.STOPPED:
                await self._follow_or_tell()
        finally:
            with contextlib.suppress(*TRANSIENT, FeedUnavailableError):
                await self._feed.close()

    async def _follow_or_tell(self) -> None:
        try:
            await self._follow()
        except (FeedUnavailableError, *TRANSIENT) as error:
            self._logger.warning("projection_retries", error=repr(error))
            self._tell(state=RunnerState.RETRYING, detail=repr(error))
            await self._backoff.wait()
        except ProjectionStoppedError as error:
            await self._stop(error.reason, error.detail, error.position)
        except FeedStoppedError as error:
            await self._stop(error.reason, error.detail, self.status.position.position + 1)
        except Exception as error:
            self._logger.exception("projection_failed_unexpectedly")
            await self._stop("failed", repr(error), self.status.position.position + 1)

    async def _follow(self) -> None:
        checkpoint = await self._read_checkpoint()
        while True:
            batch = await self._feed.read(checkpoint, self._max_events, self._limits.read_wait_s)
            self._tell(state=RunnerState.FOLLOWING, head=batch.head, detail=None)
            self._backoff.reset()
            if batch.end == checkpoint:
                await self._show_backlog(batch)
                # A database that crashed, or failed over, may have lost the last batches.
                checkpoint = await self._read_checkpoint()
                continue
            try:
                applied = await self._writer.apply(checkpoint, batch, self._clock.now())
            except CheckpointMovedError:
                checkpoint = await self._read_checkpoint()
                continue
            except BatchRefusedError as error:
                self._narrow(error)
                continue
            checkpoint = applied.checkpoint
            self._count(applied)

    def _narrow(self, error: BatchRefusedError) -> None:
        """Read less, so that all before the event at fault is applied and it is met alone."""
        if error.before == 0:
            raise error.cause
        self._max_events = error.before or 1

    async def _read_checkpoint(self) -> Checkpoint:
        checkpoint = await self._writer.checkpoint(self._feed.log)
        at = Position(checkpoint.log, checkpoint.position, checkpoint.timeline)
        self._tell(position=at, head=max(self.status.head, checkpoint.position))
        return checkpoint

    async def _show_backlog(self, batch: FeedBatch) -> None:
        if batch.head > batch.end.position:
            await self._writer.note_head(self._feed.log, batch.head)

    def _count(self, applied: Applied) -> None:
        self._max_events = min(2 * self._max_events, self._limits.batch_max_events)
        self._dropped += applied.dropped
        at = applied.checkpoint
        self._tell(
            position=Position(at.log, at.position, at.timeline),
            events=self.status.events + applied.events,
            dropped=self._dropped + self._feed.dropped,
            batches=self.status.batches + 1,
        )

    async def _stop(self, reason: str, detail: str, position: int) -> None:
        self._logger.error("projection_stopped", reason=reason, position=position, detail=detail)
        self._tell(state=RunnerState.STOPPED, reason=reason, detail=detail, stopped_at=position)
        with contextlib.suppress(*TRANSIENT):
            await self._writer.note_head(self._feed.log, max(self.status.head, position))

    def _tell(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]
