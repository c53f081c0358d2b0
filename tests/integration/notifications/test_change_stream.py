"""Following the change feed as server-sent events: resumed anywhere, bounded, ended in order."""

import asyncio
import random
import socket
import time
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from services.notifications.changes.limits import FeedLimits
from services.notifications.read_models.cursor import parse_cursor
from tests.integration.notifications.conftest import Serve
from tests.integration.notifications.hand_fed import (
    SERVICES,
    HandFed,
    by_log,
    place_of,
    positions,
    random_filter,
    seeded,
)
from tests.support.sse import KEY, SseReader, reading

PAINTED = "estate.service.painted.v1"
SMALL_TAIL = FeedLimits(
    poll_interval_s=0.01, heartbeat_s=0.05, tail_changes=8, tail_bytes=6_000, catch_up_changes=3
)


async def until(condition: Callable[[], bool], what: str = "it came true") -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


async def caught_up(reader: SseReader, estate: HandFed, wanted: dict[str, str]) -> list[Any]:
    """All messages until the reader's cursor is where the logs end."""
    events = []
    logs = [
        log for log in wanted.get("log", "registry,dependencies").split(",") if log in estate.logs
    ]
    while any(
        parse_cursor(reader.last_id or "registry:0")[log].position < len(estate.logs[log])
        for log in logs
    ):
        block = await reader.block()
        assert block is not None
        if block.is_message:
            events.append(block.event)
    return events


@pytest.mark.parametrize("small_tail", [True, False])
@pytest.mark.parametrize("seed", range(8))
async def test_stream_resumed_at_random_points_gives_every_wanted_event_once(
    seed: int, small_tail: bool, estate: HandFed, serve_feed: Serve
) -> None:
    chance = seeded(100 + seed)
    wanted = random_filter(chance)
    limits = SMALL_TAIL if small_tail else FeedLimits(poll_interval_s=0.01, heartbeat_s=0.05)
    seen: list[tuple[str, int]] = []
    last_id: str | None = None
    async with serve_feed(limits) as (_feed, caller):
        for _ in range(10):
            growing = asyncio.create_task(_grow(estate, seeded(chance.random())))
            async with reading(caller, last_id, **wanted) as reader:
                for _ in range(chance.randrange(8)):
                    block = await reader.block()
                    assert block is not None
                    if block.is_message:
                        seen.append(place_of(block.event))
                last_id = reader.last_id
            await growing
        await estate.apply_all()
        async with reading(caller, last_id, **wanted) as reader:
            seen += [place_of(event) for event in await caught_up(reader, estate, wanted)]
    assert by_log(seen) == positions(estate.expected(wanted))


async def _grow(estate: HandFed, chance: random.Random) -> None:
    for _ in range(6):
        estate.grow(chance, chance.randrange(6))
        log = chance.choice(list(estate.logs))
        await estate.apply(log, chance.randint(0, estate.backlog(log)))


