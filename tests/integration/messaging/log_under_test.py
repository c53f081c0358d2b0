"""A real log of a database of its own, filled through the real writer, and its topic as it is."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
from aiokafka import ConsumerRecord, TopicPartition

import shared
from deploy.local.config import KafkaAccess
from shared.clock import SystemClock, new_id
from shared.contracts.envelope import Origin
from shared.contracts.events.organisations import OrganisationRenamed
from shared.contracts.topics import events_topic
from shared.database.migrate import find_migrations, migrate
from shared.database.provision import DatabaseAccess, provision
from shared.database.sessions import session_settings
from shared.eventstore.append import Connection
from shared.eventstore.reader import HeadSignal, LogReader, Pool
from shared.eventstore.types import (
    Category,
    Decision,
    Fact,
    NewEvent,
    Outcome,
    PendingCommand,
    View,
)
from shared.eventstore.writer import LogWriter, WriterLimits
from shared.messaging.kafka import KafkaSettings, drop_consumer, start_consumer
from shared.messaging.relay import Relay, RelayLimits

CLOCK = SystemClock()
EFFECTIVE = datetime(2026, 1, 1, tzinfo=UTC)
_SHARED = Path(shared.__file__).parent


def _count(state: int, _fact: Fact) -> int:
    return state + 1


ORGANISATIONS: Category[int] = Category("organisation", 0, _count)
CATEGORIES: dict[str, Category[Any]] = {"organisation": ORGANISATIONS}


def rename(key: str, subject: str, names: list[str], door: str = "http") -> PendingCommand:
    """A command that adds one event per name to one stream."""

    def decide(_view: View) -> Decision:
        made = tuple(NewEvent(subject, OrganisationRenamed(name=n), EFFECTIVE) for n in names)
        return Decision(subject, made)

    origin = Origin("act_test", "key_test", None, door, key, key)
    return PendingCommand(key, key.encode(), origin, decide)


@dataclass(frozen=True)
class LogUnderTest:
    name: str
    access: DatabaseAccess
    pool: Pool
    reader: LogReader
    writer: LogWriter
    signal: HeadSignal

    @property
    def topic(self) -> str:
        return events_topic(self.name, 1)

    async def fill(self, count: int, *, per_command: int = 1, size: int = 10) -> None:
        """Append `count` events over ten streams."""
        batch = secrets.token_hex(4)
        commands = [
            rename(f"{batch}-{n}", f"org_{n % 10:032x}", ["x" * size] * per_command)
            for n in range(count // per_command)
        ]
        for start in range(0, len(commands), 2_000):
            waiting = [self.writer.enqueue(c) for c in commands[start : start + 2_000]]
            await asyncio.gather(*waiting)

    async def bodies(self) -> list[bytes]:
        return await self.reader.bodies_after(0, 1_000_000)

    async def submit(self, command: PendingCommand) -> Outcome:
        return await self.writer.submit(command)


@asynccontextmanager
async def make_database(admin_dsn: str) -> AsyncIterator[DatabaseAccess]:
    """A migrated database for one test; many left behind would slow a crash recovery down."""
    name = f"msg_{secrets.token_hex(6)}"
    access = await provision(admin_dsn, name, "secret")
    migrations = (
        *find_migrations("eventstore", _SHARED / "eventstore" / "migrations"),
        *find_migrations("messaging", _SHARED / "messaging" / "migrations"),
    )
    await migrate(access.owner_dsn, migrations)
    yield access
    connection = await asyncpg.connect(admin_dsn)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@asynccontextmanager
async def open_log(access: DatabaseAccess, name: str) -> AsyncIterator[LogUnderTest]:
    # What is frozen must not keep the gate or a row from the others for longer than this.
    settings = session_settings(f"{name} under test", 2) | {"lock_timeout": "1s"}
    limits = WriterLimits(gate_hold_max_s=2)
    async with asyncpg.create_pool(
        access.app_dsn, min_size=1, max_size=4, server_settings=settings
    ) as pool:
        signal = HeadSignal()

        async def connect() -> Connection:
            return await asyncpg.connect(access.app_dsn, server_settings=settings)

        writer = LogWriter(
            connect,
            CATEGORIES,
            CLOCK,
            new_id,
            limits=limits,
            on_batch=lambda done: signal.announce(done.position),
        )
        await writer.start()
        reader = LogReader(pool, name)
        await reader.open()
        try:
            yield LogUnderTest(name, access, pool, reader, writer, signal)
        finally:
            await writer.stop()


@asynccontextmanager
async def relaying(
    log: LogUnderTest, kafka: KafkaSettings, limits: RelayLimits | None = None
) -> AsyncIterator[Relay]:
    relay = Relay(log.reader, log.pool, kafka, log.signal, CLOCK, holder="test", limits=limits)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


def new_log_name() -> str:
    """A log name of letters alone, so that tests on one broker do not meet."""
    return "test" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(10))


def settings_for(access: KafkaAccess) -> KafkaSettings:
    return KafkaSettings(
        access.bootstrap,
        access.security_protocol,
        access.sasl_mechanism,
        access.username,
        access.password,
    )


async def eventually(
    condition: Callable[[], Awaitable[bool] | bool], deadline_s: float = 40.0
) -> None:
    """Return when the condition holds; fail at the deadline."""
    async with asyncio.timeout(deadline_s):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.02)


async def read_topic(settings: KafkaSettings, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
    """Every record of partition 0, in order."""
    place = TopicPartition(topic, 0)
    consumer = await start_consumer(settings, partition_fetch_max_bytes=8 * 1024 * 1024)
    try:
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        consumer.seek(place, first)
        records: list[ConsumerRecord[bytes, bytes]] = []
        async with asyncio.timeout(30):
            while len(records) < end - first:
                found = await consumer.getmany(place, timeout_ms=500)
                records += found.get(place, [])
        return records
    finally:
        await drop_consumer(consumer)


def positions(records: list[ConsumerRecord[bytes, bytes]]) -> list[int]:
    return [int(orjson.loads(record.value or b"")["position"]) for record in records]


def without_repeats(
    records: list[ConsumerRecord[bytes, bytes]],
) -> list[ConsumerRecord[bytes, bytes]]:
    """What a reader keeps. Fails when a position was left out."""
    kept: list[ConsumerRecord[bytes, bytes]] = []
    for position, record in zip(positions(records), records, strict=True):
        assert position <= len(kept) + 1, f"{position} came behind {len(kept)}"
        if position == len(kept) + 1:
            kept.append(record)
        else:
            assert record.value == kept[position - 1].value
    return kept
