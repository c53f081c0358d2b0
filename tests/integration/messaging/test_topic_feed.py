import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.contracts.envelope import Event, leaf_of
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic
from shared.messaging.kafka import KafkaSettings, ensure_topic
from shared.messaging.topic_feed import TopicFeed, TopicFeedLimits
from shared.projections.bulk import batches, known_head
from shared.projections.feed import (
    Checkpoint,
    Feed,
    FeedBatch,
    FeedStoppedError,
    FeedUnavailableError,
)
from tests.integration.messaging.log_under_test import CLOCK, LogUnderTest
from tests.integration.messaging.topics import (
    delete_topic,
    make_topic,
    make_topic_again,
    put,
)

LIMITS = TopicFeedLimits(proof_interval_s=0.5, request_deadline_s=2.0)


@pytest_asyncio.fixture
async def feed(log: LogUnderTest, kafka: KafkaSettings) -> AsyncIterator[TopicFeed]:
    feed = TopicFeed(log.name, kafka, CLOCK, limits=LIMITS)
    yield feed
    await feed.close()


async def bodies_of(log: LogUnderTest, count: int) -> list[bytes]:
    await log.fill(count)
    return await log.bodies()


async def drain(feed: Feed, after: Checkpoint, until: int) -> FeedBatch:
    """Read up to a position; the answer has all events on the way."""
    events: list[Event] = []
    end = after
    async with asyncio.timeout(20):
        while end.position < until:
            batch = await feed.read(end, 1_000, 0.5)
            events += batch.events
            end = batch.end
    return FeedBatch(events, end, batch.head)


async def test_a_feed_delivers_every_event_with_its_bytes(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 25)
    await make_topic(kafka, log.topic, bodies)
    batch = await drain(feed, Checkpoint(log.name), 25)
    assert [event.body for event in batch.events] == bodies
    assert batch.end == Checkpoint(log.name, 25, 1, leaf_of(bodies[-1]), 24, 1)
    assert batch.head == 25
    nothing = await feed.read(batch.end, 10, 0.1)
    assert (nothing.events, nothing.end, nothing.head) == ((), batch.end, 25)


