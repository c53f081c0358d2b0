import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.clock import format_instant
from shared.contracts.names import Position
from shared.eventstore.merkle import EMPTY_ROOT
from shared.eventstore.reader import HeadSignal
from tests.integration.eventstore.log_under_test import LogUnderTest, submit_all
from tests.support.counting import add


async def fill(log: LogUnderTest, count: int) -> None:
    async with log.writer() as writer:
        await submit_all(writer, [add(f"k{n}", f"svc_{n % 2}") for n in range(count)])


async def test_an_empty_log_has_a_head_that_can_be_answered(log: LogUnderTest) -> None:
    head = await log.reader.head()
    assert (head.where, head.root) == (Position("registry", 0), EMPTY_ROOT)
    assert (head.publication, head.halted) == (1, None)
    assert format_instant(head.recorded_at) == "1970-01-01T00:00:00.000000Z"
    assert await log.reader.after(0, 10) == []
    assert await log.reader.at(1) is None
    assert await log.reader.position_at(datetime.now(UTC)) == 0


async def test_the_head_of_a_log_that_was_never_opened_is_an_error(log: LogUnderTest) -> None:
    await log.as_owner("DELETE FROM log.head")
    with pytest.raises(LookupError):
        await log.reader.head()
    await log.reader.open()
    assert (await log.reader.head()).log == "registry"


async def test_events_are_read_in_order_behind_a_position(log: LogUnderTest) -> None:
    await fill(log, 7)
    assert [event.position for event in await log.reader.after(2, 3)] == [3, 4, 5]
    assert [event.position for event in await log.reader.after(5, 10)] == [6, 7]
    bodies = await log.reader.bodies_after(5, 10)
    assert bodies == [event.body for event in await log.reader.after(5, 10)]
    found = await log.reader.at(4)
    assert found is not None
    assert found.position == 4


async def test_a_stream_is_read_in_order_behind_a_version(log: LogUnderTest) -> None:
    await fill(log, 7)
    events = await log.reader.stream("service-svc_0", 1, 2)
    assert [(event.stream_version, event.position) for event in events] == [(2, 3), (3, 5)]
    assert await log.reader.stream("service-svc_9", 0, 2) == []


async def test_a_recorded_time_gives_the_last_position_known_then(log: LogUnderTest) -> None:
    await fill(log, 9)
    events = await log.events()
    microsecond = timedelta(microseconds=1)
    assert await log.reader.position_at(events[0].recorded_at - microsecond) == 0
    for event in events:
        assert await log.reader.position_at(event.recorded_at) == event.position
        assert await log.reader.position_at(event.recorded_at - microsecond) == event.position - 1
    assert await log.reader.position_at(events[-1].recorded_at + timedelta(days=1)) == 9


async def test_who_waits_for_the_head_is_woken_when_it_moves(log: LogUnderTest) -> None:
    signal = HeadSignal()
    waiting = asyncio.create_task(signal.wait(0, 30))
    async with log.writer(on_batch=lambda done: signal.announce(done.position)) as writer:
        await asyncio.sleep(0)
        await writer.submit(add("k"))
        await asyncio.wait_for(waiting, timeout=5)


async def test_who_waits_for_a_head_that_was_announced_does_not_wait() -> None:
    signal = HeadSignal()
    signal.announce(5)
    await asyncio.wait_for(signal.wait(4, 30), timeout=1)


async def test_who_waits_in_vain_goes_on_after_the_time_it_gave() -> None:
    signal = HeadSignal()
    signal.announce(5)
    await asyncio.wait_for(signal.wait(5, 0.01), timeout=1)
