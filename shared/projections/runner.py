"""Owns running one projection in this process: which generation, its logs, the passing of time.

Must not serve reads; those go on from the read models whatever happens here.
"""

import asyncio
from dataclasses import dataclass

import structlog

from shared.background import Background
from shared.clock import Clock
from shared.projections.applying import TRANSIENT
from shared.projections.bulk import OpenFeed
from shared.projections.feed import FeedStoppedError, FeedUnavailableError
from shared.projections.flip import FlipRefusedError
from shared.projections.folding import ProjectionStoppedError
from shared.projections.follower import Backoff, LogFollower, RunnerLimits
from shared.projections.generations import Generation
from shared.projections.projection import Projection
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.status import ProjectionStatus, RebuildStatus, RunnerState
from shared.projections.writer import GenerationWriter

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What keeps the runner as a whole from following its logs."""

    state: RunnerState
    reason: str
    detail: str


class ProjectionRunner:
    """Keeps a projection's serving generation up to date, and rebuilds when its version was raised.

    Several processes may run the same projection: each batch is written once. `open_feed` is
    called for each log and again for a rebuild.
    """

    def __init__(
        self,
        projection: Projection,
        open_feed: OpenFeed,
        read_models: ReadModels,
        clock: Clock,
        *,
        limits: RunnerLimits | None = None,
    ) -> None:
        self._projection = projection
        self._open_feed = open_feed
        self._read_models = read_models
        self._clock = clock
        self._limits = limits or RunnerLimits()
        self._followers: dict[str, LogFollower] = {}
        self._generation: Generation | None = None
        self._trouble: _Trouble | None = None
        self._rebuild: RebuildStatus | None = None
        self._background = Background(f"projection-{projection.name}", self._run)

    async def start(self) -> None:
        """Begin; returns at once."""
        self._trouble = None
        self._background.start()

    async def stop(self) -> None:
        """End; a batch under way is rolled back."""
        await self._background.stop()

    async def restart(self) -> None:
        """Try again what was stopped."""
        await self.stop()
        await self.start()

    def status(self) -> ProjectionStatus:
        """How it fares now."""
        logs = {log: follower.status for log, follower in self._followers.items()}
        worst = max(logs.values(), key=lambda one: _SEVERITY.index(one.state), default=None)
        state = worst.state if worst is not None else RunnerState.STARTING
        reason, detail = (worst.reason, worst.detail) if worst is not None else (None, None)
        if self._trouble is not None:
            state, reason, detail = (
                self._trouble.state,
                self._trouble.reason,
                self._trouble.detail,
            )
        return ProjectionStatus(
            projection=self._projection.name,
            version=self._projection.version,
            generation=self._generation.number if self._generation else None,
            state=state,
            reason=reason,
            detail=detail,
            logs=logs,
            rebuild=self._rebuild,
        )

    async def _run(self) -> None:
        backoff = Backoff(self._limits)
        while self._trouble is None or self._trouble.state is not RunnerState.STOPPED:
            try:
                await self._run_once()
                backoff.reset()
            except (FeedUnavailableError, *TRANSIENT) as error:
                _log.warning("projection_retries", error=repr(error), **self._names())
                self._trouble = _Trouble(RunnerState.RETRYING, "unavailable", repr(error))
                await backoff.wait()
            except (ProjectionStoppedError, FeedStoppedError, FlipRefusedError) as error:
                self._stop(f"rebuild-{getattr(error, 'reason', 'flip-refused')}", str(error))
            except Exception as error:  # noqa: BLE001 - told by `status`; reads go on.
                _log.exception("projection_failed_unexpectedly", **self._names())
                self._stop("failed", repr(error))

    async def _run_once(self) -> None:
        """Rebuild, or follow until another generation serves."""
        self._generation = await self._read_models.look()
        if self._generation.version < self._projection.version:
            await self._rebuild_next()
        elif self._generation.version > self._projection.version:
            self._stop("newer-version", f"version {self._generation.version} serves")
        else:
            self._trouble = None
            await self._follow(self._generation)

    async def _rebuild_next(self) -> None:
        self._trouble = _Trouble(RunnerState.REBUILDING, "newer-version", "a rebuild is under way")
        try:
            await rebuild(
                self._projection,
                self._open_feed,
                self._read_models,
                self._clock,
                on_progress=self._note_rebuild,
            )
        finally:
            self._rebuild = None

    def _note_rebuild(self, done: int, total: int, eta_s: float | None) -> None:
        self._rebuild = RebuildStatus(done, total, eta_s)

    async def _follow(self, generation: Generation) -> None:
        writer = GenerationWriter(self._projection, generation, self._read_models)
        self._followers = {
            log: LogFollower(
                self._open_feed(log), writer, self._clock, self._limits, self._projection.name
            )
            for log in self._projection.logs
        }
        following = [
            Background(f"{self._projection.name} follows {log}", follower.run)
            for log, follower in self._followers.items()
        ]
        for one in following:
            one.start()
        try:
            await self._tick_while_serving(generation, writer)
        finally:
            try:
                await asyncio.gather(*(one.stop() for one in following))
            finally:
                writer.drop()

    async def _tick_while_serving(self, generation: Generation, writer: GenerationWriter) -> None:
        while True:
            serving = self._read_models.generation
            if serving is not None and serving.number != generation.number:
                return
            try:
                await writer.roll_forward(self._clock.now())
            except TRANSIENT as error:
                _log.warning("roll_forward_failed", error=repr(error), **self._names())
            await asyncio.sleep(self._limits.tick_interval_s)

    def _stop(self, reason: str, detail: str) -> None:
        _log.error("projection_stopped", reason=reason, detail=detail, **self._names())
        self._trouble = _Trouble(RunnerState.STOPPED, reason, detail)

    def _names(self) -> dict[str, str]:
        return {"projection": self._projection.name}


_SEVERITY = (
    RunnerState.FOLLOWING,
    RunnerState.STARTING,
    RunnerState.REBUILDING,
    RunnerState.RETRYING,
    RunnerState.STOPPED,
)
