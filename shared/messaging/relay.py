"""Owns publishing the log on its topic: every event, in order, its bytes untouched.

Must not skip, and must not trust anything but the topic's tail for where to go on.
Source: docs/adr (relay), docs/runbooks (relay stopped).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer

from shared.background import Background
from shared.clock import Clock
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic, newest_publication
from shared.eventstore.reader import HeadSignal, LogReader, Pool
from shared.failpoints import reach
from shared.messaging.kafka import (
    Kafka,
    KafkaUnreachableError,
    TopicMisconfiguredError,
    TopicMissingError,
    drop_producer,
    ensure_topic,
    reaching_kafka,
    start_producer,
)
from shared.messaging.lease import DATABASE_ERRORS, Lease, LeaseLostError
from shared.messaging.relay_log import HeadState, Outgoing, RelayLog
from shared.messaging.relay_proof import RelayStoppedError, prove_tail
from shared.messaging.topic_reader import TopicReader

_log = structlog.get_logger(__name__)

_SENT_WITHIN_S: Final = 0.005
# A list: the compiled record builder takes nothing else.
_HEADERS: Final = [("content-type", b"application/cloudevents+json")]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of the relay; see docs/configuration.md."""

    batch_max_events: int = 2_000
    batch_max_bytes: int = 1_000_000
    poll_interval_s: float = 0.05
    lease_ttl_s: float = 5.0
    lease_renew_s: float = 2.0
    standby_poll_s: float = 1.0
    retry_s: float = 0.5
    recheck_s: float = 5.0
    send_deadline_s: float = 30.0
    statement_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What the relay is doing.

    `state` is `starting`, `leading`, `standby`, `kafka-unreachable`, `database-unreachable` or
    `stopped:<reason>`; see RelayStoppedError for the reasons. `position` is the last one known to
    be on the topic.
    """

    state: str = "starting"
    detail: str = ""
    publication: int = 0
    position: int = 0
    head: int = 0
    epoch: int = 0
    producer_rebuilds: int = 0

    @property
    def lag(self) -> int:
        """How many events are in the log and not known to be on the topic."""
        return max(0, self.head - self.position)


class Relay:
    """Publishes one log while it holds the lease; else it stands by.

    Delivery is at least once and in order: a position may come again, none is ever left out.
    """

    def __init__(
        self,
        reader: LogReader,
        pool: Pool,
        kafka: Kafka,
        signal: HeadSignal,
        clock: Clock,
        *,
        holder: str,
        limits: RelayLimits | None = None,
    ) -> None:
        self._reader = reader
        self._kafka = kafka
        self._signal = signal
        self._clock = clock
        self._limits = limits or RelayLimits()
        timeout_s = self._limits.statement_timeout_s
        self._log = RelayLog(pool, timeout_s=timeout_s)
        self._lease = Lease(
            pool, "relay", holder, clock, ttl_s=self._limits.lease_ttl_s, timeout_s=timeout_s
        )
        self._status = RelayStatus()
        self._producers = 0
        self._noted = 0
        self._end_offset = 0
        self._background = Background("relay", self.run)

    @property
    def status(self) -> RelayStatus:
        """What it is doing now."""
        return replace(
            self._status,
            epoch=self._lease.epoch,
            producer_rebuilds=max(0, self._producers - 1),
        )

    async def start(self) -> None:
        """Begin in the background; Kafka and the database need not be there yet."""
        self._background.start()

    async def stop(self) -> None:
        """Stop publishing and give up the lease."""
        await self._background.stop()
        await self._lease.give_up()

    async def run(self) -> None:
        """Publish until cancelled, through every failure."""
        while True:
            pause_s = await self._turn()
            await asyncio.sleep(pause_s)

    async def _turn(self) -> float:
        """Publish until something ends it; return how long to wait before the next attempt."""
        limits = self._limits
        try:
            if not await self._lease.take():
                return self._stand_by()
            await self._lead()
        except LeaseLostError:
            return self._stand_by()
        except RelayStoppedError as stop:
            return await self._stopped(stop)
        except KafkaUnreachableError as error:
            self._become("kafka-unreachable", str(error))
        except DATABASE_ERRORS as error:
            self._become("database-unreachable", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be left out.
            _log.exception("relay_failed")
            self._become("stopped:fault", type(error).__name__)
            return limits.recheck_s
        return limits.retry_s

    def _stand_by(self) -> float:
        # The backlog is the leader's to report.
        self._status = replace(self._status, head=self._status.position)
        self._become("standby")
        return self._limits.standby_poll_s

    async def _stopped(self, stop: RelayStoppedError) -> float:
        if stop.reason == "forked":
            # The writer first: what it would accept now could never be published.
            try:
                await self._log.halt(f"relay: {stop.detail}")
            except DATABASE_ERRORS as error:
                self._become("database-unreachable", type(error).__name__)
                return self._limits.retry_s
        self._become(f"stopped:{stop.reason}", stop.detail)
        return self._limits.recheck_s

    def _become(self, state: str, detail: str = "") -> None:
        if (state, detail) != (self._status.state, self._status.detail):
            level = _log.info if state in {"leading", "standby"} else _log.error
            level("relay_state_changed", state=state, detail=detail)
        self._status = replace(self._status, state=state, detail=detail)

    async def _lead(self) -> None:
        """Prove the topic, then publish behind its tail until the log's history changes."""
        head = await self._log.head()
        topic = events_topic(self._reader.log, head.publication)
        self._noted = await self._log.published(head.publication)
        if head.publication != self._status.publication:
            # Until the tail is proven, the hint is the best that can be said of the backlog.
            known = replace(self._status, publication=head.publication, position=self._noted)
            self._status = known
        self._progress(self._status.position, head)
        async with contextlib.AsyncExitStack() as stack:
            reader = await self._open_topic(topic)
            stack.push_async_callback(reader.close)
            await self._check_newest(reader)
            position, self._end_offset = await prove_tail(reader, self._reader, self._noted)
            if head.halted is not None:
                raise RelayStoppedError("halted", head.halted)
            self._progress(position, head)
            producer = await start_producer(
                self._kafka, batch_max_bytes=self._limits.batch_max_bytes
            )
            stack.push_async_callback(drop_producer, producer)
            self._producers += 1
            self._become("leading")
            await self._publish(_Session(topic, reader, producer, head))

    async def _open_topic(self, topic: str) -> TopicReader:
        try:
            if not self._noted:
                await ensure_topic(self._kafka, topic, EVENT_TOPIC_CONFIG)
            return await TopicReader.open(self._kafka, topic)
        except TopicMisconfiguredError as error:
            raise RelayStoppedError("topic-misconfigured", str(error)) from error
        except TopicMissingError as error:
            detail = f"{topic} is gone, but had {self._noted} events"
            raise RelayStoppedError("topic-lost", detail) from error

    async def _check_newest(self, reader: TopicReader) -> None:
        """Make sure that readers follow this publication: a higher number wins.

        A database that was restored to before that one was begun does not know of it; neither does
        one that was left running when a copy of it took its place.
        """
        newest = newest_publication(self._reader.log, await reader.topics())
        # The head is read after the topics: it can only be further by then.
        known = (await self._log.head()).publication
        if newest > known:
            await self._log.note_published(newest, 0)
            detail = f"Kafka has publication {newest}, the log knows {known} only"
            raise RelayStoppedError("forked", detail)

    async def _publish(self, session: "_Session") -> None:
        events = await self._look(session, self._status.position)
        while events is not None:
            if events:
                reach("relay.read")
                events = await self._send_all(session, events)
            elif await self._idle(session):
                events = await self._look(session, self._status.position)
            else:
                return

    async def _look(self, session: "_Session", position: int) -> Sequence[Outgoing] | None:
        """Read what comes behind a position; None: this is no longer the log that was proven."""
        head = await self._log.head()
        if not head.same_history(session.head) or head.position < position:
            return None
        self._progress(self._status.position, head)
        if head.position == position:
            return ()
        events = await self._log.ahead(
            position, self._limits.batch_max_events, self._limits.batch_max_bytes
        )
        for expected, event in enumerate(events, position + 1):
            if event.position != expected:
                raise RelayStoppedError("fault", f"the log has no event at {expected}")
        return events

    async def _send_all(
        self, session: "_Session", events: Sequence[Outgoing]
    ) -> Sequence[Outgoing] | None:
        """Publish events, reading those behind them meanwhile; they get a barrier of their own."""
        looking = asyncio.create_task(self._look(session, events[-1].position))
        try:
            while events:
                await self._lease.renew()
                reach("relay.barrier")
                events = events[await self._send(session, events) :]
            return await looking
        finally:
            if not looking.done():
                looking.cancel()
            await asyncio.wait({looking})
            if not looking.cancelled():
                looking.exception()  # The send's own failure says enough.

    async def _send(self, session: "_Session", events: Sequence[Outgoing]) -> int:
        """Put one batch from the front of the events on the topic; return how many it took.

        The lease is kept meanwhile, but is not what safety rests on.
        """
        sending = asyncio.create_task(self._send_batch(session, events))
        try:
            while not sending.done():
                await asyncio.wait({sending}, timeout=self._limits.lease_renew_s)
                if not sending.done():
                    await self._lease.renew_when_due(self._limits.lease_renew_s)
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.wait({sending})
        count, base_offset = sending.result()
        reach("relay.acknowledged")
        await self._acknowledged(session, events[count - 1].position, base_offset, count)
        return count

    async def _send_batch(self, session: "_Session", events: Sequence[Outgoing]) -> tuple[int, int]:
        batch = session.producer.create_batch()
        count = 0
        for event in events:
            key = event.stream.encode()
            if not batch.append(timestamp=None, key=key, value=event.body, headers=_HEADERS):
                break
            count += 1
        if not count:
            raise RelayStoppedError("fault", f"event {events[0].position} fits no batch")
        batch.close()
        async with reaching_kafka(self._limits.send_deadline_s):
            sent = await session.producer.send_batch(batch, session.topic, partition=0)
            # The producer has only queued it: its own task sends it, in the next turns of the loop.
            try:
                await asyncio.wait({sent}, timeout=_SENT_WITHIN_S)
                reach("relay.sent")
                return count, (await sent).offset
            finally:
                sent.cancel()

    async def _acknowledged(
        self, session: "_Session", position: int, base_offset: int, count: int
    ) -> None:
        # An idempotent producer may answer -1 for a batch that was there already.
        if 0 <= base_offset < self._end_offset:
            detail = f"it was made again: offset {base_offset} was given twice"
            raise RelayStoppedError("topic-lost", detail)
        if base_offset >= 0:
            self._end_offset = base_offset + count
        self._progress(position)
        if not self._noted:
            await self._note(session)

    async def _idle(self, session: "_Session") -> bool:
        """Wait for more; at times prove the hold on lease and topic. False: the topic shrank."""
        limits = self._limits
        await self._signal.wait(self._status.position, limits.poll_interval_s)
        if not await self._lease.renew_when_due(limits.lease_renew_s):
            return True
        await self._note(session)
        await self._check_newest(session.reader)
        return await session.reader.end() >= self._end_offset

    async def _note(self, session: "_Session") -> None:
        if self._status.position > self._noted:
            await self._log.note_published(session.head.publication, self._status.position)
            self._noted = self._status.position

    def _progress(self, position: int, head: HeadState | None = None) -> None:
        end = self._status.head if head is None else head.position
        self._status = replace(self._status, position=position, head=max(end, position))


@dataclass(frozen=True, slots=True)
class _Session:
    """What one stretch of leading works with; `head` is the log as it was proven."""

    topic: str
    reader: TopicReader
    producer: AIOKafkaProducer
    head: HeadState
