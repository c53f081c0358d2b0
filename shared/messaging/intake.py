"""Owns taking submissions from their topics into the log, each with exactly one effect.

Must not skip a record, and must not answer one that the log has not settled.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from shared.background import Background
from shared.clock import Clock
from shared.contracts.topics import (
    SUBMISSION_TOPIC_CONFIG,
    submissions_topic,
    submitting_organisation,
)
from shared.eventstore.reader import Pool
from shared.eventstore.types import Outcome
from shared.eventstore.writer import LogWriter
from shared.failpoints import reach
from shared.messaging.intake_store import IntakeStore, Mark, MarkMovedError, Move
from shared.messaging.kafka import (
    Kafka,
    KafkaAdmin,
    KafkaUnreachableError,
    TopicMisconfiguredError,
    drop_consumer,
    kafka_admin,
    reaching_kafka,
    start_consumer,
)
from shared.messaging.lane import Explain, Lane, ToCommand, explain_plainly, proof_of
from shared.messaging.lease import DATABASE_ERRORS, Lease, LeaseLostError

_log = structlog.get_logger(__name__)

Records = Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]
Organisations = Callable[[], Awaitable[Collection[str]]]
"""Tells which organisations may submit; each gets a topic."""

_KAFKA_DEADLINE_S: Final = 10.0
_TRIED_ALONE_AFTER: Final = 5


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Bounds of the intake; see docs/configuration.md."""

    batch_max_records: int = 500
    poll_s: float = 0.2
    refresh_s: float = 2.0
    lease_ttl_s: float = 5.0
    lease_renew_s: float = 2.0
    standby_poll_s: float = 1.0
    retry_s: float = 0.5
    statement_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class IntakeStatus:
    """What the intake is doing.

    `state` is `starting`, `working`, `standby`, `log-unavailable`, `kafka-unreachable`,
    `database-unreachable` or `fault`. `lags` counts unread records by topic; `expired` counts
    records that a topic's retention took before they were read.
    """

    state: str = "starting"
    detail: str = ""
    lags: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    accepted: int = 0
    repeated: int = 0
    rejected: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Place:
    """A partition as this process follows it: the stored mark, and the offset to read next."""

    mark: int
    first_offset: int
    next_offset: int
    proof: bytes | None
    failures: int = 0


