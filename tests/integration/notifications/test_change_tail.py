"""The newest changes in memory: what is let go of is never passed over in silence."""

import asyncio
import time

from services.notifications.changes.limits import FeedLimits
from services.notifications.read_models.cursor import START, parse_cursor
from tests.integration.notifications.conftest import Serve
from tests.integration.notifications.hand_fed import HandFed, seeded

SMALL = FeedLimits(poll_interval_s=0.01, tail_changes=8)


async def test_follower_of_what_was_let_go_of_is_told_so(
    estate: HandFed, serve_feed: Serve
) -> None:
    async with serve_feed(SMALL) as (feed, _caller):
        tail = feed.tail
        deadline = time.monotonic() + 20
        while (number := tail.join(START, START)) is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert tail.held(number, 10) == []

        estate.grow(seeded(1), 30)
        await estate.apply_all()
        while not tail.reaches(number + 29):
            assert time.monotonic() < deadline
            await tail.wait(number + 29, 1)

        assert tail.held(number, 10) is None
        assert tail.join(START, START) is None
        ends = ",".join(f"{log}:{len(recorded)}" for log, recorded in estate.logs.items())
        joined = tail.join(parse_cursor(ends), START)
        assert joined is not None
        held = tail.held(joined, 100)
        assert held is not None
        assert 0 < len(held) <= SMALL.tail_changes
        assert joined + len(held) == number + 30
