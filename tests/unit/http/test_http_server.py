"""Serving: slow and idle callers are closed, connections are bounded, stopping is graceful."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from shared.http import request_reading
from shared.http.server import RunningServer, ServerLimits, require_c_parser, serve
from tests.unit.http.sample_service import Seen


async def closed_within(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What the server sent before it closed the connection."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def test_a_connection_that_says_nothing_is_closed(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    assert await closed_within(reader, 3) == b""
    writer.close()


async def test_a_head_that_comes_byte_by_byte_is_closed(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    closing = asyncio.create_task(closed_within(reader, 3))
    started = time.monotonic()
    for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1000:
        if closing.done():
            break
        writer.write(bytes([byte]))
        await asyncio.wait([closing], timeout=0.02)
    assert await closing == b""
    assert time.monotonic() - started < 2
    writer.close()


async def test_the_second_head_on_a_connection_has_a_deadline_too(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'{"alive":true}')
    writer.write(b"GET /livez HT")
    assert await closed_within(reader, 3) == b""
    writer.close()


async def test_a_connection_at_rest_between_requests_is_kept(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'{"alive":true}')
    with pytest.raises(TimeoutError):
        await closed_within(reader, 0.6)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'{"alive":true}')
    writer.close()


async def test_a_connection_at_rest_for_too_long_is_closed(app: web.Application) -> None:
    limits = ServerLimits(keepalive_s=0.3)
    async with serve(app, "127.0.0.1", 0, limits=limits) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'{"alive":true}')
        assert await closed_within(reader, 3) == b""
        writer.close()


def test_slow_callers_are_granted_seconds_and_idle_ones_little_more_than_a_minute() -> None:
    limits = ServerLimits()
    assert limits.header_deadline_s <= 10
    assert limits.stalled_s <= 15
    assert limits.keepalive_s <= 75


async def test_a_long_answer_outlives_the_deadline_of_heads(
    caller: aiohttp.ClientSession, seen: Seen
) -> None:
    answer = asyncio.create_task(caller.get("/v1/waiting"))
    await asyncio.wait([answer], timeout=0.6)
    assert not answer.done()
    seen.release.set()
    assert (await answer).status == 200


async def test_a_body_that_stalls_is_refused(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_reading, "BODY_DEADLINE_S", 0.2)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(
        b"POST /v1/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer emit\r\n"
        b"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    answer = await closed_within(reader, 3)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/too-slow" in answer
    writer.close()


async def test_a_caller_that_leaves_in_the_middle_harms_nobody(
    server: RunningServer, caller: aiohttp.ClientSession
) -> None:
    for _ in range(5):
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            b"POST /v1/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer emit\r\n"
            b"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        await writer.drain()
        writer.transport.abort()
    assert (await caller.get("/livez")).status == 200
    text = await (await caller.get("/metrics")).text()
    assert 'status="500"' not in text


async def test_connections_past_the_cap_are_refused(app: web.Application) -> None:
    async with serve(app, "127.0.0.1", 0, limits=ServerLimits(max_connections=2)) as server:
        held = [await asyncio.open_connection(server.host, server.port) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b'{"alive":true}')
        reader, writer = await asyncio.open_connection(server.host, server.port)
        assert (await closed_within(reader, 3)).startswith(b"HTTP/1.1 503 ")
        writer.close()
        held[0][1].close()
        async with asyncio.timeout(3):
            while not await _is_served(server):
                pass
        held[1][1].close()


async def _is_served(server: RunningServer) -> bool:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await closed_within(reader, 3)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ")


async def test_stopping_lets_requests_under_way_end(app: web.Application, seen: Seen) -> None:
    async with aiohttp.ClientSession() as session:
        serving = serve(app, "127.0.0.1", 0)
        server = await serving.__aenter__()
        answer = asyncio.create_task(session.get(f"{server.url}/v1/waiting"))
        async with asyncio.timeout(3):
            while "estate_http_requests_in_flight 2.0" not in await _metrics(session, server):
                pass
        stopping = asyncio.create_task(serving.__aexit__(None, None, None))
        await asyncio.wait([stopping], timeout=0.1)
        seen.release.set()
        assert (await answer).status == 200
        await stopping
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{server.url}/livez")


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_who_comes_while_the_server_leaves_is_not_left_waiting(
    app: web.Application, turns: int
) -> None:
    async with serve(app, "127.0.0.1", 0) as server:
        caller = socket.create_connection((server.host, server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    with caller, contextlib.suppress(ConnectionResetError):
        caller.settimeout(1)
        assert caller.recv(1) == b""


ANSWER_BYTES = 32 * 1024 * 1024


@pytest.fixture
async def talkative() -> AsyncIterator[RunningServer]:
    """A server whose answer is more than the buffers of two sockets hold."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b"a" * ANSWER_BYTES)

    app = web.Application()
    app.router.add_get("/", answer)
    limits = ServerLimits(stalled_s=0.4, taken_bytes_per_s=64 * 1024, max_connections=2)
    async with serve(app, "127.0.0.1", 0, limits=limits) as running:
        yield running


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_callers_who_do_not_take_their_answer_are_cut_and_leave_their_places(
    talkative: RunningServer, connection: str
) -> None:
    idle = [socket.create_connection((talkative.host, talkative.port)) for _ in range(2)]
    for one in idle:
        one.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())
    async with aiohttp.ClientSession(talkative.url) as session, asyncio.timeout(10):
        while await is_served(session):
            await asyncio.sleep(0)
        while not await is_served(session):
            await asyncio.sleep(0.05)
    for one in idle:
        one.close()


async def is_served(session: aiohttp.ClientSession) -> bool:
    async with session.get("/none") as response:
        return response.status == 404


async def test_who_takes_an_answer_slowly_gets_it_whole(talkative: RunningServer) -> None:
    reader, writer = await asyncio.open_connection(talkative.host, talkative.port, limit=1 << 16)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    taken, started = 0, time.monotonic()
    while chunk := await reader.read(1024 * 1024):
        taken += len(chunk)
        await asyncio.sleep(0.02)
    assert taken > ANSWER_BYTES
    assert time.monotonic() - started > 0.4
    writer.close()


async def _metrics(session: aiohttp.ClientSession, server: RunningServer) -> str:
    async with session.get(f"{server.url}/metrics") as response:
        return await response.text()


def test_the_c_parser_is_loaded() -> None:
    require_c_parser()


def test_the_python_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiohttp import http_parser  # noqa: PLC0415

    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C HTTP parser"):
        require_c_parser()
