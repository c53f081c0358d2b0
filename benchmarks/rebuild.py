"""How fast the registry's read model is made anew, beside only reading what it is made from."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import asyncpg

from benchmarks.estate_data import estate_of
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import forget_topics
from benchmarks.relay import TOPIC, publish
from benchmarks.servers import Bench, connected, pooled
from benchmarks.topics import records_of
from services.registry.read_models.projection import ESTATE
from shared.clock import SystemClock
from shared.database.provision import DatabaseAccess
from shared.eventstore.reader import LogReader
from shared.messaging.topic_feed import TopicFeed
from shared.projections.comparison import table_digests
from shared.projections.feed import Feed
from shared.projections.generations import Generation
from shared.projections.log_feed import LogFeed
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import REBUILD_BATCH_EVENTS, rebuild
from shared.projections.writing import compared_tables

_OLDER: Final = replace(ESTATE, version=ESTATE.version - 1)
"""What serves before: rebuilds are for a change of a read model's code."""

Tables = dict[str, tuple[int, str]]


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    access = await bench.filled_log(estate_of(size))
    await forget_topics(bench)
    await publish(bench, access.app_dsn, size)
    found: list[Tables] = []

    async def from_log() -> float:
        return await _rebuilt(bench, report, size, None, found)

    async def from_topic() -> float:
        def open_feed() -> Feed:
            return TopicFeed("registry", bench.kafka, SystemClock())

        return await _rebuilt(bench, report, size, open_feed, found)

    async def log_alone() -> float:
        return await _read_log(access, size)

    async def topic_alone() -> float:
        return await _read_topic(bench, size)

    sides = (from_log, log_alone, from_topic, topic_alone)
    numbers = [Series(one, "events/s") for one in await interleaved(sides, bench.rounds)]
    bars = (Bar("value", ">=", 60_000), Bar("ratio", ">=", 0.4))
    report.lines += [
        Line("from the log", numbers[0], numbers[1], "reading the log alone", bars),
        Line("from the topic", numbers[2], numbers[3], "reading the topic alone", bars),
    ]
    same = all(one == found[0] for one in found)
    report.check(same, "log and topic give the same rows, every round, digest by digest")
    return report


async def _rebuilt(
    bench: Bench,
    report: Report,
    size: int,
    open_feed: Callable[[], Feed] | None,
    found: list[Tables],
) -> float:
    copy = await bench.filled_log(estate_of(size))
    spent_s, made = await make_read_model(copy, open_feed)
    async with connected(copy.app_dsn) as connection:
        schema = ESTATE.schema(made.number)
        found.append(await _digests(connection, schema))
        statement = f"SELECT count(DISTINCT position) FROM {schema}.facts"  # noqa: S608 - our name.
        stated = await connection.fetchval(statement)
        report.check(stated == size, "every event has stated its facts")
    await bench.drop(copy)
    return size / spent_s


async def make_read_model(
    access: DatabaseAccess, open_feed: Callable[[], Feed] | None = None
) -> tuple[float, Generation]:
    """Rebuild beside an empty older generation; copy, indexes, derived rows and flip all count."""
    older = ReadModels(access.app_dsn, _OLDER, SystemClock())
    await older.start()
    await older.stop()
    models = ReadModels(access.app_dsn, ESTATE, SystemClock())
    await models.start()
    try:
        async with pooled(access.app_dsn) as pool:
            feed = open_feed() if open_feed else LogFeed(LogReader(pool, "registry"))
            started = time.perf_counter()
            made = await rebuild(ESTATE, lambda _log: feed, models, SystemClock())
            return time.perf_counter() - started, made
    finally:
        await models.stop()


async def _digests(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> Tables:
    digests = await table_digests(connection, schema, compared_tables(ESTATE))
    return dict(digests)


async def _read_log(access: DatabaseAccess, size: int) -> float:
    async with pooled(access.app_dsn) as pool:
        reader, position = LogReader(pool, "registry"), 0
        started = time.perf_counter()
        while bodies := await reader.bodies_after(position, REBUILD_BATCH_EVENTS):
            position += len(bodies)
        return _rate(size, position, started)


async def _read_topic(bench: Bench, size: int) -> float:
    position, started = 0, time.perf_counter()
    async for records in records_of(bench.kafka, TOPIC, REBUILD_BATCH_EVENTS):
        position += len(records)
    return _rate(size, position, started)


def _rate(size: int, position: int, started: float) -> float:
    if position != size:
        raise RuntimeError(f"{position} of {size} events were read")
    return size / (time.perf_counter() - started)
