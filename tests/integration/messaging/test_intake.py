import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG, rejections_topic
from shared.eventstore.append import Connection
from shared.eventstore.types import KeyReusedError
from shared.eventstore.writer import LogWriter, WriterLimits
from shared.messaging.intake import Intake
from shared.messaging.intake_store import IntakeStore, MarkMovedError, Move, Rejection
from shared.messaging.kafka import KafkaSettings, ensure_topic, list_topics
from shared.messaging.rejections import REJECTED_TYPE, RejectionPublisher
from shared.messaging.submissions import Submissions, digest_of
from tests.integration.messaging.log_under_test import (
    CLOCK,
    LogUnderTest,
    eventually,
    read_topic,
    rename,
)
from tests.integration.messaging.submissions_under_test import (
    ORGANISATION,
    OTHER,
    QUICK,
    SUBJECT,
    make_intake,
    mark_of,
    names_in,
    submission,
    to_command,
    topic_of,
)
from tests.integration.messaging.topics import delete_topic, put


@asynccontextmanager
async def running(log: LogUnderTest, kafka: KafkaSettings, **options: Any) -> AsyncIterator[Intake]:
    intake = make_intake(log, kafka, **options)
    await intake.start()
    try:
        yield intake
    finally:
        await intake.stop()


async def put_all(kafka: KafkaSettings, topic: str, values: Sequence[bytes | None]) -> None:
    await ensure_topic(kafka, topic, SUBMISSION_TOPIC_CONFIG)
    await put(kafka, topic, values)


async def until_mark(log: LogUnderTest, offset: int) -> None:
    async def there() -> bool:
        return await mark_of(log) == offset

    await eventually(there)


async def lend_lease(log: LogUnderTest) -> None:
    """Give the intake's lease to another, as if it had run out."""
    await log.pool.execute(
        "UPDATE messaging.leases SET holder = 'other', epoch = epoch + 1, expires_at = 'infinity'"
        " WHERE name = 'intake'"
    )


async def return_lease(log: LogUnderTest) -> None:
    await log.pool.execute("UPDATE messaging.leases SET expires_at = '-infinity'")


async def test_submissions_take_effect_in_order(log: LogUnderTest, kafka: KafkaSettings) -> None:
    await put_all(kafka, topic_of(log), [submission(n, expects=n) for n in range(1_200)])
    async with running(log, kafka) as intake:
        await until_mark(log, 1_200)
        await eventually(lambda: intake.status.lags == {topic_of(log): 0})
        assert (intake.status.accepted, intake.status.state) == (1_200, "working")
        assert not intake.is_behind(ORGANISATION)
    assert await names_in(log) == [f"s-{n}" for n in range(1_200)]