class Intake:
    """Reads every submissions topic of one service while it holds the lease; else it stands by.

    A record's effect is exactly one: its command's key sees to that, so what is read again after
    a crash is answered as before. Records of one partition are settled in their order.
    """

    def __init__(
        self,
        service: str,
        writer: LogWriter,
        pool: Pool,
        kafka: Kafka,
        clock: Clock,
        to_command: ToCommand,
        organisations: Organisations,
        *,
        holder: str,
        explain: Explain = explain_plainly,
        limits: IntakeLimits | None = None,
    ) -> None:
        self._service = service
        self._writer = writer
        self._kafka = kafka
        self._clock = clock
        self._to_command = to_command
        self._organisations = organisations
        self._explain = explain
        self._limits = limits or IntakeLimits()
        timeout_s = self._limits.statement_timeout_s
        self._store = IntakeStore(pool, timeout_s=timeout_s)
        self._lease = Lease(
            pool, "intake", holder, clock, ttl_s=self._limits.lease_ttl_s, timeout_s=timeout_s
        )
        self._places: dict[TopicPartition, _Place] = {}
        self._refreshed_at = float("-inf")
        self._status = IntakeStatus()
        self._background = Background("intake", self.run)

    @property
    def status(self) -> IntakeStatus:
        """What it is doing now."""
        return self._status

    def is_behind(self, organisation: str) -> bool:
        """Whether records of an organisation are known to wait."""
        return self._status.lags.get(submissions_topic(self._service, organisation), 0) > 0

    async def start(self) -> None:
        """Begin in the background; Kafka and the database need not be there yet."""
        self._background.start()

    async def stop(self) -> None:
        """Stop reading and give up the lease; what is queued with the writer may still settle."""
        await self._background.stop()
        await self._lease.give_up()

    async def run(self) -> None:
        """Take submissions until cancelled, through every failure."""
        while True:
            pause_s = await self._turn()
            await asyncio.sleep(pause_s)

    async def _turn(self) -> float:
        limits = self._limits
        try:
            if not await self._lease.take():
                self._become("standby")
                return limits.standby_poll_s
            await self._work()
        except LeaseLostError:
            self._become("standby")
            return limits.standby_poll_s
        except MarkMovedError:
            _log.warning("intake_mark_moved")
        except (KafkaUnreachableError, TopicMisconfiguredError) as error:
            self._become("kafka-unreachable", str(error))
        except DATABASE_ERRORS as error:
            self._become("database-unreachable", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, no record may be left out.
            _log.exception("intake_failed")
            self._become("fault", type(error).__name__)
        return limits.retry_s

    def _become(self, state: str, detail: str = "") -> None:
        if (state, detail) != (self._status.state, self._status.detail):
            level = _log.info if state in {"working", "standby"} else _log.error
            level("intake_state_changed", state=state, detail=detail)
        self._status = replace(self._status, state=state, detail=detail)

    async def _work(self) -> None:
        self._places = {}
        self._refreshed_at = float("-inf")
        async with contextlib.AsyncExitStack() as stack:
            admin = await stack.enter_async_context(kafka_admin(self._kafka))
            consumer = await start_consumer(self._kafka)
            stack.push_async_callback(drop_consumer, consumer)
            self._become("working")
            while True:
                await self._lease.renew_when_due(self._limits.lease_renew_s)
                await self._refresh(admin, consumer)
                records = self._proven(await self._poll(consumer), consumer)
                self._note_lags(consumer)
                if records:
                    reach("intake.read")
                    await self._take(records, consumer)
                    self._note_lags(consumer)

    async def _refresh(self, admin: KafkaAdmin, consumer: AIOKafkaConsumer) -> None:
        """Learn which topics there are, make those that are missing, follow them all."""
        now = self._clock.monotonic()
        if now - self._refreshed_at < self._limits.refresh_s:
            return
        self._refreshed_at = now
        wanted = {submissions_topic(self._service, o) for o in await self._organisations()}
        topics = await admin.partitions()
        if missing := wanted - topics.keys():
            await admin.ensure(dict.fromkeys(missing, SUBMISSION_TOPIC_CONFIG))
            topics = await admin.partitions()
            # Of what was followed and had to be made again, no offset means what it did.
            self._places = {p: s for p, s in self._places.items() if p.topic not in missing}
        places = {
            TopicPartition(topic, partition)
            for topic, count in topics.items()
            if submitting_organisation(topic, self._service)
            for partition in range(count)
        }
        if places != self._places.keys():
            await self._follow(places, consumer)

    async def _follow(self, places: set[TopicPartition], consumer: AIOKafkaConsumer) -> None:
        """Read the partitions from their marks; those that were followed already go on."""
        if not places:
            consumer.unsubscribe()
            self._places = {}
            return
        marks = await self._store.marks(places)
        consumer.assign(places)
        async with reaching_kafka(_KAFKA_DEADLINE_S):
            first = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
        self._places = {p: self._placed(p, marks[p], first[p], ends[p]) for p in places}
        for place, state in self._places.items():
            consumer.seek(place, state.next_offset)
        _log.info("intake_topics_changed", partitions=len(places))

    def _placed(self, place: TopicPartition, mark: Mark, first: int, end: int) -> _Place:
        """Decide where to read on: at the last record taken, as a proof, if it is still there."""
        if mark.next_offset > end:
            # Made again, and shorter. All of it is read: what had an effect has no second one.
            _log.warning("submissions_topic_made_again", topic=place.topic)
            return _Place(mark.next_offset, first, first, None)
        if mark.next_offset < first:
            if mark.next_offset:
                lost = first - mark.next_offset
                _log.error("submissions_expired_unread", topic=place.topic, records=lost)
                self._status = replace(self._status, expired=self._status.expired + lost)
            return _Place(mark.next_offset, first, first, None)
        if mark.last_digest is None or mark.next_offset - 1 < first:
            return _Place(mark.next_offset, first, mark.next_offset, None)
        return _Place(mark.next_offset, first, mark.next_offset - 1, mark.last_digest)

    async def _poll(self, consumer: AIOKafkaConsumer) -> Records:
        if not self._places:
            await asyncio.sleep(self._limits.poll_s)
            return {}
        async with reaching_kafka(_KAFKA_DEADLINE_S):
            try:
                return await consumer.getmany(
                    timeout_ms=round(self._limits.poll_s * 1000),
                    max_records=self._limits.batch_max_records,
                )
            except OffsetOutOfRangeError:
                # Expired or made again under us: look at the marks and the bounds anew.
                self._places = {}
                self._refreshed_at = float("-inf")
                return {}

    def _proven(self, records: Records, consumer: AIOKafkaConsumer) -> Records:
        """Leave out what only proves the place; a topic made again is read from its start."""
        proven = {}
        for place, run in records.items():
            state = self._places[place]
            if state.proof is None:
                proven[place] = run
                continue
            matches = proof_of(run[0]) == state.proof
            state.proof = None
            if not matches:
                _log.warning("submissions_topic_made_again", topic=place.topic)
                state.next_offset = state.first_offset
                consumer.seek(place, state.first_offset)
                continue
            state.next_offset = state.mark
            if run[1:]:
                proven[place] = run[1:]
        return proven

    async def _take(self, records: Records, consumer: AIOKafkaConsumer) -> None:
        """Settle records and move the marks; what is not settled is read again, a little later."""
        # The barrier also narrows the time in which two intakes could hold the same records.
        await self._lease.renew()
        lanes = self._lanes(records)
        for lane in lanes:
            lane.enqueue(self._writer, self._to_command)
        await self._answers([future for lane in lanes for future in lane.waiting()])
        reach("intake.committed")
        done = {lane.place: lane.settled() for lane in lanes}
        moves = [lane.move(len(done[lane.place])) for lane in lanes if done[lane.place]]
        rejections = [r for lane in lanes for r in lane.rejections(done[lane.place])]
        if moves:
            await self._store.advance(moves, rejections)
            reach("intake.offset_stored")
        self._settle(lanes, moves)
        self._count([result for results in done.values() for result in results])
        left = [p for p, run in records.items() if len(done.get(p, ())) < len(run)]
        await self._rewind(left, consumer)

    def _lanes(self, records: Records) -> list[Lane]:
        """One lane for each partition, or a single one for a record that must be tried alone."""
        for place, run in records.items():
            if self._places[place].failures >= _TRIED_ALONE_AFTER:
                return [self._lane(place, run[:1], last_resort=True)]
        return [self._lane(place, run) for place, run in records.items()]

    def _lane(
        self,
        place: TopicPartition,
        run: Sequence[ConsumerRecord[bytes, bytes]],
        *,
        last_resort: bool = False,
    ) -> Lane:
        return Lane(
            place=place,
            organisation=submitting_organisation(place.topic, self._service) or "",
            behind=self._places[place].mark,
            records=run,
            holds=lambda: self._lease.valid,
            explain=self._explain,
            last_resort=last_resort,
        )

    def _settle(self, lanes: Sequence[Lane], moves: Sequence[Move]) -> None:
        for lane in lanes:
            state = self._places[lane.place]
            state.failures = state.failures + 1 if lane.failed_strangely() else 0
        for move in moves:
            self._places[move.place].mark = move.upto
            self._places[move.place].next_offset = move.upto

    async def _answers(self, waiting: Sequence["asyncio.Future[Outcome]"]) -> None:
        """Wait for the writer, which answers every command, keeping the lease."""
        left = set(waiting)
        while left:
            _, left = await asyncio.wait(left, timeout=self._limits.lease_renew_s)
            await self._lease.renew_when_due(self._limits.lease_renew_s)

    async def _rewind(self, places: Sequence[TopicPartition], consumer: AIOKafkaConsumer) -> None:
        if not places:
            self._become("working")
            return
        self._become("log-unavailable")
        for place in places:
            consumer.seek(place, self._places[place].next_offset)
        await asyncio.sleep(self._limits.retry_s)

    def _count(self, results: Sequence[object]) -> None:
        outcomes = [r for r in results if isinstance(r, Outcome)]
        repeated = sum(o.replayed for o in outcomes)
        self._status = replace(
            self._status,
            accepted=self._status.accepted + len(outcomes) - repeated,
            repeated=self._status.repeated + repeated,
            rejected=self._status.rejected + len(results) - len(outcomes),
        )

    def _note_lags(self, consumer: AIOKafkaConsumer) -> None:
        lags: dict[str, int] = {}
        for place, state in self._places.items():
            end = consumer.highwater(place) or 0
            lags[place.topic] = lags.get(place.topic, 0) + max(0, end - state.next_offset)
        self._status = replace(self._status, lags=MappingProxyType(lags))
