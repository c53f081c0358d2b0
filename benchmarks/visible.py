"""How long after its acceptance a command shows in another service's read model."""

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp
import asyncpg

from benchmarks.estate_data import Estate
from benchmarks.measuring import Bar, Line, Report, Series, percentile
from benchmarks.processes import Serving, serving
from benchmarks.servers import Bench, connected
from services.dependencies.read_models.projection import GRAPH
from shared.audit.audit import audit_log
from shared.contracts.canonical import canonical_bytes

SERVICES: Final = Estate(1_100, 1_000)
RATE: Final = 200
_LATE: Final = 1.05
"""How much longer than the rate allows sending may take."""

_LOOK_S: Final = 0.002
_SETTLED_S: Final = 30.0
_FACTS: Final = f"{GRAPH.schema(1)}.facts"
_LATEST: Final = f"SELECT max(position) FROM {_FACTS} WHERE log = 'registry'"  # noqa: S608 - our own name.
_NAMES: Final = f"""
SELECT position, value FROM {_FACTS}
WHERE log = 'registry' AND attribute = 'name' AND starts_with(value, $1)
ORDER BY position
"""  # noqa: S608 - our own name.

Watching: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A command's answer: which event it made, which name that states, when it came."""

    position: int
    name: str
    at: float


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    registry, dependencies = await bench.filled_log(SERVICES), await bench.new_log("dependencies")
    databases = {"registry": registry, "dependencies": dependencies}
    async with serving(bench, databases) as estate, connected(dependencies.app_dsn) as watching:
        await _until(watching, SERVICES.events)
        await _round(report, estate, watching, 200, "warm")
        rounds = [
            await _round(report, estate, watching, size, f"round{number}")
            for number in range(bench.rounds)
        ]
    audited = await audit_log(registry.app_dsn)
    report.check(audited.first_fault is None, "the log verifies")
    for percent, bars in ((50, ()), (99, (Bar("value", "<=", 250),))):
        values = tuple(percentile(one, percent) for one in rounds)
        report.lines.append(
            Line(f"p{percent} at {RATE} commands/s", Series(values, "ms"), bars=bars)
        )
    report.notes.append(
        "Each command gives a service a new name. From the answer of the registry to the first "
        "look that finds the name's row, or a later one, in the read model of the dependencies "
        "service, which follows the registry's topic; looked at every 2 ms. Log, relay, Kafka, "
        "feed and projection lie between."
    )
    return report


async def _round(
    report: Report, estate: Serving, watching: Watching, size: int, label: str
) -> list[float]:
    """Send so many commands at the rate; return the milliseconds until each was visible."""
    accepted: list[Accepted] = []
    sending = asyncio.create_task(_send(estate, size, label, accepted))
    seen = await _watch(watching, sending, accepted)
    await _check(report, watching, size, label, accepted)
    answered = [one.at for one in accepted]
    spent_s = max(answered) - min(answered)
    report.check(spent_s <= size / RATE * _LATE, "commands were sent at the rate")
    reached = [position for position, _ in seen]
    return [
        max(0.0, seen[bisect_left(reached, one.position)][1] - one.at) * 1000 for one in accepted
    ]


async def _check(
    report: Report, watching: Watching, size: int, label: str, accepted: list[Accepted]
) -> None:
    rows = await watching.fetch(_NAMES, f'"{label},')
    due = sorted((one.position, canonical_bytes(one.name).decode()) for one in accepted)
    report.check(len(due) == size, "every command was accepted")
    report.check(
        [tuple(row) for row in rows] == due,
        "the other service's read model holds each accepted name, once, by the event that gave it",
    )


async def _watch(
    watching: Watching, sending: "asyncio.Task[None]", accepted: list[Accepted]
) -> list[tuple[int, float]]:
    """Note when a later row became visible, until all that was accepted is."""
    seen: list[tuple[int, float]] = []
    while True:
        is_over = sending.done()
        position = await watching.fetchval(_LATEST)
        if not seen or position > seen[-1][0]:
            seen.append((position, time.perf_counter()))
        if is_over:
            await sending
            if position >= max(one.position for one in accepted):
                return seen
            if time.perf_counter() - seen[-1][1] > _SETTLED_S:
                raise RuntimeError(f"the read model stands at {position}")
        await asyncio.sleep(_LOOK_S)


async def _send(estate: Serving, size: int, label: str, accepted: list[Accepted]) -> None:
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
    session: aiohttp.ClientSession, number: int, label: str, accepted: list[Accepted]
) -> None:
    service = SERVICES.service(number % SERVICES.services)
    name = f"{label}, command {number}"
    key = {"Idempotency-Key": f"{label}-{number}"}
    path = f"/v1/services/{service}/change-details"
    async with session.post(path, json={"name": name}, headers=key) as response:
        answer: dict[str, Any] = await response.json()
        answered_at = time.perf_counter()
        response.raise_for_status()
    position = int(answer["positions"].rpartition(":")[2])
    accepted.append(Accepted(position, name, answered_at))


async def _until(watching: Watching, position: int) -> None:
    async with asyncio.timeout(_SETTLED_S):
        while (await watching.fetchval(_LATEST) or 0) < position:
            await asyncio.sleep(0.05)
