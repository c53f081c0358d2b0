"""How much each process holds: at rest, under load, and when it has rebuilt a read model."""

import asyncio
import sys
from typing import Final

import aiohttp
import orjson

from benchmarks.estate_data import estate_of
from benchmarks.http_load import Load, apply_load, load_generator
from benchmarks.machine import peak_mib, resident_mib
from benchmarks.measuring import Bar, Line, Report, Series
from benchmarks.processes import Serving, run_program, serving
from benchmarks.servers import Bench
from cli.local_estate import SERVICES

_BARS: Final = (Bar("value", "<=", 200),)
_LOAD_S: Final = 15
_SETTLED_S: Final = 600.0


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    estate = estate_of(size)
    databases = {
        name: await (bench.filled_log(estate) if name == "registry" else bench.new_log(name))
        for name in SERVICES
    }
    async with serving(bench, databases) as running:
        await _caught_up(running, size)
        rest = {name: resident_mib(running.pid(name)) for name in SERVICES}
        load = Load(
            running.url("registry"), running.admin_key, "memory", estate.services, estate.seed
        )
        answered = await apply_load(load, _LOAD_S)
        report.check(answered.refused == answered.broken == 0, "every command was accepted")
        peak = {name: peak_mib(running.pid(name)) for name in SERVICES}
    for name in SERVICES:
        report.lines.append(_line(f"{name}, having caught up", rest[name]))
        report.lines.append(_line(f"{name}, peak with catching up and load", peak[name]))
    program = (sys.executable, "-m", "benchmarks.rebuild_process", databases["registry"].app_dsn)
    out = await run_program(program, deadline_s=_SETTLED_S)
    rebuilt = orjson.loads(out.strip().splitlines()[-1])
    report.lines.append(_line("a process that rebuilds, peak", rebuilt["peak_mib"]))
    report.check(rebuilt["position"] >= size, "the rebuild read the whole log")
    report.notes.append(
        f"Resident memory by the kernel's account. The registry starts on a log of {size:,} "
        "events, publishes it and makes its read model of it; the other two read the whole topic "
        "into theirs. Then the registry alone is loaded, with commands over 64 connections for "
        f"{_LOAD_S} s; the others get no requests, only the events of these commands. Load by "
        f"{await load_generator()}. The process that rebuilds is one more, beside a service."
    )
    return report


def _line(what: str, mib: float) -> Line:
    return Line(what, Series((mib,), "MiB"), bars=_BARS)


async def _caught_up(running: Serving, size: int) -> None:
    """Wait until every service's own answers reflect the whole log of the registry."""
    headers = {"Authorization": f"Bearer {running.admin_key}"}
    questions = {
        "registry": "/v1/services?limit=1",
        "dependencies": "/v1/dependencies?limit=1",
        "notifications": "/v1/changes?limit=1",
    }
    async with asyncio.timeout(_SETTLED_S), aiohttp.ClientSession(headers=headers) as session:
        for name, path in questions.items():
            while await _position(session, running.url(name) + path) < size:
                await asyncio.sleep(0.25)


async def _position(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as response:
        if not response.ok:
            return 0
        answer = await response.json()
    positions = dict(one.split(":") for one in answer["positions"].split(",") if ":" in one)
    return int(positions.get("registry", 0))
