"""How long after its acceptance a command shows in another service's read model."""

import asyncio
import time
from bisect import bisect_left
from typing import Any, Final

import aiohttp
import asyncpg

from benchmarks.estate_data import Estate
from benchmarks.measuring import Bar, Line, Report, Series, percentile
from benchmarks.processes import Serving, serving
from benchmarks.servers import Bench, connected
from services.dependencies.read_models.projection import GRAPH
from shared.audit.audit import audit_log

SERVICES: Final = Estate(1_100, 1_000)
RATE: Final = 200

_LOOK_S: Final = 0.002
_SETTLED_S: Final = 30.0


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    registry, dependencies = await bench.filled_log(SERVICES), await bench.new_log("dependencies")
    databases = {"registry": registry, "dependencies": dependencies}
    rounds: list[list[float]] = []
    async with serving(bench, databases) as estate, connected(dependencies.app_dsn) as watching:
        await _until(watching, SERVICES.events)
        await _round(estate, watching, 200, "warm")
        for number in range(bench.rounds):
            found = await _round(estate, watching, size, f"round{number}")
            report.check(len(found) == size, "every accepted command became visible, once")
            rounds.append(found)
    audited = await audit_log(registry.app_dsn)
    report.check(audited.first_fault is None, "the log verifies")
    for percent, bars in ((50, ()), (99, (Bar("value", "<=", 250),))):
        values = tuple(percentile(one, percent) for one in rounds)
        report.lines.append(
            Line(f"p{percent} at {RATE} commands/s", Series(values, "ms"), bars=bars)
        )
    report.notes.append(
        "From the answer of the registry to the commit of the read model of the dependencies "
        "service, which follows the registry's topic; looked at every 2 ms. Log, relay, Kafka, "
        "feed and projection lie between."
    )
    return report


async def _round(
    estate: Serving, watching: "asyncpg.Connection[asyncpg.Record]", size: int, label: str
) -> list[float]:
    """Send so many commands at the rate; return the milliseconds until each was visible."""
    accepted: dict[int, float] = {}
    sending = asyncio.create_task(_send(estate, size, label, accepted))
    seen = await _watch(watching, sending, accepted)
    reached = [position for position, _ in seen]
    found = []
    for position, accepted_at in accepted.items():
        visible_at = seen[bisect_left(reached, position)][1]
        found.append(max(0.0, visible_at - accepted_at) * 1000)
    return found


async def _watch(
    watching: "asyncpg.Connection[asyncpg.Record]",
    sending: "asyncio.Task[None]",
    accepted: dict[int, float],
) -> list[tuple[int, float]]:
    """Note when the read model's checkpoint moved, until it has reached what was accepted."""
    seen: list[tuple[int, float]] = []
    while True:
        is_over = sending.done()
        position = await watching.fetchval(_checkpoint())
        if not seen or position > seen[-1][0]:
            seen.append((position, time.perf_counter()))
        if is_over:
            await sending
            if position >= max(accepted):
                return seen
            if time.perf_counter() - seen[-1][1] > _SETTLED_S:
                raise RuntimeError(f"the read model stands at {position}")
        await asyncio.sleep(_LOOK_S)


async def _send(estate: Serving, size: int, label: str, accepted: dict[int, float]) -> None:
    headers = {"Authorization": f"Bearer {estate.admin_key}"}
    async with (
        aiohttp.ClientSession(estate.url("registry"), headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        started = time.perf_counter()
        for number in range(size):
            await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
            group.create_task(_command(session, number, label, accepted))


async def _command(
    session: aiohttp.ClientSession, number: int, label: str, accepted: dict[int, float]
) -> None:
    service = SERVICES.service(number % SERVICES.services)
    body = {"description": f"{label}, command {number}"}
    key = {"Idempotency-Key": f"{label}-{number}"}
    path = f"/v1/services/{service}/change-details"
    async with session.post(path, json=body, headers=key) as response:
        answer: dict[str, Any] = await response.json()
        answered_at = time.perf_counter()
        response.raise_for_status()
    accepted[int(answer["positions"].rpartition(":")[2])] = answered_at


async def _until(watching: "asyncpg.Connection[asyncpg.Record]", position: int) -> None:
    async with asyncio.timeout(_SETTLED_S):
        while await watching.fetchval(_checkpoint()) < position:
            await asyncio.sleep(0.05)


def _checkpoint() -> str:
    return f"SELECT position FROM {GRAPH.schema(1)}.checkpoint WHERE log = 'registry'"  # noqa: S608 - our own name.
