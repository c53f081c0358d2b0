"""Owns the faults: each is a named function that hurts a world under load, and then lifts the hurt.

Must leave everything running that it found running; must not judge what came of it.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg

from cli.local_estate import ROOT, ServiceProcess
from shared.contracts.topics import events_topic, submissions_topic
from tests.faults.fault import EndedWronglyError, Fault, Lifted, NotReachedError
from tests.faults.kafka_faults import (
    BROKERS_OF_A_CLUSTER,
    REACHED_WITHIN_S,
    kafka_frozen,
    kafka_killed,
    kafka_stopped,
    leader_killed,
    topic_deleted,
    topic_made_again,
)
from tests.faults.world import LOGS, World

_ALL: Final = ("registry", "dependencies", "notifications")
_STOPPED_WITHIN_S: Final = 12.0


async def _die_at(
    point: str, services: tuple[str, ...], world: World, rng: random.Random
) -> Lifted:
    """Arm a point in one service, wait until it has killed itself there, start it again."""
    service = world.estate.services[rng.choice(services)]
    armed = f"{point}:{rng.randint(1, 8)}"
    await service.stop()
    await service.start(failpoints=armed)
    try:
        await ended_at(service, armed)
    finally:
        lifted = time.monotonic()
        await service.stop()
        await service.start()
    await service.ready()
    return Lifted(lifted, f"{service.name} {armed}")


async def _die_apart(world: World, rng: random.Random) -> Lifted:
    """Each service dies at a point of its own, whenever it comes there; each is started again."""
    points = [rng.choice([p for p, found in _POINTS.items() if name in found]) for name in _ALL]
    pairs = list(zip(points, _ALL, strict=True))
    lifted = await asyncio.gather(*(_die_at(point, (name,), world, rng) for point, name in pairs))
    return Lifted(max(one.at for one in lifted), ", ".join(one.detail for one in lifted))


async def ended_at(service: ServiceProcess, armed: str, within_s: float = REACHED_WITHIN_S) -> None:
    """Wait until a service has killed itself at the point that is armed in it.

    Raises: NotReachedError; EndedWronglyError when it ended in another way.
    """
    try:
        async with asyncio.timeout(within_s):
            code = await service.ended()
    except TimeoutError:
        raise NotReachedError(f"{service.name} never came to {armed}") from None
    if code != -signal.SIGKILL:
        raise EndedWronglyError(f"{service.name} ended by itself with {code} before {armed}")


async def _die_rebuilding(point: str, world: World, rng: random.Random) -> Lifted:
    """Kill a rebuild at a point; the next one must go on from there and be let serve."""
    model = rng.choice(("estate", "graph", "changes"))
    state = world.estate.state_dir
    code = await _rebuild(state, model, f"{point}:1")
    if not code:
        raise NotReachedError(f"the rebuild of {model} never came to {point}")
    if code != -signal.SIGKILL:
        raise EndedWronglyError(f"the rebuild of {model} ended with {code} before {point}")
    lifted = time.monotonic()
    code = await _rebuild(state, model, "")
    if code:
        raise EndedWronglyError(f"the second rebuild of {model} ended with {code}")
    return Lifted(lifted, model)


async def _rebuild(state: Path, model: str, failpoints: str) -> int:
    with (state / "logs" / "rebuild.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.rebuilding", str(state), model, failpoints),
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    async with asyncio.timeout(120):
        return await process.wait()


async def _kill_all(world: World, rng: random.Random) -> Lifted:
    """Every process of every service at once, at no particular moment."""
    await asyncio.sleep(rng.uniform(0, 1))
    services = [world.estate.services[name] for name in _ALL]
    for service in services:
        assert service.process is not None
        service.process.send_signal(signal.SIGKILL)
    for service in services:
        await service.kill()
    return await _started(services)


async def _kill_everything(world: World, rng: random.Random) -> Lifted:
    """Every process of every service, of PostgreSQL and of Kafka at once."""
    await asyncio.sleep(rng.uniform(0, 1))
    backing, services = world.estate.backing, [world.estate.services[name] for name in _ALL]
    kills = [service.kill() for service in services]
    await asyncio.gather(backing.kill_postgres(), backing.kill_kafka(), *kills)
    lifted = time.monotonic()
    await asyncio.gather(backing.start_postgres(), backing.start_kafka())
    await _started(services)
    return Lifted(lifted)


async def _kill_one(world: World, rng: random.Random) -> Lifted:
    await asyncio.sleep(rng.uniform(0, 1))
    service = world.estate.services[rng.choice(_ALL)]
    await service.kill()
    lifted = await _started([service])
    return Lifted(lifted.at, service.name)


async def _stop_gracefully(world: World, rng: random.Random) -> Lifted:
    """SIGTERM under load; not to end in time by itself is a failure of the trial."""
    service = world.estate.services[rng.choice(_ALL)]
    assert service.process is not None
    asked = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(_STOPPED_WITHIN_S):
        code = await service.process.wait()
    took = time.monotonic() - asked
    if code:
        raise EndedWronglyError(f"{service.name} was asked to stop and ended with {code}")
    lifted = await _started([service])
    return Lifted(lifted.at, f"{service.name} stopped in {took:.1f} s")


async def _started(services: list[ServiceProcess]) -> Lifted:
    lifted = time.monotonic()
    for service in services:
        await service.start()
    await asyncio.gather(*(service.ready() for service in services))
    return Lifted(lifted)


async def _postgres_killed(world: World, rng: random.Random) -> Lifted:
    await world.estate.backing.kill_postgres()
    return await _postgres_back(world, rng)


async def _postgres_stopped(world: World, rng: random.Random) -> Lifted:
    number = rng.choice([signal.SIGINT, signal.SIGQUIT])
    await world.estate.backing.stop_postgres(signal=number)
    return await _postgres_back(world, rng)


async def _postgres_back(world: World, rng: random.Random) -> Lifted:
    await asyncio.sleep(rng.uniform(0, 6))
    lifted = time.monotonic()
    await world.estate.backing.start_postgres()
    return Lifted(lifted)


async def _postgres_frozen(world: World, rng: random.Random) -> Lifted:
    """Long enough for a statement's deadline (10 s) or even COMMIT's (15 s) to pass, or not."""
    seconds = rng.choice([3, 8, 12, 18])
    await world.estate.backing.freeze_postgres()
    await asyncio.sleep(seconds)
    await world.estate.backing.thaw_postgres()
    return Lifted(time.monotonic(), f"{seconds} s")


async def _backends_terminated(world: World, rng: random.Random) -> Lifted:
    """Connections are cut at any moment: of writers, relays, intakes, projections, reads."""
    cut = 0
    connection = await asyncpg.connect(world.estate.backing.postgres_dsn, timeout=10)
    try:
        for _ in range(20):
            await asyncio.sleep(rng.uniform(0, 0.3))
            cut += await connection.fetchval(
                "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = ANY($1) AND pid <> pg_backend_pid() AND random() < 0.5) AS c",
                list(_ALL),
            )
    finally:
        connection.terminate()
    return Lifted(time.monotonic(), f"{cut} connections")


async def _commits_cut(world: World, rng: random.Random) -> Lifted:
    """Cut writers while COMMIT is under way, which is made to take 50 ms meanwhile."""
    connection = await asyncpg.connect(world.estate.backing.postgres_dsn, timeout=10)
    cut = 0
    try:
        await _slow_commits(connection, "50000", "0")
        end = time.monotonic() + 6
        while time.monotonic() < end:
            cut += await connection.fetchval(
                "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE '% writer' AND state = 'active' "
                "AND query = 'COMMIT') AS c"
            )
            await asyncio.sleep(rng.uniform(0, 0.3) if cut else 0.005)
    finally:
        await _slow_commits(connection, "0", "5")
        connection.terminate()
    if not cut:
        raise NotReachedError("no COMMIT was caught under way")
    return Lifted(time.monotonic(), f"{cut} commits")


async def _slow_commits(
    connection: "asyncpg.Connection[asyncpg.Record]", delay_us: str, siblings: str
) -> None:
    await connection.execute(f"ALTER SYSTEM SET commit_delay = {delay_us}")
    await connection.execute(f"ALTER SYSTEM SET commit_siblings = {siblings}")
    await connection.execute("SELECT pg_reload_conf()")


async def _two_registries(world: World, rng: random.Random) -> Lifted:
    """Two processes on one database; the first is frozen past its leases and woken again."""
    async with _overtaken(world) as first:
        await asyncio.sleep(rng.uniform(0, 1))
        os.kill(first, signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(7, 10))
        os.kill(first, signal.SIGCONT)
        lifted = time.monotonic()
        await asyncio.sleep(3)
    return Lifted(lifted, "overtaken")


async def _frozen_while_sending(world: World, rng: random.Random) -> Lifted:
    """As `two registries`, but frozen again and again, for short times and then past its leases."""
    async with _overtaken(world) as first:
        for frozen_s in (*(rng.uniform(0.2, 2.5) for _ in range(6)), rng.uniform(6.5, 9)):
            os.kill(first, signal.SIGSTOP)
            await asyncio.sleep(frozen_s)
            os.kill(first, signal.SIGCONT)
            await asyncio.sleep(rng.uniform(0.1, 0.6))
        lifted = time.monotonic()
    return Lifted(lifted, "overtaken")


@asynccontextmanager
async def _overtaken(world: World) -> AsyncIterator[int]:
    """A registry, by its process id, beside a second one, which must take its leases over.

    Raises: NotReachedError when it took none.
    """
    first = world.estate.services["registry"]
    second = await world.second_registry()
    assert first.process is not None
    try:
        before = await _lease_epochs(world)
        yield first.process.pid
        after = await _lease_epochs(world)
    finally:
        await world.end_second(second)
    if not all(after[name] > epoch for name, epoch in before.items()):
        raise NotReachedError(f"nobody took over: leases were taken {before}, then {after} times")


async def _lease_epochs(world: World) -> dict[str, int]:
    """How many times each lease of the registry was taken."""
    connection = await asyncpg.connect(world.estate.databases["registry"].app_dsn, timeout=5)
    try:
        rows = await connection.fetch("SELECT name, epoch FROM messaging.leases", timeout=5)
        return {row["name"]: row["epoch"] for row in rows}
    finally:
        connection.terminate()


async def _nothing(_world: World, _rng: random.Random) -> Lifted:
    await asyncio.sleep(3)
    return Lifted(time.monotonic())


_POINTS: Final = {
    **dict.fromkeys(("append.decided", "append.before_commit", "append.after_commit"), LOGS),
    **dict.fromkeys(("intake.read", "intake.committed", "intake.offset_stored"), LOGS),
    **dict.fromkeys(("relay.read", "relay.barrier", "relay.sent", "relay.acknowledged"), LOGS),
    **dict.fromkeys(("projector.before_commit", "projector.after_commit"), _ALL),
    "feed.read": ("dependencies", "notifications"),
    "stream.sent": ("notifications",),
}
_REBUILD_POINTS: Final = (
    "rebuild.copying",
    "rebuild.before_flip",
    "rebuild.inside_flip",
    "rebuild.after_flip",
)

_CLUSTERED: Final[dict[str, Fault]] = {
    "leader of events killed, three brokers": partial(
        leader_killed, lambda log, _organisation: events_topic(log, 1)
    ),
    "leader of submissions killed, three brokers": partial(leader_killed, submissions_topic),
}
FAULTS: Final[dict[str, Fault]] = {
    "all services killed at once": _kill_all,
    "everything killed at once, servers too": _kill_everything,
    "one service killed": _kill_one,
    "graceful stop": _stop_gracefully,
    "each service killed at a point of its own": _die_apart,
    **{f"killed at {p}": partial(_die_at, p, services) for p, services in _POINTS.items()},
    **{f"killed at {p}": partial(_die_rebuilding, p) for p in _REBUILD_POINTS},
    "Postgres killed": _postgres_killed,
    "Postgres stopped": _postgres_stopped,
    "Postgres frozen": _postgres_frozen,
    "connections cut": _backends_terminated,
    "COMMITs cut": _commits_cut,
    "Kafka killed": kafka_killed,
    "Kafka stopped 8 s": kafka_stopped,
    "Kafka frozen": kafka_frozen,
    "topic deleted": topic_deleted,
    "topic deleted and made again": topic_made_again,
    "two registries, one frozen past its leases": _two_registries,
    "two registries, one frozen again and again": _frozen_while_sending,
    "submissions sent three times": _nothing,
    "no fault": _nothing,
    **_CLUSTERED,
}
COPIES: Final = {"submissions sent three times": 3}
"""How often each submission is put on its topic, where not once."""


def brokers_for(fault: str) -> int:
    """How many brokers an estate must have for a fault."""
    return BROKERS_OF_A_CLUSTER if fault in _CLUSTERED else 1
