import asyncio
from dataclasses import replace

import asyncpg
import pytest

from shared.contracts.envelope import leaf_of
from shared.eventstore.reader import HeadSignal, LogReader
from shared.projections.feed import Checkpoint, FeedStoppedError, FeedUnavailableError
from shared.projections.log_feed import LogFeed
from tests.integration.projections.log_with_services import ServiceLog, estate, registered

START = Checkpoint("registry")


async def test_batches_follow_on_and_tell_the_head(log: ServiceLog) -> None:
    await log.append_all(estate(5, 5))
    feed = log.feed()
    first = await feed.read(START, 4, 0)
    assert [event.position for event in first.events] == [1, 2, 3, 4]
    assert (first.end.position, first.head) == (4, 10)
    assert first.end.digest == leaf_of(first.events[-1].body)
    rest = await feed.read(first.end, 100, 0)
    assert [event.position for event in rest.events] == [5, 6, 7, 8, 9, 10]
    assert await feed.read(rest.end, 100, 0.01) == replace(rest, events=())


@pytest.mark.parametrize("signalled", [True, False])
async def test_waiting_ends_with_the_next_event(log: ServiceLog, *, signalled: bool) -> None:
    feed = LogFeed(log.reader, log.signal if signalled else None)
    waiting = asyncio.create_task(feed.read(START, 10, 30))
    await log.append(registered("svc_1", "One"))
    batch = await asyncio.wait_for(waiting, 5)
    assert batch.end.position == 1


async def test_signal_of_another_process_is_not_needed(log: ServiceLog) -> None:
    feed = LogFeed(log.reader, HeadSignal())
    waiting = asyncio.create_task(feed.read(START, 10, 30))
    await log.append(registered("svc_1", "One"))
    assert (await asyncio.wait_for(waiting, 5)).end.position == 1


async def test_checkpoint_of_another_history_is_refused(log: ServiceLog) -> None:
    await log.append_all(estate(5, 5))
    end = (await log.feed().read(START, 4, 0)).end
    for foreign in (
        replace(end, digest=b"\x00" * 32),
        replace(end, position=11),
        replace(end, timeline=2),
    ):
        with pytest.raises(FeedStoppedError, match="other-history"):
            await log.feed().read(foreign, 10, 0)
    assert (await log.feed().read(end, 10, 0)).end.position == 10


async def test_missing_and_unreadable_events_stop_by_name(log: ServiceLog) -> None:
    await log.append_all(estate(5, 5))
    await log.as_owner("UPDATE log.events SET body = 'no event' WHERE position = 9")
    with pytest.raises(FeedStoppedError, match="unreadable: registry:9"):
        await log.feed().read(START, 10, 0)
    await log.as_owner("DELETE FROM log.events WHERE position = 4")
    with pytest.raises(FeedStoppedError, match="gap: registry:4 is missing"):
        await log.feed().read(START, 6, 0)


async def test_lost_database_is_unavailable(log: ServiceLog) -> None:
    pool = asyncpg.create_pool(log.access.app_dsn, min_size=1, max_size=1)
    await pool
    feed = LogFeed(LogReader(pool, "registry"))
    await pool.close()
    with pytest.raises(FeedUnavailableError):
        await feed.read(START, 10, 0)
