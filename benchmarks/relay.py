"""How fast the log gets onto its topic, beside sending the same bytes with the same client."""

import asyncio
import time

from benchmarks.estate_data import estate_of
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import forget_topics
from benchmarks.servers import Bench, connected, pooled
from benchmarks.topics import Keyed, producing, records_of, send_all
from shared.clock import SystemClock
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic
from shared.eventstore.reader import HeadSignal, LogReader
from shared.messaging.kafka import ensure_topic
from shared.messaging.relay import Relay

TOPIC = events_topic("registry", 1)


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    access = await bench.filled_log(estate_of(size))
    async with connected(access.app_dsn) as connection:
        rows = await connection.fetch("SELECT stream, body FROM log.events ORDER BY position")
    records = [(row["stream"].encode(), row["body"]) for row in rows]

    async def ours() -> float:
        await forget_topics(bench)
        async with connected(access.owner_dsn) as connection:
            await connection.execute("TRUNCATE messaging.publications")
        spent_s = await publish(bench, access.app_dsn, size)
        await _check(bench, report, TOPIC, records)
        return size / spent_s

    async def raw() -> float:
        topic = bench.fresh_name("raw")
        await ensure_topic(bench.kafka, topic, EVENT_TOPIC_CONFIG)
        async with producing(bench.kafka) as producer:
            started = time.perf_counter()
            await send_all(producer, topic, records)
            spent_s = time.perf_counter() - started
        await _check(bench, report, topic, records)
        return size / spent_s

    ours_values, raw_values = await interleaved((ours, raw), bench.rounds)
    report.lines.append(
        Line(
            "log to topic",
            Series(ours_values, "events/s"),
            Series(raw_values, "events/s"),
            "aiokafka send_batch of the same bytes from memory",
            (Bar("ratio", ">=", 0.5),),
        )
    )
    report.notes.append(
        "Both sides begin with a producer that has started, and end with the last acknowledgement. "
        "The relay reads the log from PostgreSQL, renews its lease before each batch, and makes "
        "the next only when one is acknowledged; beside it the next batch is made, from memory, "
        "while one is sent."
    )
    return report


async def publish(bench: Bench, dsn: str, size: int) -> float:
    """Run a relay until the whole log is on its topic; return the seconds since it led."""
    async with pooled(dsn) as pool:
        reader = LogReader(pool, "registry")
        relay = Relay(reader, pool, bench.kafka, HeadSignal(), SystemClock(), holder="bench")
        await relay.start()
        try:
            while relay.status.state != "leading":
                await asyncio.sleep(0.002)
            started = time.perf_counter()
            while relay.status.position < size:
                await asyncio.sleep(0.002)
                if relay.status.state != "leading":
                    raise RuntimeError(f"the relay is {relay.status.state}: {relay.status.detail}")
            return time.perf_counter() - started
        finally:
            await relay.stop()


async def _check(bench: Bench, report: Report, topic: str, records: list[Keyed]) -> None:
    position = 0
    same = True
    async for found in records_of(bench.kafka, topic):
        due = records[position : position + len(found)]
        same = same and [(one.key, one.value) for one in found] == due
        position += len(found)
    report.check(position == len(records), "each topic has every event, once")
    report.check(same, "byte for byte, in the order of the log")
