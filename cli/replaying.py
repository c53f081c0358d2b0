"""Owns replaying and rebuilding read models of a run, from their logs or from their topics.

Must not know what a read model answers.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import asyncpg

from services.dependencies.read_models.projection import GRAPH
from services.notifications.read_models.projection import CHANGES
from services.registry.read_models.projection import ESTATE
from shared.clock import SystemClock
from shared.contracts.names import Position, parse_positions
from shared.eventstore.reader import LogReader
from shared.http.times import parse_as_of
from shared.messaging.kafka import KafkaSettings
from shared.messaging.topic_feed import TopicFeed
from shared.projections.bulk import OpenFeed
from shared.projections.comparison import table_digests
from shared.projections.feed import Feed
from shared.projections.log_feed import LogFeed
from shared.projections.projection import Projection
from shared.projections.read_models import ReadModels
from shared.projections.rebuild import OnProgress, rebuild
from shared.projections.replay import diff, replay
from shared.projections.writing import compared_tables

PROJECTIONS: Final[Mapping[str, tuple[str, Projection]]] = {
    "estate": ("registry", ESTATE),
    "graph": ("dependencies", GRAPH),
    "changes": ("notifications", CHANGES),
}
"""Every read model, and the service whose database holds it."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay built and how it compares; `same` is None when nothing was compared."""

    model: str
    source: str
    schema: str
    positions: list[str]
    tables: int
    rows: int
    same: bool | None
    differences: list[dict[str, Any]] = field(default_factory=list)


async def replay_model(
    model: str,
    source: str,
    databases: Mapping[str, str],
    kafka: KafkaSettings,
    to: str | None,
    on_progress: OnProgress,
) -> ReplayReport:
    """Build a read model in a scratch schema; without `to`, compare it with the one that serves."""
    database, projection = PROJECTIONS[model]
    dsn, clock = databases[database], SystemClock()
    async with _feeds(source, databases, kafka) as open_feed:
        positions = None if to is None else await _positions(to, projection.logs, databases)
        label = f"replay_{source}"
        built = await replay(
            projection, open_feed, dsn, clock, to=positions, on_progress=on_progress, label=label
        )
        differences, same = [], None
        if to is None:
            found = await diff(
                projection,
                open_feed,
                dsn,
                clock,
                live_schema=projection.schema(await _serving(dsn, projection)),
                scratch_schema=built.schema,
            )
            differences, same = [asdict(one) for one in found], not found
        rows, tables = await _count_and_drop(dsn, built.schema, projection, keep=to is not None)
    return ReplayReport(
        model,
        source,
        built.schema,
        [str(position) for position in built.positions.values()],
        tables,
        rows,
        same,
        differences,
    )


async def rebuild_model(
    model: str, databases: Mapping[str, str], kafka: KafkaSettings, on_progress: OnProgress
) -> int:
    """Build the next generation and let it serve; return its number."""
    database, projection = PROJECTIONS[model]
    clock = SystemClock()
    models = ReadModels(databases[database], projection, clock)
    await models.start()
    try:
        async with _feeds("log", databases, kafka) as open_feed:
            generation = await rebuild(
                projection, open_feed, models, clock, on_progress=on_progress
            )
        return generation.number
    finally:
        await models.stop()


async def _positions(
    to: str, logs: Iterable[str], databases: Mapping[str, str]
) -> tuple[Position, ...]:
    """Positions as given, or where each log was at a time.

    Raises: ValueError when it is neither.
    """
    if ":" in to and "T" not in to:
        return parse_positions(to)
    instant, positions = parse_as_of(to), []
    for log in logs:
        pool = asyncpg.create_pool(databases[log], min_size=0, max_size=1, timeout=10)
        async with pool:
            reader = LogReader(pool, log)
            positions.append(Position(log, await reader.position_at(instant)))
    return tuple(positions)


@asynccontextmanager
async def _feeds(
    source: str, databases: Mapping[str, str], kafka: KafkaSettings
) -> AsyncIterator[OpenFeed]:
    pools = {
        log: asyncpg.create_pool(databases[log], min_size=0, max_size=4, timeout=10)
        for log in ("registry", "dependencies")
        if log in databases
    }

    def open_feed(log: str) -> Feed:
        if source == "topic":
            return TopicFeed(log, kafka, SystemClock())
        return LogFeed(LogReader(pools[log], log))

    try:
        for pool in pools.values():
            await pool
        yield open_feed
    finally:
        for pool in pools.values():
            pool.terminate()


async def _serving(dsn: str, projection: Projection) -> int:
    models = ReadModels(dsn, projection, SystemClock())
    try:
        return (await models.look()).number
    finally:
        await models.stop()


async def _count_and_drop(
    dsn: str, schema: str, projection: Projection, *, keep: bool
) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        digests = await table_digests(connection, schema, compared_tables(projection))
        if not keep:
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        return sum(rows for rows, _digest in digests.values()), len(digests)
    finally:
        await connection.close(timeout=5)
