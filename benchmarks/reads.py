"""How long questions over HTTP take on a large estate, one after the other."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg

from benchmarks.estate_data import BEGINNING, Estate
from benchmarks.estate_truth import ALWAYS, EstateTruth
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
    is_right: Callable[[EstateTruth, str, dict[str, Any]], bool]
    checked: str


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


def _is_true(truth: EstateTruth, path: str, answer: dict[str, Any]) -> bool:
    asked = parse_qs(urlsplit(path).query)
    instant = datetime.fromisoformat(asked["as_of"][0]) if "as_of" in asked else ALWAYS
    owner = answer["roles"].get("owning-team")
    told = {name: answer[name] for name in ("id", "slug", "name", "phase")}
    told["organisation"] = answer["organisation"]["id"]
    told["owner"] = None if owner is None else owner["id"]
    return told == truth.service(_service_in(path), instant)


def _service_in(path: str) -> str:
    return path.partition("?")[0].rpartition("/")[2]


def _is_page(truth: EstateTruth, path: str, answer: dict[str, Any]) -> bool:
    organisation = parse_qs(urlsplit(path).query).get("organisation", [None])[0]
    items = answer["items"]
    keepers = {one["organisation"]["id"] for one in items}
    return [one["slug"] for one in items] == truth.slugs(organisation, _LIMIT) and (
        organisation is None or keepers == {organisation}
    )


_FOLDED: Final = "every answer is what the estate's events say, folded one by one"
_PAGED: Final = "every page holds the first services, and those alone"
QUESTIONS: Final = (
    Question("service by id", 5, _one, _is_true, _FOLDED),
    Question("page of 50 of all services", 20, _first_page, _is_page, _PAGED),
    Question("page of 50 of one organisation", 20, _page, _is_page, f"{_PAGED}, that it keeps"),
    Question("service as of an instant", 20, _as_of, _is_true, f"{_FOLDED}, up to that instant"),
)


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    estate = Estate(size * _EVENTS_EACH, size)
    access = await bench.filled_log(estate)
    bench.say("building the read model")
    _, made = await make_read_model(access)
    paths = {one.what: _paths(estate, one) for one in QUESTIONS}
    truth = EstateTruth(estate, {_service_in(path) for some in paths.values() for path in some})
    found: dict[str, list[float]] = {one.what: [] for one in QUESTIONS}
    plain: list[float] = []
    async with connected(access.app_dsn) as connection:
        await connection.execute("ANALYZE")
        async with serving(bench, {"registry": access}) as running:
            await _published(running, estate)
            for _ in range(bench.rounds):
                for question in QUESTIONS:
                    p95 = await _asked(report, running, truth, question, paths[question.what])
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


def _paths(estate: Estate, question: Question) -> list[str]:
    random = Random(estate.seed)  # noqa: S311 - picks what to ask for.
    return [question.path(estate, random) for _ in range(_ASKED)]


async def _asked(
    report: Report, running: Serving, truth: EstateTruth, question: Question, paths: list[str]
) -> float:
    headers = {"Authorization": f"Bearer {running.admin_key}"}
    latencies = []
    right = True
    async with aiohttp.ClientSession(running.url("registry"), headers=headers) as session:
        for path in paths:
            began = time.perf_counter()
            async with session.get(path) as response:
                answer = await response.json()
            latencies.append((time.perf_counter() - began) * 1000)
            right = right and response.ok and question.is_right(truth, path, answer)
    report.check(right, f"{question.what}: {question.checked}")
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