async def test_message_holds_cursor_type_and_the_event_on_one_line(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    recorded = estate.record("registry", PAINTED, SERVICES[0], {"text": "zwei\nZeilen, ü"})
    await estate.apply_all()
    async with reading(caller) as reader:
        assert reader.response.headers["Content-Type"] == "text/event-stream"
        assert reader.response.headers["X-Accel-Buffering"] == "no"
        first = await reader.block()
        assert first is not None
        assert first.fields == {"retry": "2000"}
        block = await reader.message()
    assert block.fields["event"] == PAINTED
    assert block.fields["data"].encode() == recorded.event.body
    assert parse_cursor(block.fields["id"])["registry"].position == 1


async def test_filtered_stream_tells_how_far_it_looked_without_a_message(
    estate: HandFed, serve_feed: Serve
) -> None:
    async with (
        serve_feed(FeedLimits(poll_interval_s=0.01, heartbeat_s=0.05)) as (_feed, caller),
        reading(caller, service=SERVICES[1]) as reader,
    ):
        for _ in range(7):
            estate.record("registry", PAINTED, SERVICES[0], {})
        await estate.apply_all()
        while parse_cursor(reader.last_id or "registry:0")["registry"].position < 7:
            block = await reader.block()
            assert block is not None
            assert not block.is_message


async def test_last_event_id_wins_over_after(
    estate: HandFed, caller: aiohttp.ClientSession
) -> None:
    for _ in range(3):
        estate.record("registry", PAINTED, SERVICES[0], {})
    await estate.apply_all()
    async with reading(caller, "registry:2", after="registry:0") as reader:
        assert place_of((await reader.message()).event) == ("registry", 3)


@pytest.mark.parametrize("last_id", ["", "elsewhere:1", "cmVnaXN0cnk6MR", "registry:0 ", "1"])
async def test_malformed_last_event_id_is_refused_before_the_stream_starts(
    last_id: str, caller: aiohttp.ClientSession
) -> None:
    headers = {**KEY, "Last-Event-ID": last_id}
    async with caller.get("/v1/changes/stream", headers=headers) as response:
        if last_id.strip() != last_id:  # HTTP takes white space off the ends of a header.
            assert response.status == 200
            return
        assert response.status == 400
        assert (await response.json())["type"] == "/problems/bad-request"


async def test_stream_beyond_the_last_place_is_refused_until_another_ends(
    serve_feed: Serve,
) -> None:
    limits = FeedLimits(poll_interval_s=0.01, heartbeat_s=0.05, max_streams=2)
    async with serve_feed(limits) as (feed, caller), AsyncExitStack() as streams:
        for _ in range(2):
            await (await streams.enter_async_context(reading(caller))).block()
        async with caller.get("/v1/changes/stream", headers=KEY) as response:
            assert response.status == 503
            assert (await response.json())["type"] == "/problems/overloaded"
            assert response.headers["Retry-After"]
        await streams.aclose()
        await until(lambda: feed.streams == 0, "places are given back")
        async with reading(caller) as reader:
            assert await reader.block()


async def test_streams_end_whole_when_the_service_stops(serve_feed: Serve) -> None:
    async with serve_feed() as (feed, caller), reading(caller) as reader:
        waiting = asyncio.create_task(
            caller.get("/v1/changes", params={"wait_s": "30"}, headers=KEY)
        )
        await reader.block()
        await until(lambda: feed.streams == 1)
        await feed.end_streams()
        while await reader.block() is not None:
            pass
        async with await asyncio.wait_for(waiting, 10) as response:
            assert response.status == 200
        await until(lambda: feed.streams == 0)


async def test_stream_ends_after_its_longest_time_and_goes_on_when_resumed(
    estate: HandFed, serve_feed: Serve
) -> None:
    limits = FeedLimits(poll_interval_s=0.01, heartbeat_s=0.05, stream_max_s=0.2)
    async with serve_feed(limits) as (_feed, caller):
        estate.record("registry", PAINTED, SERVICES[0], {})
        await estate.apply_all()
        async with reading(caller) as reader:
            assert place_of((await reader.message()).event) == ("registry", 1)
            while await reader.block() is not None:
                pass
        estate.record("registry", PAINTED, SERVICES[0], {})
        await estate.apply_all()
        async with reading(caller, reader.last_id) as reader:
            assert place_of((await reader.message()).event) == ("registry", 2)


def _fill(estate: HandFed, count: int, size: int) -> None:
    for _ in range(count):
        estate.record("registry", PAINTED, SERVICES[0], {"text": "x" * size})


async def _stalled(caller: aiohttp.ClientSession) -> socket.socket:
    """A connection that asks for the stream and never reads."""
    base = caller._base_url
    assert base is not None
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (base.host, base.port))
    head = ("GET /v1/changes/stream HTTP/1.1", f"Host: {base.host}", "Authorization: Bearer audit")
    await loop.sock_sendall(sock, "\r\n".join((*head, "", "")).encode())
    return sock


async def test_reader_that_takes_nothing_is_cut_and_others_go_on(
    estate: HandFed, serve_feed: Serve
) -> None:
    _fill(estate, 120, 200_000)
    await estate.apply_all()
    limits = FeedLimits(poll_interval_s=0.01, send_timeout_s=0.5)
    async with serve_feed(limits) as (feed, caller):
        stalled = await _stalled(caller)
        try:
            await until(lambda: feed.streams == 1)
            async with reading(caller) as reader:
                for position in range(1, 121):
                    assert place_of((await reader.message()).event) == ("registry", position)
                await until(lambda: feed.streams == 1, "the stalled reader is cut")
                _fill(estate, 1, 10)
                await estate.apply_all()
                assert place_of((await reader.message()).event) == ("registry", 121)
        finally:
            stalled.close()


@pytest.mark.parametrize("when", ["while catching up", "while following"])
async def test_memory_stays_bounded_with_two_hundred_readers_that_do_not_read(
    when: str, estate: HandFed, serve_feed: Serve
) -> None:
    limits = FeedLimits(poll_interval_s=0.01, send_timeout_s=60)
    async with serve_feed(limits) as (feed, caller), AsyncExitStack() as stack:
        if when == "while catching up":
            _fill(estate, 600, 50_000)
            await estate.apply_all()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(200):
                stack.callback((await _stalled(caller)).close)
            await until(lambda: feed.streams == 200)
            if when == "while following":
                for _ in range(12):  # 30 MB, of which the tail may hold 8.
                    _fill(estate, 50, 50_000)
                    await estate.apply_all()
            reader = await stack.enter_async_context(reading(caller, "registry:590"))
            for position in range(591, 601):
                assert place_of((await reader.message()).event) == ("registry", position)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        recorded = sum(len(one.event.body) for one in estate.logs["registry"])
        grown = peak - before - (2 * recorded if when == "while following" else 0)
        assert grown < 200 * 350_000, f"{grown / 1e6:.0f} MB"
        print(f"{when}: {grown / 1e6:.0f} MB")  # noqa: T201


async def test_two_hundred_readers_all_get_everything(estate: HandFed, serve_feed: Serve) -> None:
    estate.grow(seeded(7), 50)
    await estate.apply_all()

    async def read_all(caller: aiohttp.ClientSession) -> list[tuple[str, int]]:
        async with reading(caller) as reader:
            return [place_of((await reader.message()).event) for _ in range(250)]

    async with serve_feed() as (feed, caller):
        readers = [asyncio.create_task(read_all(caller)) for _ in range(200)]
        await until(lambda: feed.streams == 200)
        for seed in range(20):
            estate.grow(seeded(seed), 10)
            await estate.apply_all()
        for found in await asyncio.wait_for(asyncio.gather(*readers), 60):
            assert by_log(found) == positions(estate.expected({}))
