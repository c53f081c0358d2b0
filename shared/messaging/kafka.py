"""Owns reaching Kafka: settings, clients that start and stop within a deadline, topics.

Must not wait for ever: aiokafka's start, stop and send may, so every call has a deadline.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NotRequired, Protocol, TypedDict

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ConsumerStoppedError, KafkaError, TopicAlreadyExistsError, for_code

_log = structlog.get_logger(__name__)

START_DEADLINE_S: Final = 15.0
STOP_DEADLINE_S: Final = 3.0
_ABANDON_S: Final = 0.5
_REQUEST_TIMEOUT_MS: Final = 10_000
_LARGEST_REPLICATION: Final = 3
_AT_LEAST: Final = ("retention.ms", "retention.bytes", "max.message.bytes")
_EXACTLY: Final = ("cleanup.policy",)


class KafkaUnreachableError(Exception):
    """Kafka gave no answer in time, or one that may be another later."""


class TopicMissingError(KafkaUnreachableError):
    """There is no such topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"there is no topic {topic}")
        self.topic = topic


class TopicMisconfiguredError(Exception):
    """A topic exists, but cannot hold what it is for; only an operator can mend it."""

    def __init__(self, topic: str, detail: str) -> None:
        super().__init__(f"topic {topic}: {detail}")
        self.topic = topic
        self.detail = detail


class ClientOptions(TypedDict):
    """The keyword arguments that every aiokafka client takes."""

    bootstrap_servers: str
    security_protocol: str
    request_timeout_ms: int
    ssl_context: NotRequired[ssl.SSLContext]
    sasl_mechanism: NotRequired[str]
    sasl_plain_username: NotRequired[str]
    sasl_plain_password: NotRequired[str]


