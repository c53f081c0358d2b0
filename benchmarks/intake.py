"""How fast submissions become accepted, each once, beside only reading and parsing their topic."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import orjson
from pydantic import SecretStr

from benchmarks.estate_data import Estate
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import environment, forget_topics, serving
from benchmarks.rebuild import make_read_model
from benchmarks.servers import Bench, connected
from benchmarks.topics import Keyed, producing, records_of, send_all
from cli.local_estate import ensure_key
from cli.local_state import keys_path
from services.registry.bootstrap import build
from services.registry.config import RegistrySettings
from shared.audit.audit import audit_log
from shared.auth.principals import Role
from shared.clock import SystemClock, new_id
from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG, submissions_topic
from shared.database.provision import DatabaseAccess
from shared.eventstore.writer import LogWriter
from shared.messaging.intake import Intake
from shared.messaging.kafka import ensure_topic
from shared.projections.read_models import ReadModels
from shared.service.components import PoolComponent, running
from shared.service.config import EstateSettings

# So few services that one organisation keeps them all: its topic is the only one.
ESTATE_KEPT_BY_ONE: Final = Estate(202, 190)
_PHASES: Final = ("alpha", "beta", "live")
_REPEATED_EVERY: Final = 100
_POSITION: Final = "SELECT position FROM log.head"
_TAKEN: Final = """
SELECT count(*), count(DISTINCT key), count(DISTINCT first_position),
    count(*) FILTER (WHERE split_part(key, ':', 4)::bigint + $1 <> first_position)
FROM log.commands WHERE key LIKE 'submission:%'
"""


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    records = [record for number in range(1, size + 1) for record in _submitted(number)]

    async def alone() -> float:
        async with _prepared(bench, records) as access, _intake_alone(bench, access):
            return await _taken(report, access, size)

    async def whole() -> float:
        # Its topics are those just filled, so they are kept.
        async with (
            _prepared(bench, records) as access,
            serving(bench, {"registry": access}, fresh_topics=False),
        ):
            return await _taken(report, access, size)

    async def raw() -> float:
        return await _read_and_parse(bench, records)

    numbers = [
        Series(one, "submissions/s") for one in await interleaved((alone, whole, raw), bench.rounds)
    ]
    bars = (Bar("value", ">=", 10_000),)
    beside = "aiokafka getmany and orjson of the same topic"
    report.lines += [
        Line("intake and writer alone", numbers[0], numbers[2], beside, bars),
        Line(
            "a whole registry, which also publishes and projects",
            numbers[1],
            numbers[2],
            beside,
            bars,
        ),
    ]
    report.notes.append(
        "From the first batch that was accepted to the last. One topic, one organisation; every "
        f"{_REPEATED_EVERY}th submission is sent twice."
    )
    return report


def _submitted(number: int) -> list[Keyed]:
    """One submission, or the same twice."""
    service = number % ESTATE_KEPT_BY_ONE.services
    phase = _PHASES[number // ESTATE_KEPT_BY_ONE.services % 3]
    subject = f"bench:{service}"
    document = {
        "specversion": "1.0",
        "id": str(number),
        "source": "bench",
        "type": "estate.service.change_phase.v1",
        "subject": subject,
        "time": "2026-01-31T09:00:00Z",
        "data": {"phase": phase, "reason": "assessment met"},
    }
    record = (subject.encode(), orjson.dumps(document))
    return [record] * (2 if number % _REPEATED_EVERY == 0 else 1)


@asynccontextmanager
async def _prepared(bench: Bench, records: list[Keyed]) -> AsyncIterator[DatabaseAccess]:
    """An estate whose read model is up to date, and a topic full of submissions."""
    await forget_topics(bench)
    access = await bench.filled_log(ESTATE_KEPT_BY_ONE)
    await make_read_model(access)
    await _fill(bench, submissions_topic("registry", ESTATE_KEPT_BY_ONE.organisation(0)), records)
    yield access
    await bench.drop(access)


@asynccontextmanager
async def _intake_alone(bench: Bench, access: DatabaseAccess) -> AsyncIterator[None]:
    """The registry without its relay, projection and HTTP."""
    ensure_key(bench.state_dir, "admin", Role.ADMIN)
    settings = RegistrySettings(database_dsn=SecretStr(access.app_dsn))
    told = environment(bench, "registry", access, 0)
    estate = EstateSettings(
        kafka_bootstrap=bench.kafka.bootstrap,
        keys_file=keys_path(bench.state_dir),
        cursor_secret=SecretStr(told["ESTATE_CURSOR_SECRET"]),
    )
    parts = build(settings, estate, SystemClock(), new_id).components
    needed = (PoolComponent, ReadModels, LogWriter, Intake)
    async with running([part for part in parts if isinstance(part, needed)]):
        yield


async def _taken(report: Report, access: DatabaseAccess, size: int) -> float:
    """Watch the log until all were taken; what was there when it first moved does not count."""
    base = ESTATE_KEPT_BY_ONE.events
    async with connected(access.app_dsn) as connection:
        first = base
        while first == base:
            await asyncio.sleep(0.002)
            first = await connection.fetchval(_POSITION)
        started = time.perf_counter()
        async with asyncio.timeout(600):
            while await connection.fetchval(_POSITION) < base + size:
                await asyncio.sleep(0.01)
        spent_s = time.perf_counter() - started
        await _check(report, connection, access, size)
    return (base + size - first) / spent_s


async def _check(
    report: Report,
    connection: "asyncpg.Connection[asyncpg.Record]",
    access: DatabaseAccess,
    size: int,
) -> None:
    base = ESTATE_KEPT_BY_ONE.events
    row = tuple(await connection.fetchrow(_TAKEN, base) or ())
    report.check(row[:3] == (size, size, size), "each submission has one command and one event")
    report.check(row[3] == 0, "in the order of the topic")
    position = await connection.fetchval(_POSITION)
    report.check(position == base + size, "what was sent twice had no second effect")
    audited = await audit_log(access.app_dsn)
    report.check(audited.first_fault is None, "the log verifies")


async def _fill(bench: Bench, topic: str, records: list[Keyed]) -> None:
    await ensure_topic(bench.kafka, topic, SUBMISSION_TOPIC_CONFIG)
    async with producing(bench.kafka) as producer:
        await send_all(producer, topic, records)


async def _read_and_parse(bench: Bench, records: list[Keyed]) -> float:
    topic = bench.fresh_name("raw")
    await _fill(bench, topic, records)
    count, started = 0, time.perf_counter()
    async for found in records_of(bench.kafka, topic, 500):
        for record in found:
            orjson.loads(record.value or b"")
        count += len(found)
    return count / (time.perf_counter() - started)
