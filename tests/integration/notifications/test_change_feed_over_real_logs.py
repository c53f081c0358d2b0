"""The whole way: commands into two real logs, their projection, readers, and a rebuild between."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import asyncpg

from services.notifications.read_models.projection import CHANGES
from shared.clock import SystemClock
from shared.contracts.events.dependencies import DependencyWithdrawn
from shared.eventstore.types import NewEvent
from shared.projections.awaiter import wait_for
from shared.projections.follower import RunnerLimits
from shared.projections.projection import Projection
from shared.projections.read_models import ReadLimits, ReadModels
from shared.projections.runner import ProjectionRunner
from tests.integration.notifications.conftest import QUICK, MakeDatabase, served
from tests.integration.notifications.hand_fed import by_log, place_of, seeded
from tests.integration.projections.log_with_services import (
    LONG_AGO,
    ServiceLog,
    open_log,
    registered,
    renamed,
)
from tests.support.sse import KEY, Block, reading

DEPENDENCIES = tuple(f"dep_{number:032x}" for number in range(9))
SERVICES = tuple(f"svc_{number:032x}" for number in range(30))
RUNNING = RunnerLimits(batch_max_events=7, read_wait_s=0.5, tick_interval_s=0.05)


@dataclass(frozen=True, slots=True)
class RealLogs:
    registry: ServiceLog
    dependencies: ServiceLog
    dsn: str

    def feed(self, log: str) -> object:
        return (self.registry if log == "registry" else self.dependencies).feed()

    async def write(self, chance: random.Random, commands: int) -> None:
        for _ in range(commands):
            if chance.random() < 0.5:
                subject = chance.choice(DEPENDENCIES)
                withdrawn = NewEvent(subject, DependencyWithdrawn(), LONG_AGO)
                await self.dependencies.append(*[withdrawn] * chance.randint(1, 4))
            else:
                subject = chance.choice(SERVICES)
                await self.registry.append(registered(subject, "a"), renamed(subject, "b"))

    async def bodies(self) -> dict[tuple[str, int], bytes]:
        found = {}
        for log in (self.registry, self.dependencies):
            for position, body in await log.pool.fetch("SELECT position, body FROM log.events"):
                found[log.reader.log, position] = body
        return found


@asynccontextmanager
async def real_logs(make_database: MakeDatabase) -> AsyncIterator[RealLogs]:
    async with (
        open_log(await make_database(), "registry") as registry,
        open_log(await make_database(), "dependencies") as dependencies,
    ):
        yield RealLogs(registry, dependencies, (await make_database()).app_dsn)


@asynccontextmanager
async def projected(logs: RealLogs, projection: Projection) -> AsyncIterator[ReadModels]:
    clock = SystemClock()
    models = ReadModels(logs.dsn, projection, clock, ReadLimits(look_interval_s=0.05, drain_s=0.5))
    runner = ProjectionRunner(projection, logs.feed, models, clock, limits=RUNNING)  # type: ignore[arg-type]
    await models.start()
    await runner.start()
    try:
        yield models
    finally:
        await runner.stop()
        await models.stop()


async def caught_up(logs: RealLogs, models: ReadModels) -> None:
    heads = [(await log.reader.head()).where for log in (logs.registry, logs.dependencies)]
    assert await wait_for(models, heads, 20)


async def pull_all(caller: aiohttp.ClientSession, cursor: str) -> tuple[list[tuple[str, int]], str]:
    places: list[tuple[str, int]] = []
    while True:
        query = {"after": cursor, "limit": "13"}
        async with caller.get("/v1/changes", params=query, headers=KEY) as response:
            page = await response.json()
        cursor = page["next"]
        if not page["items"]:
            return places, cursor
        places += [place_of(item["event"]) for item in page["items"]]


async def test_readers_get_both_logs_whole_while_they_grow_and_across_a_rebuild(
    make_database: MakeDatabase,
) -> None:
    async with real_logs(make_database) as logs:
        async with projected(logs, CHANGES) as models, served(models, QUICK) as (_feed, caller):
            async with reading(caller) as reader:
                writing = asyncio.create_task(logs.write(seeded(1), 60))
                streamed: list[Block] = []
                pulled, cursor = await pull_all(caller, "registry:0")
                await writing
                written = await logs.bodies()
                while len(streamed) < len(written):
                    streamed.append(await reader.message())
                last_id = reader.last_id
            await caught_up(logs, models)
            more, cursor = await pull_all(caller, cursor)
            pulled += more
        assert {place_of(m.event): m.fields["data"].encode() for m in streamed} == written
        in_order = {log: list(range(1, 1 + count)) for log, count in _counts(written).items()}
        assert by_log([place_of(message.event) for message in streamed]) == in_order
        assert by_log(pulled) == in_order

        await _rebuilt_and_resumed(logs, cursor, last_id, written)


async def _rebuilt_and_resumed(
    logs: RealLogs, cursor: str, last_id: str | None, written: dict[tuple[str, int], bytes]
) -> None:
    newer = replace(CHANGES, version=CHANGES.version + 1)
    async with projected(logs, newer) as models, served(models, QUICK) as (_feed, caller):
        async with reading(caller, last_id) as reader:
            await logs.write(seeded(2), 10)
            added = {at: body for at, body in (await logs.bodies()).items() if at not in written}
            streamed = [await reader.message() for _ in added]
        assert {place_of(m.event): m.fields["data"].encode() for m in streamed} == added
        await caught_up(logs, models)
        assert models.generation is not None
        assert models.generation.version == newer.version
        pulled, _ = await pull_all(caller, cursor)
        assert sorted(pulled) == sorted(added)


def _counts(written: dict[tuple[str, int], bytes]) -> dict[str, int]:
    return {log: sum(1 for place in written if place[0] == log) for log in CHANGES.logs}


async def test_pull_and_stream_live_through_a_lost_database_connection(
    make_database: MakeDatabase,
) -> None:
    async with AsyncExitStack() as stack:
        logs = await stack.enter_async_context(real_logs(make_database))
        models = await stack.enter_async_context(projected(logs, CHANGES))
        _feed, caller = await stack.enter_async_context(served(models, QUICK))
        reader = await stack.enter_async_context(reading(caller))
        await logs.write(seeded(3), 5)
        for place in range(len(await logs.bodies())):
            assert await reader.message(), place
        before = await logs.bodies()
        connection = await asyncpg.connect(logs.dsn)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = current_user AND datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()
        await logs.write(seeded(4), 5)
        added = (await logs.bodies()).keys() - before.keys()
        found = [place_of((await reader.message()).event) for _ in added]
        assert sorted(found) == sorted(added)