async def test_a_feed_answers_at_most_the_limit(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    await make_topic(kafka, log.topic, await bodies_of(log, 25))
    batch = await feed.read(Checkpoint(log.name), 10, 2.0)
    assert len(batch.events) == 10
    assert batch.head == 25


async def test_a_new_feed_resumes_behind_its_checkpoint(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 10)
    await make_topic(kafka, log.topic, bodies)
    seventh = Checkpoint(log.name, 7, 1, leaf_of(bodies[6]), 6, 1)
    batch = await drain(feed, seventh, 10)
    assert [event.position for event in batch.events] == [8, 9, 10]
    again = await drain(feed, seventh, 10)
    assert [event.position for event in again.events] == [8, 9, 10]


async def test_repeats_are_dropped_and_counted(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    one, two, three, four = await bodies_of(log, 4)
    await make_topic(kafka, log.topic, [one, two, three, two, three, four])
    batch = await drain(feed, Checkpoint(log.name), 4)
    assert [event.position for event in batch.events] == [1, 2, 3, 4]
    assert feed.dropped == 2
    assert batch.end.offset == 5


async def test_news_where_repeats_had_been_is_read_from_a_topic_that_was_made_again(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    one, two, three, four = await bodies_of(log, 4)
    await make_topic(kafka, log.topic, [one, two, one, two])
    batch = await drain(feed, Checkpoint(log.name), 2)
    assert (await feed.read(batch.end, 10, 0.1)).end == batch.end
    assert feed.dropped == 2
    await make_topic_again(kafka, log.topic, [one, two, three, four])
    batch = await _read_on(feed, batch.end, 4)
    assert [event.position for event in batch.events] == [3, 4]


async def test_a_log_is_read_to_its_end_though_repeats_make_it_look_longer(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 10)
    await make_topic(kafka, log.topic, [*bodies[:8], *bodies[3:]])
    start = Checkpoint(log.name)
    head = await known_head(feed, start)
    assert head > 10
    async with asyncio.timeout(10):
        read = [
            event.body async for batch in batches(feed, start, head, 4) for event in batch.events
        ]
    assert read == bodies


async def test_a_gap_stops_the_feed_behind_what_came_before_it(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    one, two, _three, four = await bodies_of(log, 4)
    await make_topic(kafka, log.topic, [one, two, four])
    batch = await drain(feed, Checkpoint(log.name), 2)
    for _attempt in range(2):
        with pytest.raises(FeedStoppedError) as stop:
            await feed.read(batch.end, 10, 1.0)
        assert stop.value.reason == "gap"


@pytest.mark.parametrize("garbage", [b"hello", b"{}", b"[1]", b"\xff", b"", None])
async def test_bytes_that_are_no_event_stop_the_feed(
    garbage: bytes | None, log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    (one,) = await bodies_of(log, 1)
    await make_topic(kafka, log.topic, [one, garbage])
    batch = await drain(feed, Checkpoint(log.name), 1)
    with pytest.raises(FeedStoppedError) as stop:
        await feed.read(batch.end, 10, 1.0)
    assert stop.value.reason == "unreadable"


async def test_a_feed_does_not_go_on_behind_the_record_that_stopped_it(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    one, two = await bodies_of(log, 2)
    await make_topic(kafka, log.topic, [one, b"hello", two])
    batch = await drain(feed, Checkpoint(log.name), 1)
    for _attempt in range(2):
        # One record at a time: what it stops at is all that the consumer has taken.
        with pytest.raises(FeedStoppedError) as stop:
            await feed.read(batch.end, 1, 1.0)
        assert stop.value.reason == "unreadable"


async def test_events_of_another_log_stop_the_feed(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    (one,) = await bodies_of(log, 1)
    await make_topic(kafka, log.topic, [one.replace(log.name.encode(), b"registry")])
    with pytest.raises(FeedStoppedError) as stop:
        await feed.read(Checkpoint(log.name), 10, 1.0)
    assert stop.value.reason == "unreadable"


async def test_a_topic_that_is_not_there_yet_is_waited_for(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    with pytest.raises(FeedUnavailableError):
        await feed.read(Checkpoint(log.name), 10, 0.1)
    await make_topic(kafka, log.topic, await bodies_of(log, 2))
    assert len((await drain(feed, Checkpoint(log.name), 2)).events) == 2


async def test_a_topic_deleted_under_a_feed_is_not_silence(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    await make_topic(kafka, log.topic, await bodies_of(log, 2))
    batch = await drain(feed, Checkpoint(log.name), 2)
    await delete_topic(kafka, log.topic)
    with pytest.raises(FeedUnavailableError):
        await feed.read(batch.end, 10, 1.0)


async def _stop_of(feed: TopicFeed, after: Checkpoint, deadline_s: float) -> FeedStoppedError:
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                after = (await feed.read(after, 10, 1.0)).end
            except FeedUnavailableError:
                await asyncio.sleep(0.05)
            except FeedStoppedError as stop:
                return stop


@pytest.mark.parametrize("count", [5, 9], ids=["equal", "longer"])
async def test_a_topic_made_again_under_a_feed_is_noticed(
    count: int, log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 9)
    await make_topic(kafka, log.topic, bodies[:5])
    batch = await drain(feed, Checkpoint(log.name), 5)
    others = [body.replace(b"act_test", b"act_evil") for body in bodies]
    await make_topic_again(kafka, log.topic, others[:count])
    stop = await _stop_of(feed, batch.end, 5.0)
    assert stop.reason == "other-history"


@pytest.mark.parametrize("count", [0, 2], ids=["empty", "shorter"])
async def test_a_topic_made_again_that_is_too_short_is_waited_for(
    count: int, log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 6)
    await make_topic(kafka, log.topic, bodies[:5])
    batch = await drain(feed, Checkpoint(log.name), 5)
    await make_topic_again(kafka, log.topic, bodies[:count])
    assert await _waits(feed, batch.end)
    await put(kafka, log.topic, bodies[count:])
    assert [event.position for event in (await _read_on(feed, batch.end, 6)).events] == [6]


async def _waits(feed: TopicFeed, after: Checkpoint) -> bool:
    """Whether it says, once it has noticed, that it cannot go on yet; twice, to be sure."""
    for _attempt in range(2):
        async with asyncio.timeout(10):
            while True:
                try:
                    assert (await feed.read(after, 10, 1.0)).end == after
                except FeedUnavailableError:
                    break
    return True


async def _read_on(feed: TopicFeed, after: Checkpoint, until: int) -> FeedBatch:
    """As `drain`, through everything that may pass."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await drain(feed, after, until)
            except FeedUnavailableError:
                await asyncio.sleep(0.05)


async def test_a_feed_finds_its_place_in_a_topic_that_holds_the_same_history(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 6)
    await make_topic(kafka, log.topic, bodies[:5])
    batch = await drain(feed, Checkpoint(log.name), 5)
    await make_topic_again(kafka, log.topic, [*bodies[:3], *bodies[:3], *bodies[3:]])
    rest = await _read_on(feed, batch.end, 6)
    assert [event.position for event in rest.events] == [6]
    assert rest.end.offset == 8


async def test_a_checkpoint_of_an_earlier_publication_is_anchored_anew(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 6)
    await make_topic(kafka, events_topic(log.name, 2), bodies)
    fourth = Checkpoint(log.name, 4, 1, leaf_of(bodies[3]), 17, 1)
    batch = await drain(feed, fourth, 6)
    assert [event.position for event in batch.events] == [5, 6]
    assert (batch.end.offset, batch.end.publication) == (5, 2)


async def test_a_feed_goes_over_to_a_new_publication_once_that_reaches_it(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 7)
    await make_topic(kafka, log.topic, bodies[:5])
    batch = await drain(feed, Checkpoint(log.name), 5)
    second = events_topic(log.name, 2)
    await make_topic(kafka, second, bodies[:3])
    assert await _waits(feed, batch.end)
    await put(kafka, second, bodies[3:])
    rest = await _read_on(feed, batch.end, 7)
    assert [event.position for event in rest.events] == [6, 7]
    assert (rest.end.offset, rest.end.publication) == (6, 2)


async def test_the_publication_with_the_highest_number_is_followed(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 2)
    for number in (2, 10, 9):
        await make_topic(kafka, events_topic(log.name, number), bodies)
    assert (await drain(feed, Checkpoint(log.name), 2)).end.publication == 10


async def test_a_publication_that_is_gone_is_not_left_for_an_earlier_one(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 2)
    await make_topic(kafka, log.topic, bodies)
    first = Checkpoint(log.name, 1, 1, leaf_of(bodies[0]), 0, 2)
    with pytest.raises(FeedUnavailableError, match=events_topic(log.name, 2)):
        await feed.read(first, 10, 0.1)


async def test_an_event_that_a_later_timeline_left_behind_stops_the_feed(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    bodies = await bodies_of(log, 5)
    await make_topic(kafka, log.topic, bodies)
    batch = await drain(feed, Checkpoint(log.name), 5)
    third = bodies[2].replace(b'"timeline":"1"', b'"timeline":"2"')
    await make_topic(kafka, events_topic(log.name, 2), [*bodies[:2], third])
    stop = await _stop_of(feed, batch.end, 5.0)
    assert stop.reason == "other-history"


async def test_a_feed_hears_of_a_new_event_at_once(
    log: LogUnderTest, kafka: KafkaSettings, feed: TopicFeed
) -> None:
    await ensure_topic(kafka, log.topic, EVENT_TOPIC_CONFIG)
    bodies = await bodies_of(log, 1)
    started = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        group.create_task(put(kafka, log.topic, bodies))
        reading = group.create_task(feed.read(Checkpoint(log.name), 10, 10.0))
    assert len(reading.result().events) == 1
    assert asyncio.get_running_loop().time() - started < 3.0
