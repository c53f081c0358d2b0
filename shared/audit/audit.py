"""Owns the verification of one service's log from end to end: topic, snapshot, rows, tables.

Must not decide where anything is: addresses, consumers and checkpoints are handed in.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from shared.audit.checkpoint import Checkpoint
from shared.audit.findings import LogReport, lowest
from shared.audit.kafka_source import topic_name, topic_records
from shared.audit.postgres_source import SourceUnreadableError, open_snapshot, read_head
from shared.audit.topic_reading import TopicReading, read_topic
from shared.audit.verify import verify_log

WORTH_PROCESSES: Final = 20_000

OnProgress = Callable[[str, int, int], None]
"""Told what is being read (`topic` or `rows`), the position reached and the last one."""


def _say_nothing(_what: str, _position: int, _last: int) -> None:
    pass


async def audit_log(
    dsn: str,
    *,
    against: Checkpoint | None = None,
    consumer: AIOKafkaConsumer | None = None,
    processes: int = 2,
    on_progress: OnProgress = _say_nothing,
) -> LogReport:
    """Verify the log in a database, against a checkpoint and against its topic where given.

    `dsn` needs SELECT on the schema `log`. `consumer` is started and has no group. Needs memory
    for 32 bytes an event when a topic is read, and for the name of every stream.

    Raises: SourceUnreadableError; CheckpointError when it says nothing of this log.
    """
    begun = await read_head(dsn)
    checkpoint = None if against is None else against.of(begun.log)
    topic = None
    if consumer is not None:
        # Before the snapshot: what was published by now is committed by then.
        name = topic_name(begun.log, begun.publication)
        topic = await _read_topic(consumer, name, begun.position, on_progress)
    async with open_snapshot(dsn) as snapshot:
        head = snapshot.head
        if (head.log, head.publication) != (begun.log, begun.publication):
            raise SourceUnreadableError("a new publication was begun meanwhile; verify again")
        faults = await snapshot.table_faults()
        with _executor(head.position, processes) as executor:
            async with aclosing(snapshot.batches()) as batches:
                report = await verify_log(
                    batches,
                    head,
                    checkpoint=checkpoint,
                    topic=topic,
                    executor=executor,
                    on_progress=lambda position: on_progress("rows", position, head.position),
                )
    return replace(report, first_fault=lowest([report.first_fault, *faults]))


async def _read_topic(
    consumer: AIOKafkaConsumer, name: str, last: int, on_progress: OnProgress
) -> TopicReading:
    try:
        async with aclosing(topic_records(consumer, name)) as records:
            return await read_topic(records, lambda position: on_progress("topic", position, last))
    except KafkaError as error:
        raise SourceUnreadableError(f"the topic {name} cannot be read: {error!r}") from error


@contextmanager
def _executor(events: int, processes: int) -> Iterator[Executor | None]:
    if events < WORTH_PROCESSES or processes < 2:  # noqa: PLR2004 - one would only be slower.
        yield None
        return
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
