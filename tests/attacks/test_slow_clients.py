"""Clients that take their time: each is cut, and nobody else waits."""

import asyncio
import re
import time
from typing import Final

from tests.attacks.attacked_estate import AttackedEstate, check_log_lines
from tests.attacks.operations import make_service
from tests.attacks.wire import send
from tests.support.eventually import eventually

BOUND_S: Final = 20.0
"""Ten seconds are granted; the rest is for a busy machine."""
STREAM_BYTES: Final = 16 * 1024 * 1024


async def seconds_until_cut(port: int, opening: bytes, dribble: bytes) -> float:
    """How long a client lives that sends an opening, and then byte by byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()

    async def feed() -> None:
        writer.write(opening)
        while dribble and not reader.at_eof():
            writer.write(dribble)
            await writer.drain()
            await asyncio.sleep(0.2)

    feeding = asyncio.create_task(feed())
    try:
        async with asyncio.timeout(BOUND_S):
            while await reader.read(1 << 16):
                pass
    except ConnectionError:
        pass
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        writer.transport.abort()
    return time.monotonic() - started


async def test_a_client_that_takes_its_time_is_cut(estate: AttackedEstate) -> None:
    authorization = estate.authorization("admin")["Authorization"].encode()
    post = (
        b"POST /v1/services HTTP/1.1\r\nHost: e\r\nAuthorization: " + authorization + b"\r\n"
        b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
    )
    chunked = (
        b"POST /v1/services HTTP/1.1\r\nHost: e\r\nAuthorization: " + authorization + b"\r\n"
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    attacks = [(b"", b""), (b"GET / HTTP/1.1\r\nX-A: ", b"a"), (post, b""), (post, b" ")]
    attacks.append((chunked, b"1\r\n \r\n"))
    ports = [estate.port("registry")] * len(attacks)
    took = asyncio.gather(
        *(seconds_until_cut(port, *attack) for port, attack in zip(ports, attacks, strict=True))
    )
    waited = []
    while not took.done():
        started = time.monotonic()
        assert (await estate.ask("registry", "GET", "/v1/log")).status == 200
        waited.append(time.monotonic() - started)
        await asyncio.sleep(0.1)
    assert max(await took) < BOUND_S
    assert sorted(waited)[len(waited) // 2] < 1.0


async def test_a_client_that_leaves_in_the_middle_is_no_fault_of_ours(
    estate: AttackedEstate,
) -> None:
    authorization = estate.authorization("admin")["Authorization"].encode()
    opening = b" HTTP/1.1\r\nHost: e\r\nAuthorization: " + authorization + b"\r\n"
    post = b"POST /v1/services" + opening + b"Content-Type: application/json\r\n"
    for raw in (
        post + b"Content-Length: 5000\r\n\r\n{",
        post + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        post + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
        b"GET /v1/services" + opening + b"\r\n",
    ):
        answer = await send(estate.port("registry"), raw, wait_s=0.1)
        assert answer.status < 500
    process = estate.local.services["registry"]

    async def is_over() -> bool:
        return await under_way(estate, "registry") == 1

    await eventually(is_over)
    check_log_lines(process.log_path.read_bytes(), estate.canaries)


async def test_a_stream_that_nobody_reads_is_cut_and_others_go_on(estate: AttackedEstate) -> None:
    await fill(estate)
    authorization = estate.authorization("operator")["Authorization"].encode()
    raw = b"GET /v1/changes/stream HTTP/1.1\r\nHost: e\r\nAuthorization: " + authorization
    port = estate.port("notifications")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
    writer.write(raw + b"\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"text/event-stream" in head

    async def is_streaming() -> bool:
        return await under_way(estate, "notifications") > 1

    await eventually(is_streaming)
    async with asyncio.timeout(3 * BOUND_S):
        while await is_streaming():
            others = await estate.ask("notifications", "GET", "/v1/changes?limit=1")
            assert others.status == 200
            await asyncio.sleep(0.2)
    writer.transport.abort()


async def under_way(estate: AttackedEstate, service: str) -> int:
    """How many requests a service is at, this question among them."""
    metrics = (await estate.ask(service, "GET", "/metrics")).body.decode()
    found = re.search(r"^estate_http_requests_in_flight\S* (\d+)", metrics, re.MULTILINE)
    assert found is not None
    return int(found[1])


async def fill(estate: AttackedEstate) -> None:
    """Write more than the buffers of a connection hold."""
    service = (await make_service(estate, "a")).service
    size, number = 0, 0
    while size < STREAM_BYTES:
        events = [
            {
                "specversion": "1.0",
                "id": f"fill-{service}-{number + index}",
                "source": "slow",
                "type": "estate.service.change_details.v1",
                "subject": service,
                "data": {"description": f"{number + index} {'x' * 4_900}"},
            }
            for index in range(500)
        ]
        answer = await estate.ask("registry", "POST", "/v1/submissions", as_="a", body=events)
        assert answer.status == 200
        number, size = number + 500, size + 500 * 4_900
    position = (await estate.heads())["registry"]
    query = {"after": f"registry:{position - 1}", "log": "registry", "wait_s": "30"}
    seen = await estate.ask("notifications", "GET", "/v1/changes", query=query)
    assert seen.document["items"]
