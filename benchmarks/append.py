"""How fast commands become durable events, beside a plain COPY of the same rows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from benchmarks.estate_data import STATELESS, Estate, events_of, pending
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.servers import Bench, connected, connecting
from shared.audit.audit import audit_log
from shared.clock import SystemClock, new_id
from shared.database.provision import DatabaseAccess
from shared.eventstore.types import PendingCommand
from shared.eventstore.writer import BatchDone, LogWriter, WriterLimits

_PLAIN: Final = "CREATE TABLE plain (LIKE log.events INCLUDING ALL)"
_PLACES: Final = """
SELECT count(*), min(position), max(position), count(DISTINCT position) FROM log.events
"""
_COMMANDS: Final = """
SELECT count(*), sum(last_position - first_position + 1),
    count(*) FILTER (WHERE first_position < before)
FROM (
    SELECT first_position, last_position,
        lag(last_position) OVER (PARTITION BY start / $1 % $2 ORDER BY start) AS before
    FROM (
        SELECT first_position, last_position, split_part(key, ':', 2)::bigint AS start
        FROM log.commands WHERE key LIKE 'bench:%'
    ) AS sent
) AS ordered
"""
_WAITING: Final = 2_000


@dataclass(slots=True)
class Appended:
    """What one round wrote: where, in which commits, how fast."""

    access: DatabaseAccess
    commits: list[int] = field(default_factory=list)
    rate: float = 0.0


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    for events_each in (1, 20):
        line = await _measure(bench, report, size, events_each)
        report.lines.append(line)
    report.notes.append(
        "Both sides commit durably. Ours also decides, seals (two hashes an event), grows the "
        "tree, looks every command's key up and writes it; COPY gets finished rows."
    )
    return report


async def _measure(bench: Bench, report: Report, size: int, events_each: int) -> Line:
    written: list[Appended] = []

    async def ours() -> float:
        appended = await append_all(bench, commands_of(size, events_each))
        await check_log(report, appended.access, size, events_each)
        written.append(appended)
        return appended.rate

    async def plain() -> float:
        source = written[-1] if written else await append_all(bench, commands_of(size, events_each))
        return await _copy(source)

    ours_values, plain_values = await interleaved((ours, plain), bench.rounds)
    for appended in written:
        await bench.drop(appended.access)
    return Line(
        f"{events_each} event{'s' if events_each > 1 else ''} a command",
        Series(ours_values, "events/s"),
        Series(plain_values, "events/s"),
        "plain COPY, same rows, indexes and commits",
        (Bar("ratio", ">=", 0.5),),
    )


def commands_of(size: int, events_each: int) -> list[PendingCommand]:
    """The events of an estate as commands of so many events each."""
    events = list(events_of(Estate(size, max(1, size // 9))))
    return [
        pending(f"bench:{start}", tuple(events[start : start + events_each]))
        for start in range(0, size, events_each)
    ]


async def append_all(
    bench: Bench, commands: Sequence[PendingCommand], *, limits: WriterLimits | None = None
) -> Appended:
    """Submit commands in order to a LogWriter over an empty log, with its queue never empty."""
    appended = Appended(await bench.new_log())
    ends = [0]

    def note(done: BatchDone) -> None:
        ends.append(done.position)

    writer = make_writer(appended.access.app_dsn, note, limits)
    await writer.start()
    try:
        started = time.perf_counter()
        await _submit_all(writer, commands)
        spent_s = time.perf_counter() - started
    finally:
        await writer.stop()
    appended.rate = ends[-1] / spent_s
    appended.commits = [end - start for start, end in pairwise(ends)]
    return appended


def make_writer(
    dsn: str,
    on_batch: Callable[[BatchDone], None],
    limits: WriterLimits | None = None,
    categories: Any = STATELESS,
) -> LogWriter:
    """A writer as a service makes one."""
    connect = connecting(dsn)
    return LogWriter(connect, categories, SystemClock(), new_id, limits=limits, on_batch=on_batch)


async def _submit_all(writer: LogWriter, commands: Sequence[PendingCommand]) -> None:
    answers: list[asyncio.Future[Any]] = []
    for command in commands:
        answers.append(writer.enqueue(command))
        if writer.depth >= _WAITING:
            await answers[-_WAITING // 2]
    await asyncio.gather(*answers)


async def _copy(source: Appended) -> float:
    """COPY the same rows in the same commits into a table with the same indexes."""
    async with connected(source.access.owner_dsn) as connection:
        await connection.execute("DROP TABLE IF EXISTS plain")
        await connection.execute(_PLAIN)
        rows = await connection.fetch("SELECT * FROM log.events ORDER BY position")
        columns, records = list(rows[0].keys()), [tuple(row) for row in rows]
        started, at = time.perf_counter(), 0
        for count in source.commits:
            async with connection.transaction():
                await connection.copy_records_to_table(
                    "plain", columns=columns, records=records[at : at + count]
                )
            at += count
        return at / (time.perf_counter() - started)


async def check_log(
    report: Report, access: DatabaseAccess, size: int, events_each: int, writers: int = 1
) -> None:
    """Check that the log is what so many writers, who took the commands in turns, have sent."""
    async with connected(access.app_dsn) as connection:
        places = tuple(await connection.fetchrow(_PLACES) or ())
        commands = tuple(await connection.fetchrow(_COMMANDS, events_each, writers) or ())
    report.check(places == (size, 1, size, size), "positions are 1..N, none lost or doubled")
    count, events, moved = commands
    report.check((count, events) == (-(-size // events_each), size), "every command is in the log")
    report.check(moved == 0, "the commands of each writer are in the order of their submission")
    audited = await audit_log(access.app_dsn)
    report.check(audited.first_fault is None, "every log verifies: hashes, tree, versions, columns")
