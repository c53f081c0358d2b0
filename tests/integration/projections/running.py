"""A projection running over a log, and the questions tests put to it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.clock import Clock
from shared.contracts.names import Position
from shared.projections.awaiter import wait_for
from shared.projections.bulk import OpenFeed
from shared.projections.follower import RunnerLimits
from shared.projections.projection import Projection
from shared.projections.read_models import ReadLimits, ReadModels
from shared.projections.runner import ProjectionRunner
from tests.integration.projections.log_with_services import ServiceLog
from tests.integration.projections.sample_projection import contents

QUICK = RunnerLimits(read_wait_s=0.5, tick_interval_s=0.05, backoff_max_s=0.2)
LOOKING_OFTEN = ReadLimits(look_interval_s=0.1, drain_s=0.5, pool_max=4)


@dataclass(frozen=True, slots=True)
class Running:
    log: ServiceLog
    models: ReadModels
    runner: ProjectionRunner

    async def caught_up(self) -> None:
        head = (await self.log.reader.head()).where
        assert await wait_for(self.models, [head], 20), self.runner.status()

    async def tables(self) -> dict[str, list[object]]:
        generation = self.models.generation
        assert generation is not None
        projection = self.models.projection
        return await contents(
            self.log.access.app_dsn, projection, projection.schema(generation.number)
        )

    async def at(self) -> Position:
        async with self.models.snapshot() as connection:
            return (await self.models.reflection(connection)).positions[self.log.reader.log]


@contextlib.asynccontextmanager
async def running(
    log: ServiceLog,
    projection: Projection,
    clock: Clock,
    *,
    open_feed: OpenFeed | None = None,
    limits: RunnerLimits = QUICK,
) -> AsyncIterator[Running]:
    models = ReadModels(log.access.app_dsn, projection, clock, LOOKING_OFTEN)
    runner = ProjectionRunner(projection, open_feed or log.feed, models, clock, limits=limits)
    await models.start()
    await runner.start()
    try:
        yield Running(log, models, runner)
    finally:
        await runner.stop()
        await models.stop()
