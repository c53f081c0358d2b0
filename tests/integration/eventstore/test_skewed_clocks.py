"""Several processes on one log whose wall clocks differ from the database's, and jump."""

import asyncio
from datetime import UTC, datetime, timedelta

from shared.eventstore.types import ClockSuspectError, Outcome
from shared.eventstore.writer import LogWriter
from shared.messaging.lease import Lease
from tests.integration.eventstore.log_under_test import LogUnderTest, submit_all
from tests.support.clock import ShiftedClock
from tests.support.counting import add
from tests.support.eventually import eventually

_DAY_S = 86_400


async def write(writer: LogWriter, name: str, clock: ShiftedClock) -> None:
    """Forty commands in a row; the clock jumps to the other side each time."""
    for number in range(40):
        outcome = await writer.submit(add(f"{name}{number}", f"svc_{name}"))
        assert outcome.first_position
        clock.seconds = -clock.seconds


async def test_recorded_times_rise_with_the_positions_of_writers_whose_clocks_are_apart_and_jump(
    log: LogUnderTest,
) -> None:
    ahead, behind = ShiftedClock(55), ShiftedClock(-55)
    async with log.writer(clock=ahead) as one, log.writer(clock=behind) as other:
        began = datetime.now(UTC)
        await asyncio.gather(write(one, "a", ahead), write(other, "b", behind))
        ended = datetime.now(UTC)
    events = await log.check()
    assert len(events) == 80
    # Neither process's clock is in them: they are when it was.
    slack = timedelta(seconds=5)
    assert began - slack < events[0].recorded_at < events[-1].recorded_at < ended + slack
    writers = [event.origin.causation_id[0] for event in events]
    assert writers != sorted(writers), "the writers never took turns"


async def test_a_process_whose_clock_jumped_too_far_takes_nothing_and_the_others_go_on(
    log: LogUnderTest,
) -> None:
    clock = ShiftedClock(0)
    async with log.writer(clock=clock) as jumped, log.writer() as sound:
        for years in (5, -1):
            clock.seconds = 0
            await jumped.submit(add(f"before{years}"))
            clock.seconds = years * 365 * _DAY_S
            (refused,) = await submit_all(jumped, [add(f"after{years}")])
            assert isinstance(refused, ClockSuspectError)
            (taken,) = await submit_all(sound, [add(f"beside{years}")])
            assert isinstance(taken, Outcome)
    assert await log.keys() == ["before5", "beside5", "before-1", "beside-1"]
    await log.check()


async def test_a_lease_is_one_processes_whatever_their_clocks_say(log: LogUnderTest) -> None:
    def lease(holder: str, seconds: float) -> Lease:
        clock = ShiftedClock(seconds)
        return Lease(log.pool, "relay", holder, clock, ttl_s=2.0, timeout_s=5.0)

    behind, ahead = lease("behind", -_DAY_S), lease("ahead", _DAY_S)
    for first, second in ((behind, ahead), (ahead, behind)):
        assert await first.take()
        assert not await second.take()
        await first.renew()
        assert not await second.take()
        # It is let go by time that passes, not by time that a clock says has passed.
        await eventually(second.take)
        assert not await first.take()
        await second.release()
