"""How fast events become durable beside the recorder of `eventsourcing`, on the same Postgres."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from benchmarks.append import check_log, commands_of, make_writer
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import ROOT, run_program, uv_program
from benchmarks.servers import Bench, connected
from shared.eventstore.types import PendingCommand
from shared.eventstore.writer import LogWriter

PEER: Final = ("eventsourcing[postgres]==9.5.6", "psycopg[binary]==3.3.4", "psycopg_pool==3.3.3")
_PEER_STORED: Final = """
SELECT count(*), count(DISTINCT notification_id),
    count(DISTINCT (originator_id, originator_version))
FROM bench_events
"""


async def run(bench: Bench, size: int) -> Report:
    report, versions = Report(), dict[str, str]()
    for events_each in (1, 100):
        for writers in (1, 16):
            few = size // 5 if events_each == 1 else size
            report.lines.append(await _measure(bench, report, versions, few, events_each, writers))
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    report.notes.append(
        f"The peer is eventsourcing, in an environment of its own: {named}. Its "
        "PostgresApplicationRecorder is as its factory makes it, in one process with so many "
        "threads; it stores the events' data alone, made into "
        "bytes beforehand. Ours is one LogWriter with so many callers, each waiting for its "
        "answer before it sends again; it decides, seals and hashes too. One command is one "
        "transaction of the peer."
    )
    return report


async def _measure(
    bench: Bench,
    report: Report,
    versions: dict[str, str],
    size: int,
    events_each: int,
    writers: int,
) -> Line:
    async def ours() -> float:
        return await _ours(bench, report, size, events_each, writers)

    async def peer() -> float:
        result = await _peer(bench, report, size, events_each, writers)
        versions.update(result["versions"])
        return float(result["rate"])

    ours_values, peer_values = await interleaved((ours, peer), bench.rounds)
    limit = 1.0 if writers == events_each == 1 else 3.0
    return Line(
        f"{events_each} event{'s' if events_each > 1 else ''} a command, "
        f"{writers} writer{'s' if writers > 1 else ''}",
        Series(ours_values, "events/s"),
        Series(peer_values, "events/s"),
        "eventsourcing 9.5.6",
        (Bar("ratio", ">=", limit),),
    )


async def _ours(bench: Bench, report: Report, size: int, events_each: int, writers: int) -> float:
    access = await bench.new_log()
    commands = commands_of(size, events_each)
    writer = make_writer(access.app_dsn, lambda _done: None)
    await writer.start()
    try:
        started = time.perf_counter()
        await asyncio.gather(*(_send(writer, commands[n::writers]) for n in range(writers)))
        rate = size / (time.perf_counter() - started)
    finally:
        await writer.stop()
    await check_log(report, access, size, events_each, writers)
    await bench.drop(access)
    return rate


async def _send(writer: LogWriter, commands: Sequence[PendingCommand]) -> None:
    for command in commands:
        await writer.submit(command)


async def _peer(
    bench: Bench, report: Report, size: int, events_each: int, writers: int
) -> dict[str, Any]:
    access = await bench.new_log()
    wanted = [part for package in PEER for part in ("--with", package)]
    script = str(ROOT / "benchmarks" / "peer_recorder.py")
    told = (access.owner_dsn, str(size), str(events_each), str(writers))
    out = await run_program(
        (uv_program(), "run", "--no-project", "--quiet", *wanted, "python", script, *told)
    )
    result: dict[str, Any] = orjson.loads(out)
    async with connected(access.owner_dsn) as connection:
        stored = tuple(await connection.fetchrow(_PEER_STORED) or ())
    report.check(
        stored == (size, size, size),
        "the peer has stored every event, each at a place of its own in all and in its sequence",
    )
    await bench.drop(access)
    return result