async def test_a_submission_sent_twice_has_one_effect(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await put_all(kafka, topic_of(log), [submission(1), submission(2), submission(1)])
    async with running(log, kafka) as intake:
        await until_mark(log, 3)
        await put(kafka, topic_of(log), [submission(2)])
        await until_mark(log, 4)
        await eventually(lambda: intake.status.repeated == 2)
    assert await names_in(log) == ["s-1", "s-2"]


async def test_the_same_id_with_other_content_is_rejected(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await put_all(kafka, topic_of(log), [submission(1), submission(1, expects=9)])
    async with running(log, kafka):
        await until_mark(log, 2)
    status = await Submissions(log.pool).status(ORGANISATION, "test", "s-1")
    assert status.state == "accepted"
    assert await log.pool.fetchval("SELECT count(*) FROM messaging.rejections") == 1


async def test_poison_is_rejected_and_blocks_nothing(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    poison = [
        b"hello",
        b"[]",
        b"\xff\xfe",
        b"",
        None,
        b'{"source":"test","id":"nul\x00"}',
        b'{"source":"test","id":"big","pad":"' + b"x" * 600_000 + b'"}',
        b'{"source":"test","id":"odd","type":"other"}',
        b'{"source":"test","id":"bare"}',
        submission(7, subject="broken"),
        submission(8, expects=99),
        b'{"source":"BAD SOURCE","id":"\\u0000"}',
    ]
    values = [submission(1), *poison, submission(2)]
    await put_all(kafka, topic_of(log), values)
    async with running(log, kafka) as intake:
        await until_mark(log, len(values))
        assert (intake.status.accepted, intake.status.rejected) == (2, len(poison))
    assert await names_in(log) == ["s-1", "s-2"]
    rows = await log.pool.fetch("SELECT * FROM messaging.rejections ORDER BY number")
    assert [row["original"] for row in rows] == [value or b"" for value in poison]
    assert [row["digest"] for row in rows] == [digest_of(value or b"") for value in poison]
    assert [row["kafka_offset"] for row in rows] == list(range(1, len(poison) + 1))
    assert [orjson.loads(row["reason"])["type"].rpartition("/")[2] for row in rows] == [
        "submission-unreadable",
        "submission-unreadable",
        "submission-unreadable",
        "submission-empty",
        "submission-empty",
        "submission-unreadable",
        "submission-too-large",
        "unknown-type",
        "submission-unreadable",
        "submission-refused",
        "submission-refused",
        "submission-unreadable",
    ]
    assert [row["id"] for row in rows] == [
        *[None] * 6,
        "big",
        "odd",
        "bare",
        "s-7",
        "s-8",
        None,
    ]


async def test_what_became_of_a_submission_can_be_asked(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await put_all(kafka, topic_of(log), [submission(1), submission(2, expects=9)])
    async with running(log, kafka) as intake:
        await until_mark(log, 2)
        asked = Submissions(log.pool, is_behind=intake.is_behind)
        accepted = await asked.status(ORGANISATION, "test", "s-1")
        rejected = await asked.status(ORGANISATION, "test", "s-2")
        assert accepted.state == "accepted"
        assert accepted.answer
        assert accepted.answer["positions"] == f"{log.name}:1"
        assert rejected.state == "rejected"
        assert rejected.problem
        assert rejected.problem["detail"] == "version is 1, not 9"
        assert rejected.record == {"topic": topic_of(log), "partition": 0, "offset": 1}
        assert (await asked.status(OTHER, "test", "s-1")).state == "unknown"
    behind = Submissions(log.pool, is_behind=lambda _organisation: True)
    assert (await behind.status(ORGANISATION, "test", "s-3")).state == "pending"


async def test_both_doors_share_a_submission(log: LogUnderTest, kafka: KafkaSettings) -> None:
    over_http = to_command(submission(1), ORGANISATION, ())
    assert not isinstance(over_http, Exception)
    first = await log.submit(over_http)  # type: ignore[arg-type]
    await put_all(kafka, topic_of(log), [submission(1)])
    async with running(log, kafka) as intake:
        await until_mark(log, 1)
        assert intake.status.repeated == 1
    assert first.last_position == 1
    assert await names_in(log) == ["s-1"]
    with pytest.raises(KeyReusedError):
        await log.submit(to_command(submission(1, expects=1), ORGANISATION, ()))  # type: ignore[arg-type]


async def test_topics_are_made_for_organisations_as_they_come(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    known = [ORGANISATION]

    async def organisations() -> Sequence[str]:
        return known

    async with running(log, kafka, organisations=organisations) as intake:
        await eventually(lambda: topic_of(log) in intake.status.lags)
        await put(kafka, topic_of(log), [submission(1)])
        known.append(OTHER)
        await eventually(lambda: topic_of(log, OTHER) in intake.status.lags)
        await put(kafka, topic_of(log, OTHER), [submission(1)])
        await put(kafka, topic_of(log), [submission(2)])
        await eventually(lambda: intake.status.accepted == 3)
    assert topic_of(log, OTHER) in await list_topics(kafka)
    assert sorted(await names_in(log)) == ["s-1", "s-1", "s-2"]


async def test_an_overloaded_writer_delays_but_keeps_order(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    narrow = WriterLimits(queue_max_commands=7, batch_max_commands=2)
    writer = LogWriter(
        log.writer._connect, log.writer._categories, CLOCK, log.writer._new_id, limits=narrow
    )
    await writer.start()
    await put_all(kafka, topic_of(log), [submission(n, expects=n) for n in range(40)])
    busy = LogUnderTest(log.name, log.access, log.pool, log.reader, writer, log.signal)
    async with running(busy, kafka) as intake:
        await until_mark(log, 40)
        assert intake.status.rejected == 0
    await writer.stop()
    assert await names_in(log) == [f"s-{n}" for n in range(40)]


async def test_a_command_that_always_fails_in_the_writer_blocks_nothing_for_ever(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    values = [submission(1), submission(2, subject="unsealable"), submission(3)]
    await put_all(kafka, topic_of(log), values)
    async with running(log, kafka) as intake:
        await until_mark(log, 3)
        await eventually(lambda: intake.status.state == "working")
        assert intake.status.rejected == 1
    assert await log.pool.fetchval("SELECT id FROM messaging.rejections") == "s-2"
    assert await names_in(log) == ["s-1", "s-3"]


async def test_a_stopped_writer_rejects_nothing(log: LogUnderTest, kafka: KafkaSettings) -> None:
    halt = "UPDATE log.head SET halted = $1"
    await log.pool.execute(halt, "test")
    await put_all(kafka, topic_of(log), [submission(n, expects=n) for n in range(5)])
    async with running(log, kafka) as intake:
        await eventually(lambda: intake.status.state == "log-unavailable")
        assert await mark_of(log) == 0
        await log.pool.execute(halt, None)
        await until_mark(log, 5)
        await eventually(lambda: intake.status.state == "working")
        assert intake.status.rejected == 0


async def test_an_intake_that_lost_its_lease_unnoticed_takes_nothing_of_what_it_read(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    # Nothing but taking records makes it look at the lease.
    trusting = replace(QUICK, lease_ttl_s=600, lease_renew_s=500)
    async with running(log, kafka, limits=trusting) as intake:
        await eventually(lambda: topic_of(log) in intake.status.lags)
        await lend_lease(log)
        await put(kafka, topic_of(log), [submission(n) for n in range(3)])
        await eventually(lambda: intake.status.state == "standby" or intake.status.accepted > 0)
        assert (await names_in(log), await mark_of(log)) == ([], 0)
        await return_lease(log)
        await until_mark(log, 3)
    assert await names_in(log) == ["s-0", "s-1", "s-2"]


async def test_what_waits_for_the_writer_is_not_decided_once_the_lease_is_lost(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    asked, opened = asyncio.Event(), asyncio.Event()

    async def connect() -> Connection:
        asked.set()
        await opened.wait()
        return await log.writer._connect()

    writer = LogWriter(connect, log.writer._categories, CLOCK, log.writer._new_id)
    await writer.start()
    await put_all(kafka, topic_of(log), [submission(n) for n in range(3)])
    async with running(replace(log, writer=writer), kafka) as intake:
        await asyncio.wait_for(asked.wait(), 40)
        await lend_lease(log)
        await eventually(lambda: intake.status.state == "standby")
        opened.set()
        # It is decided behind what waited.
        await writer.submit(rename("behind", OTHER, ["behind"]))
        assert (await names_in(log), await mark_of(log)) == (["behind"], 0)
        await return_lease(log)
        await until_mark(log, 3)
    await writer.stop()
    assert await names_in(log) == ["behind", "s-0", "s-1", "s-2"]


@pytest.mark.parametrize("count", [0, 2, 3, 5])
async def test_a_submissions_topic_made_again_is_read_from_its_start(
    count: int, log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await put_all(kafka, topic_of(log), [submission(n) for n in range(3)])
    async with running(log, kafka):
        await until_mark(log, 3)
    await delete_topic(kafka, topic_of(log))
    await put_all(kafka, topic_of(log), [submission(n) for n in range(10, 10 + count)])
    async with running(log, kafka) as intake:
        await eventually(lambda: topic_of(log) in intake.status.lags)
        await put(kafka, topic_of(log), [submission(1), submission(99)])
        await until_mark(log, count + 2)
    expected = [*range(3), *range(10, 10 + count), 99]
    assert await names_in(log) == [f"s-{n}" for n in expected]


async def test_a_mark_moves_only_from_where_it_was(log: LogUnderTest) -> None:
    store = IntakeStore(log.pool, timeout_s=5)
    place = TopicPartition("estate.test.submissions.x", 0)
    assert (await store.marks([place]))[place].next_offset == 0
    refused = Rejection(ORGANISATION, None, None, "{}", b"d", b"raw", place, 0)
    await store.advance([Move(place, 0, 3, b"d")], [refused])
    with pytest.raises(MarkMovedError):
        await store.advance([Move(place, 0, 4, b"d")], [refused])
    assert (await store.marks([place]))[place].next_offset == 3
    assert await log.pool.fetchval("SELECT count(*) FROM messaging.rejections") == 1


async def test_rejections_are_published_without_the_original(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    values = [b"hello", submission(2, expects=9)]
    await put_all(kafka, topic_of(log), values)
    publisher = RejectionPublisher(log.name, log.pool, kafka, CLOCK, holder="test")
    await publisher.start()
    async with running(log, kafka):
        await until_mark(log, 2)

    async def published() -> bool:
        left = "SELECT count(*) FROM messaging.rejections WHERE published_at IS NULL"
        return bool(await log.pool.fetchval(left) == 0)

    await eventually(published)
    await publisher.stop()
    records = await read_topic(kafka, rejections_topic(log.name, ORGANISATION))
    events = [orjson.loads(record.value or b"") for record in records]
    assert [event["type"] for event in events] == [REJECTED_TYPE] * 2
    assert [event["data"]["id"] for event in events] == [None, "s-2"]
    assert [event["data"]["digest"] for event in events] == [digest_of(v).hex() for v in values]
    assert events[1]["data"]["reason"]["detail"] == "version is 0, not 9"
    assert SUBJECT not in str(records)
