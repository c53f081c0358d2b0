"""A read model of every event, fed from the topic of a log, in a database of its own."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg

from services.notifications.read_models.projection import CHANGES
from shared.contracts.names import Position
from shared.database.migrate import migrate
from shared.database.provision import provision
from shared.messaging.kafka import KafkaSettings
from shared.messaging.topic_feed import TopicFeed, TopicFeedLimits
from shared.projections.awaiter import wait_for
from shared.projections.feed import Feed
from shared.projections.follower import RunnerLimits
from shared.projections.projection import Projection
from shared.projections.read_models import ReadLimits, ReadModels
from shared.projections.rebuild import rebuild
from shared.projections.runner import ProjectionRunner
from shared.projections.status import LogStatus, RunnerState
from shared.service.log_service import MIGRATIONS
from tests.integration.messaging.log_under_test import CLOCK, LogUnderTest, eventually

_FEED = TopicFeedLimits(proof_interval_s=0.5, request_deadline_s=2.0)
_READS = ReadLimits(look_interval_s=0.1, drain_s=0.5)
_QUICK = RunnerLimits(read_wait_s=0.5, tick_interval_s=0.05, backoff_max_s=0.2)


@dataclass(frozen=True, slots=True)
class Follower:
    """The read model of one service that follows a log by its topic."""

    log: str
    models: ReadModels
    kafka: KafkaSettings

    @property
    def projection(self) -> Projection:
        return self.models.projection

    def feed(self, log: str) -> Feed:
        return TopicFeed(log, self.kafka, CLOCK, limits=_FEED)

    async def bodies(self) -> list[bytes]:
        """Every event that it shows, in order."""
        rows = await self.models.pool.fetch("SELECT body FROM changes ORDER BY position")
        return [row["body"] for row in rows]

    async def at(self) -> Position:
        async with self.models.snapshot() as connection:
            return (await self.models.reflection(connection)).positions[self.log]

    async def shows(self, log: LogUnderTest) -> None:
        """Return once it shows the whole log, and nothing else."""
        assert await wait_for(
            self.models, [Position(log.name, (await log.reader.head()).position)], 30
        )
        assert await self.bodies() == await log.bodies()

    async def rebuild(self) -> int:
        """Rebuild from the topic."""
        return (await rebuild(self.projection, self.feed, self.models, CLOCK)).number

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Running"]:
        runner = ProjectionRunner(self.projection, self.feed, self.models, CLOCK, limits=_QUICK)
        await runner.start()
        try:
            yield Running(self.log, runner)
        finally:
            await runner.stop()


@dataclass(frozen=True, slots=True)
class Running:
    """Its runner, and what that says."""

    log: str
    runner: ProjectionRunner

    def status(self) -> LogStatus | None:
        return self.runner.status().logs.get(self.log)

    async def is_in(self, state: RunnerState, reason: str | None = None) -> None:
        def reached() -> bool:
            status = self.status()
            return status is not None and (status.state, status.reason) == (state, reason)

        await eventually(reached)


@asynccontextmanager
async def following(admin_dsn: str, log: str, kafka: KafkaSettings) -> AsyncIterator[Follower]:
    """A read model that nothing runs yet."""
    name = f"msg_{secrets.token_hex(6)}"
    access = await provision(admin_dsn, name, "secret")
    await migrate(access.owner_dsn, MIGRATIONS)
    models = ReadModels(access.app_dsn, replace(CHANGES, logs=(log,)), CLOCK, _READS)
    await models.start()
    try:
        yield Follower(log, models, kafka)
    finally:
        await models.stop()
        connection = await asyncpg.connect(admin_dsn)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()
