"""Owns telling senders over Kafka what was refused, at least once, without the original bytes.

Must not hold up the intake: it only reads what the intake has stored.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg
import orjson
import structlog
from aiokafka import AIOKafkaProducer

from shared.background import Background
from shared.clock import Clock, format_instant
from shared.contracts.canonical import canonical_bytes
from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG, rejections_topic
from shared.eventstore.reader import Pool
from shared.messaging.kafka import (
    Kafka,
    KafkaUnreachableError,
    TopicMisconfiguredError,
    drop_producer,
    ensure_topic,
    reaching_kafka,
    start_producer,
)
from shared.messaging.lease import DATABASE_ERRORS, Lease, LeaseLostError

_log = structlog.get_logger(__name__)

REJECTED_TYPE: Final = "estate.submission.rejected.v1"
# A list: the compiled record builder takes nothing else.
_HEADERS: Final = [("content-type", b"application/cloudevents+json")]
_BATCH_MAX_BYTES: Final = 1_000_000
_SEND_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.5
_RETRY_S: Final = 1.0
_LEASE_TTL_S: Final = 10.0
_LEASE_RENEW_S: Final = 3.0
_TIMEOUT_S: Final = 10.0

_ORGANISATIONS: Final = """
SELECT DISTINCT organisation FROM messaging.rejections WHERE published_at IS NULL
"""
_UNPUBLISHED: Final = """
SELECT number, source, id, reason, digest, recorded_at FROM messaging.rejections
WHERE organisation = $1 AND published_at IS NULL ORDER BY number LIMIT 200
"""
_PUBLISHED: Final = """
UPDATE messaging.rejections SET published_at = clock_timestamp() WHERE number = ANY($1)
"""


def rejection_event(service: str, row: asyncpg.Record) -> bytes:
    """Write one rejection as a CloudEvent; a repeat has the same id and the same bytes."""
    event = {
        "specversion": "1.0",
        "id": f"rejection-{row['number']}",
        "source": f"estate/{service}",
        "type": REJECTED_TYPE,
        "time": format_instant(row["recorded_at"]),
        "datacontenttype": "application/json",
        "data": {
            "source": row["source"],
            "id": row["id"],
            "digest": row["digest"].hex(),
            "reason": orjson.Fragment(row["reason"]),
        },
    }
    return canonical_bytes(event)


class RejectionPublisher:
    """Publishes stored rejections, each sender's in their order, while it holds the lease."""

    def __init__(
        self, service: str, pool: Pool, kafka: Kafka, clock: Clock, *, holder: str
    ) -> None:
        self._service = service
        self._pool = pool
        self._kafka = kafka
        self._lease = Lease(
            pool, "rejections", holder, clock, ttl_s=_LEASE_TTL_S, timeout_s=_TIMEOUT_S
        )
        self._ensured: set[str] = set()
        self._background = Background("rejection-publisher", self.run)

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
            try:
                if await self._lease.take():
                    await self._publish_all()
            except (LeaseLostError, KafkaUnreachableError, *DATABASE_ERRORS) as error:
                _log.warning("rejections_not_published", error=type(error).__name__)
            except Exception:  # noqa: BLE001 - the next attempt may succeed.
                _log.exception("rejection_publisher_failed")
            await asyncio.sleep(_RETRY_S)

    async def _publish_all(self) -> None:
        while not await self._pool.fetchval(_ORGANISATIONS, timeout=_TIMEOUT_S):
            await self._lease.renew_when_due(_LEASE_RENEW_S)
            await asyncio.sleep(_POLL_S)
        producer = await start_producer(self._kafka, batch_max_bytes=_BATCH_MAX_BYTES)
        try:
            rows = await self._pool.fetch(_ORGANISATIONS, timeout=_TIMEOUT_S)
            for row in rows:
                await self._publish(producer, row["organisation"])
        finally:
            await drop_producer(producer)

    async def _publish(self, producer: AIOKafkaProducer, organisation: str) -> None:
        topic = rejections_topic(self._service, organisation)
        try:
            if topic not in self._ensured:
                await ensure_topic(self._kafka, topic, SUBMISSION_TOPIC_CONFIG)
                self._ensured.add(topic)
        except TopicMisconfiguredError as error:
            _log.error("rejections_topic_misconfigured", detail=str(error))
            return
        while rows := await self._pool.fetch(_UNPUBLISHED, organisation, timeout=_TIMEOUT_S):
            await self._lease.renew()
            await self._send(producer, topic, rows)
            numbers = [row["number"] for row in rows]
            await self._pool.execute(_PUBLISHED, numbers, timeout=_TIMEOUT_S)

    async def _send(
        self, producer: AIOKafkaProducer, topic: str, rows: Sequence[asyncpg.Record]
    ) -> None:
        async with reaching_kafka(_SEND_DEADLINE_S):
            sent = []
            for row in rows:
                value = rejection_event(self._service, row)
                sent.append(await producer.send(topic, value, partition=0, headers=_HEADERS))
            await asyncio.gather(*sent)
