"""Work in the background goes on whatever ends it, and ends when it is told to."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.background import Background

Fail = Callable[[], Awaitable[None]]


async def fail_plainly() -> None:
    raise ValueError("broken")


async def be_cancelled_by_a_library() -> None:
    inner = asyncio.create_task(asyncio.Event().wait())
    inner.cancel()
    await inner


@pytest.mark.parametrize("fail", [fail_plainly, be_cancelled_by_a_library])
async def test_what_failed_is_begun_anew(fail: Fail) -> None:
    rounds, reached = [0], asyncio.Event()

    async def work() -> None:
        rounds[0] += 1
        if rounds[0] < 3:
            await fail()
        reached.set()
        await asyncio.Event().wait()

    background = Background("sample", work, pause_s=0)
    background.start()
    async with asyncio.timeout(5):
        await reached.wait()
        await background.stop()
    assert rounds[0] == 3


async def test_what_returned_is_not_begun_anew() -> None:
    rounds = [0]

    async def work() -> None:
        rounds[0] += 1

    background = Background("sample", work, pause_s=0)
    background.start()
    for _ in range(5):
        await asyncio.sleep(0)
    await background.stop()
    assert rounds[0] == 1


async def test_stop_ends_work_that_cleans_up_and_may_be_repeated() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    background = Background("sample", work)
    await background.stop()
    background.start()
    await asyncio.sleep(0)
    await background.stop()
    await background.stop()
    assert ended.is_set()
