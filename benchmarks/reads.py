"""How long questions over HTTP take on a large estate, one after the other."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

import aiohttp
import asyncpg

from benchmarks.estate_data import BEGINNING, Estate
from benchmarks.measuring import Bar, Line, Report, Series, percentile
from benchmarks.processes import Serving, serving
from benchmarks.rebuild import make_read_model
from benchmarks.servers import Bench, connected
from services.registry.read_models.projection import ESTATE as MODEL
from shared.clock import format_instant

_ASKED: Final = 1_000
_EVENTS_EACH: Final = 3
_LIMIT: Final = 50
_TEN_YEARS_S: Final = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Question:
    """A path to ask for, a check of what is answered, the bar of its p95 in ms."""

    what: str
    limit_ms: float
    path: Callable[[Estate, Random], str]
    is_right: Callable[[str, dict[str, Any]], bool]


def _one(estate: Estate, random: Random) -> str:
    return f"/v1/services/{estate.service(random.randrange(estate.services))}"


def _page(estate: Estate, random: Random) -> str:
    organisation = estate.organisation(random.randrange(estate.organisations))
    return f"/v1/services?organisation={organisation}&limit={_LIMIT}"


def _first_page(_estate: Estate, _random: Random) -> str:
    return f"/v1/services?limit={_LIMIT}"


def _as_of(estate: Estate, random: Random) -> str:
    # In the second half of the ten years every service is registered.
    instant = BEGINNING + timedelta(seconds=random.randrange(_TEN_YEARS_S // 2, _TEN_YEARS_S))
    moment = format_instant(instant)
    return f"{_one(estate, random)}?as_of={moment}"


def _is_asked_for(path: str, answer: dict[str, Any]) -> bool:
    return bool(answer["id"] == path.partition("?")[0].rpartition("/")[2])


def _is_page(_path: str, answer: dict[str, Any]) -> bool:
    slugs = [one["slug"] for one in answer["items"]]
    return len(slugs) == _LIMIT and slugs == sorted(set(slugs))


QUESTIONS: Final = (
    Question("service by id", 5, _one, _is_asked_for),
    Question("page of 50 of all services", 20, _first_page, _is_page),
    Question("page of 50 of one organisation", 20, _page, _is_page),
    Question("service as of an instant", 20, _as_of, _is_asked_for),
)


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    estate = Estate(size * _EVENTS_EACH, size)
    access = await bench.filled_log(estate)
    bench.say("building the read model")
    _, made = await make_read_model(access)
    found: dict[str, list[float]] = {one.what: [] for one in QUESTIONS}
    plain: list[float] = []
    async with connected(access.app_dsn) as connection:
        await connection.execute("ANALYZE")
        async with serving(bench, {"registry": access}) as running:
            await _published(running, estate)
            for _ in range(bench.rounds):
                for question in QUESTIONS:
                    p95 = await _asked(report, running, estate, question)
                    found[question.what].append(p95)
                plain.append(await _plain(connection, estate, MODEL.schema(made.number)))
    for question in QUESTIONS:
        bars = (Bar("value", "<=", question.limit_ms),)
        ours = Series(tuple(found[question.what]), "ms p95")
        against = Series(tuple(plain), "ms p95")
        beside = "one row by its key over asyncpg"
        report.lines.append(Line(question.what, ours, against, beside, bars))
    report.notes.append(
        f"{size:,} services, {estate.events:,} events; one connection, {_ASKED:,} questions of "
        "each kind a round, about things picked at random by seed."
    )
    return report


async def _published(running: Serving, estate: Estate) -> None:
    """Wait until the registry has told its topic the log that was made for it."""
    async with aiohttp.ClientSession(running.url("registry")) as session, asyncio.timeout(300):
        done = f"estate_relay_position {float(estate.events)}"
        while True:
            async with session.get("/metrics") as response:
                if done in await response.text():
                    return
            await asyncio.sleep(0.5)


async def _asked(report: Report, running: Serving, estate: Estate, question: Question) -> float:
    random = Random(estate.seed)  # noqa: S311 - picks what to ask for.
    headers = {"Authorization": f"Bearer {running.admin_key}"}
    latencies = []
    right = True
    async with aiohttp.ClientSession(running.url("registry"), headers=headers) as session:
        for _ in range(_ASKED):
            path = question.path(estate, random)
            began = time.perf_counter()
            async with session.get(path) as response:
                answer = await response.json()
            latencies.append((time.perf_counter() - began) * 1000)
            right = right and response.ok and question.is_right(path, answer)
    report.check(right, f"{question.what}: every answer is of what was asked for")
    return percentile(latencies, 95)


async def _plain(
    connection: "asyncpg.Connection[asyncpg.Record]", estate: Estate, schema: str
) -> float:
    random = Random(estate.seed)  # noqa: S311 - picks what to ask for.
    statement = f"SELECT * FROM {schema}.services WHERE subject = $1"  # noqa: S608 - our own name.
    latencies = []
    for _ in range(_ASKED):
        subject = estate.service(random.randrange(estate.services))
        began = time.perf_counter()
        await connection.fetchrow(statement, subject)
        latencies.append((time.perf_counter() - began) * 1000)
    return percentile(latencies, 95)