class Kafka(Protocol):
    """A cluster, for whoever talks to it: makes clients that are not started yet."""

    def producer(self, batch_max_bytes: int) -> AIOKafkaProducer:
        """An idempotent producer that waits for every in-sync replica."""
        ...

    def consumer(self, fetch_max_bytes: int, fetch_wait_ms: int) -> AIOKafkaConsumer:
        """A consumer without a group: it is told partition and offset, and never guesses one."""
        ...

    def admin(self) -> AIOKafkaAdminClient:
        """A client that looks at topics and makes them."""
        ...


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach the cluster, and as whom; implements `Kafka`."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def client_options(self) -> ClientOptions:
        """Keyword arguments for a producer, a consumer or an admin client."""
        options = ClientOptions(
            bootstrap_servers=self.bootstrap,
            security_protocol=self.security_protocol,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = ssl.create_default_context()
        if self.sasl_mechanism and self.username and self.password:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def producer(self, batch_max_bytes: int) -> AIOKafkaProducer:
        """See `Kafka.producer`."""
        return AIOKafkaProducer(
            **self.client_options(),
            acks="all",
            enable_idempotence=True,
            max_batch_size=batch_max_bytes,
            max_request_size=batch_max_bytes,
        )

    def consumer(self, fetch_max_bytes: int, fetch_wait_ms: int) -> AIOKafkaConsumer:
        """See `Kafka.consumer`."""
        return AIOKafkaConsumer(
            **self.client_options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=fetch_wait_ms,
            max_partition_fetch_bytes=fetch_max_bytes,
            metadata_max_age_ms=30_000,
        )

    def admin(self) -> AIOKafkaAdminClient:
        """See `Kafka.admin`."""
        return AIOKafkaAdminClient(**self.client_options())


@asynccontextmanager
async def reaching_kafka(deadline_s: float) -> AsyncIterator[None]:
    """Turn everything that can go wrong with Kafka inside the block into KafkaUnreachableError."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError as error:
        raise KafkaUnreachableError(f"no answer within {deadline_s:g} s") from error
    except (KafkaError, ConsumerStoppedError, OSError) as error:
        raise KafkaUnreachableError(_named(error)) from error


def _named(error: Exception) -> str:
    # The text of a Kafka error may hold addresses; its name says enough.
    return type(error).__name__


async def start_producer(kafka: Kafka, *, batch_max_bytes: int) -> AIOKafkaProducer:
    """Start a producer; see `Kafka.producer`.

    Raises: KafkaUnreachableError.
    """
    producer = kafka.producer(batch_max_bytes)
    try:
        async with reaching_kafka(START_DEADLINE_S):
            await producer.start()
    except BaseException:
        await drop_producer(producer)
        raise
    return producer


async def start_consumer(
    kafka: Kafka,
    *,
    partition_fetch_max_bytes: int = 1024 * 1024,
    fetch_wait_ms: int = 100,
) -> AIOKafkaConsumer:
    """Start a consumer; see `Kafka.consumer`.

    Raises: KafkaUnreachableError.
    """
    consumer = kafka.consumer(partition_fetch_max_bytes, fetch_wait_ms)
    try:
        async with reaching_kafka(START_DEADLINE_S):
            await consumer.start()
    except BaseException:
        await drop_consumer(consumer)
        raise
    return consumer


async def drop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Let a consumer go, whether or not Kafka answers."""
    await _stop(consumer)


async def drop_producer(producer: AIOKafkaProducer) -> None:
    """Let a producer go without sending what it still holds, whether or not Kafka answers.

    Stopping alone would first wait for unsent batches, for ever while Kafka is down, and send them
    late: after a new producer has begun.
    """
    internals: Any = producer
    task = internals._sender.sender_task  # noqa: SLF001 - a batch cannot be abandoned otherwise.
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
    if task is not None:
        accumulator = internals._message_accumulator  # noqa: SLF001 - as above.
        accumulator.fail_all(KafkaError("dropped"))
    await _stop(producer)


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    # In a task of its own: aiokafka lets the CancelledError of its own tasks out, which would end
    # the caller's task as if somebody had cancelled that.
    stopping = asyncio.create_task(client.stop())
    try:
        await asyncio.wait({stopping}, timeout=STOP_DEADLINE_S)
    finally:
        stopping.cancel()
    await asyncio.wait({stopping}, timeout=_ABANDON_S)
    if not stopping.done() or stopping.cancelled():
        _log.warning("kafka_client_dropped", error="CancelledError")
    elif (error := stopping.exception()) is not None:
        _log.warning("kafka_client_dropped", error=type(error).__name__)


class KafkaAdmin:
    """Looks at topics and makes them; one connection for as long as it is open."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def partitions(self) -> dict[str, int]:
        """How many partitions each topic has that this user may see.

        Raises: KafkaUnreachableError.
        """
        async with reaching_kafka(START_DEADLINE_S):
            topics = await self._admin.describe_topics()
        return {t["topic"]: len(t["partitions"]) for t in topics if not t["error_code"]}

    async def ensure(
        self,
        topics: Mapping[str, Mapping[str, str]],
        *,
        partitions: int = 1,
        replication: int | None = None,
    ) -> None:
        """Make the topics that are missing, from their names and settings; check those that exist.

        Three replicas, two of them in sync, where there are three brokers or more, or were when
        another topic was made.

        Raises: TopicMisconfiguredError; KafkaUnreachableError.
        """
        existing = await self.partitions()
        for name in sorted(topics.keys() - existing.keys()):
            await self._create(name, topics[name], partitions, replication)
        found = [name for name in topics if name in existing]
        for name in found:
            if existing[name] != partitions:
                detail = f"has {existing[name]} partitions instead of {partitions}"
                raise TopicMisconfiguredError(name, detail)
        settings = await self._settings(found)
        for name in found:
            check_settings(name, settings[name], topics[name])

    async def _create(
        self, name: str, config: Mapping[str, str], partitions: int, replication: int | None
    ) -> None:
        async with reaching_kafka(START_DEADLINE_S):
            copies = replication or await self._copies()
            settings = dict(config)
            if copies >= _LARGEST_REPLICATION:
                settings.setdefault("min.insync.replicas", str(copies - 1))
            topic = NewTopic(name, partitions, copies, topic_configs=settings)
            _check_created(await self._admin.create_topics([topic]))
            while not await self._has_leader(name):
                await asyncio.sleep(0.05)
        _log.info("topic_created", topic=name, replication=copies)

    async def _copies(self) -> int:
        """No fewer than another topic has: a broker that is away now must not cost a copy for ever.

        Kafka gives it its copy once it is back.
        """
        brokers = len((await self._admin.describe_cluster())["brokers"])
        topics = await self._admin.describe_topics()
        most = max((len(p["replicas"]) for t in topics for p in t["partitions"]), default=1)
        return min(_LARGEST_REPLICATION, max(brokers, most))

    async def _has_leader(self, name: str) -> bool:
        for topic in await self._admin.describe_topics():
            if topic["topic"] == name:
                return all(not p["error_code"] and p["leader"] >= 0 for p in topic["partitions"])
        return False

    async def _settings(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        async with reaching_kafka(START_DEADLINE_S):
            answers = await self._admin.describe_configs(wanted)
            settings = {}
            for answer in answers:
                for code, _message, _type, name, entries in answer.resources:
                    if code:
                        raise for_code(code)
                    settings[name] = {entry[0]: entry[1] for entry in entries}
        return settings


def _check_created(answer: Any) -> None:
    for _topic, code, message in answer.topic_errors:
        # Somebody else may have made it at the same moment; the next start checks it.
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(message)


def check_settings(topic: str, actual: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Refuse a topic that keeps less, or takes smaller records, than it must.

    Raises: TopicMisconfiguredError.
    """
    for name in _EXACTLY:
        if name in wanted and actual.get(name) != wanted[name]:
            detail = f"{name} is {actual.get(name)} instead of {wanted[name]}"
            raise TopicMisconfiguredError(topic, detail)
    for name in _AT_LEAST:
        if name in wanted and _bound(actual[name]) < _bound(wanted[name]):
            detail = f"{name} is {actual[name]}, less than {wanted[name]}"
            raise TopicMisconfiguredError(topic, detail)


def _bound(value: str) -> float:
    return float("inf") if value == "-1" else int(value)


@asynccontextmanager
async def kafka_admin(kafka: Kafka) -> AsyncIterator[KafkaAdmin]:
    """Open an admin connection for the block.

    Raises: KafkaUnreachableError.
    """
    admin = kafka.admin()
    try:
        async with reaching_kafka(START_DEADLINE_S):
            await admin.start()
        yield KafkaAdmin(admin)
    finally:
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(STOP_DEADLINE_S):
                await admin.close()


async def ensure_topic(
    kafka: Kafka,
    name: str,
    config: Mapping[str, str],
    *,
    partitions: int = 1,
    replication: int | None = None,
) -> None:
    """Make one topic or check it; see `KafkaAdmin.ensure`.

    Raises: TopicMisconfiguredError; KafkaUnreachableError.
    """
    async with kafka_admin(kafka) as admin:
        await admin.ensure({name: config}, partitions=partitions, replication=replication)


async def list_topics(kafka: Kafka) -> dict[str, int]:
    """How many partitions each topic has that this user may see.

    Raises: KafkaUnreachableError.
    """
    async with kafka_admin(kafka) as admin:
        return await admin.partitions()
