"""Owns loading an address with phase changes over many connections: by wrk, else by this module.

Must run beside what it loads as a process of its own.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from benchmarks.measuring import percentile
from benchmarks.processes import find_program, run_program

_PHASES: Final = ("alpha", "beta", "live")
SCRIPT: Final = Path(__file__).with_name("load_commands.lua")
CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: to whom, under which label of its keys, about which services.

    Commands are numbered from `first` on in the order in which they are sent; a load that goes on
    behind the numbers of another changes what that one left.
    """

    url: str
    bearer: str
    label: str
    services: int
    seed: int
    first: int = 1
    connections: int = CONNECTIONS


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back; requests under way at the end are not counted."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        return self.requests / self.duration_s


async def apply_load(load: Load, duration_s: int) -> Answered:
    """Keep so many connections busy for so long."""
    wrk = find_program("wrk")
    told = (load.bearer, load.label, str(load.services), str(load.seed), str(load.first))
    if wrk is None:
        program = (sys.executable, "-m", "benchmarks.http_load", load.url, str(duration_s))
        out = await run_program((*program, str(load.connections), *told))
    else:
        options = ("-t1", f"-c{load.connections}", f"-d{duration_s}s", "--timeout", "10s")
        out = await run_program((wrk, *options, "-s", str(SCRIPT), load.url, "--", *told))
    found: dict[str, Any] = orjson.loads(out.strip().splitlines()[-1])
    return Answered(**found)


async def load_generator() -> str:
    """What `apply_load` loads with here."""
    wrk = find_program("wrk")
    if wrk is None:
        return "a client in Python, since wrk is not installed"
    # Saying its version counts as a failure, so it is not asked by `run_program`.
    process = await asyncio.create_subprocess_exec(wrk, "-v", stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    return told.decode().partition(" [")[0]


async def _client(load: Load, duration_s: float) -> dict[str, float]:
    address = urlsplit(load.url)
    numbers = iter(range(load.first, sys.maxsize))
    latencies: list[float] = []
    refused = 0
    ends = time.perf_counter() + duration_s

    async def connection() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        while time.perf_counter() < ends:
            began = time.perf_counter()
            writer.write(request_bytes(load, next(numbers)))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            latencies.append((time.perf_counter() - began) * 1000)
            refused += head[9:10] != b"2"
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(load.connections)))
    return {
        "requests": len(latencies),
        "duration_s": time.perf_counter() - started,
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "refused": refused,
        "broken": 0,
    }


def request_bytes(load: Load, number: int) -> bytes:
    """One command of a load, as the client in Python sends it."""
    service = f"svc_{load.seed:08x}{number % load.services:024x}"
    phase = _PHASES[number // load.services % 3]
    body = f'{{"phase":"{phase}","reason":"assessment met"}}'
    return (
        f"POST /v1/services/{service}/change-phase HTTP/1.1\r\nHost: bench\r\n"
        f"Authorization: Bearer {load.bearer}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {load.label}-0-{number}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _main(url: str, duration_s: str, connections: str, *told: str) -> None:
    bearer, label, services, seed, first = told
    load = Load(url, bearer, label, int(services), int(seed), int(first), int(connections))
    print(orjson.dumps(asyncio.run(_client(load, float(duration_s)))).decode())


if __name__ == "__main__":
    _main(*sys.argv[1:])
