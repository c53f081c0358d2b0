"""Owns the processes of a simulated estate: the real parts, put together upon the fakes.

Must put them together as shared/service/log_service.py does.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from shared.clock import Clock
from shared.contracts.topics import submissions_topic
from shared.database.sessions import session_settings
from shared.eventstore.append import Connection
from shared.eventstore.reader import HeadSignal, LogReader
from shared.eventstore.writer import BatchDone, LogWriter, WriterLimits
from shared.messaging.intake import Intake, IntakeLimits
from shared.messaging.kafka import Kafka
from shared.messaging.relay import Relay, RelayLimits
from shared.messaging.submissions import Submissions
from shared.messaging.topic_feed import TopicFeed, TopicFeedLimits
from shared.projections.feed import Feed
from shared.projections.follower import RunnerLimits
from shared.projections.log_feed import LogFeed
from shared.projections.read_models import ReadLimits, ReadModels
from shared.projections.runner import ProjectionRunner
from shared.service.components import Component
from shared.service.log_service import _explain
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_driver import FakeDriver, fake_pool
from tests.simulation.fake_read_model import projection
from tests.simulation.http_door import HttpDoor
from tests.simulation.requests import CATEGORIES, LOG, ORGANISATIONS, make_doors, record_reader
from tests.simulation.virtual_time import Process, ProcessClock, VirtualLoop

LEASE_TTL_S: Final = 2.0
POOL_TRANSACTION_S: Final = 3.0
# Everything takes a fifth of the time that it takes in service, and holds less.
WRITER: Final = WriterLimits(
    batch_max_commands=3,
    batch_max_bytes=3_000,
    statement_timeout_s=2.0,
    commit_deadline_s=3.0,
    resolve_deadline_s=1.0,
    gate_hold_max_s=4.0,
)
RELAY: Final = RelayLimits(
    batch_max_events=8,
    batch_max_bytes=3_000,
    poll_interval_s=0.3,
    lease_ttl_s=LEASE_TTL_S,
    lease_renew_s=0.6,
    standby_poll_s=0.4,
    retry_s=0.1,
    recheck_s=1.0,
    send_deadline_s=1.5,
    statement_timeout_s=2.0,
)
INTAKE: Final = IntakeLimits(
    batch_max_records=12,
    poll_s=0.3,
    refresh_s=1.0,
    lease_ttl_s=LEASE_TTL_S,
    lease_renew_s=0.6,
    standby_poll_s=0.4,
    retry_s=0.1,
    statement_timeout_s=2.0,
)
RUNNER: Final = RunnerLimits(batch_max_events=6, read_wait_s=1.0, tick_interval_s=0.5)
READS: Final = ReadLimits(write_timeout_s=4.0, look_interval_s=2.0)
FEED: Final = TopicFeedLimits(proof_interval_s=1.0, request_deadline_s=1.0, delivery_deadline_s=2.0)


class Node:
    """A process: parts that start together, and end only by its death."""

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.process = Process(name)
        self.clock: Clock = ProcessClock(loop, self.process)
        self.parts: Sequence[Component] = ()
        self._loop = loop

    @property
    def answers(self) -> bool:
        """Whether a request would reach it."""
        return not self.process.dead

    def begin(self) -> None:
        """Start all parts."""
        self._loop.spawn(self.process, self._begin())

    async def _begin(self) -> None:
        for part in self.parts:
            await part.start()


class RegistryNode(Node):
    """Both doors, writer, relay, intake and a read model of the own log."""

    def __init__(self, name: str, loop: VirtualLoop, database: FakeDatabase, kafka: Kafka) -> None:
        super().__init__(name, loop)
        pool = fake_pool(database, POOL_TRANSACTION_S)
        signal, driver = HeadSignal(), FakeDriver(database)
        reader = LogReader(pool, LOG, timeout_s=2.0)

        async def connect() -> Connection:
            settings = {"lock_timeout": "1s", **session_settings(name, 2.0)}
            return await driver.connect(
                "", timeout=1.0, command_timeout=10.0, server_settings=settings
            )

        def on_batch(done: BatchDone) -> None:
            signal.announce(done.position)

        doors = make_doors(self.clock, name)
        ids = iter(range(1_000_000))
        self.writer = LogWriter(
            connect,
            CATEGORIES,
            self.clock,
            lambda prefix: f"{prefix}{name}-{next(ids)}",
            limits=WRITER,
            on_batch=on_batch,
        )
        self.relay = Relay(reader, pool, kafka, signal, self.clock, holder=name, limits=RELAY)
        self.intake = Intake(
            LOG,
            self.writer,
            pool,
            kafka,
            self.clock,
            record_reader(doors),
            _organisations,
            holder=name,
            explain=_explain,
            limits=INTAKE,
        )
        self.door = HttpDoor(doors, self.writer, Submissions(pool, timeout_s=2.0))
        models = ReadModels("", projection(LOG), self.clock, READS, driver=driver)
        self.runner = ProjectionRunner(
            projection(LOG), lambda _log: LogFeed(reader, signal), models, self.clock, limits=RUNNER
        )
        self.parts = (models, self.writer, self.runner, self.relay, self.intake)


class FollowerNode(Node):
    """A read model of the log as its topic carries it, in a database of its own."""

    def __init__(self, name: str, loop: VirtualLoop, database: FakeDatabase, kafka: Kafka) -> None:
        super().__init__(name, loop)

        def open_feed(log: str) -> Feed:
            return TopicFeed(log, kafka, self.clock, limits=FEED)

        models = ReadModels("", projection(LOG), self.clock, READS, driver=FakeDriver(database))
        self.runner = ProjectionRunner(
            projection(LOG), open_feed, models, self.clock, limits=RUNNER
        )
        self.parts = (models, self.runner)


async def _organisations() -> Sequence[str]:
    await asyncio.sleep(0)
    return ORGANISATIONS


SUBMISSIONS: Final = tuple(submissions_topic(LOG, one) for one in ORGANISATIONS)
