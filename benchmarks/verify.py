"""How fast a whole log is verified, beside only reading its rows."""

import time

from benchmarks.estate_data import estate_of
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.servers import Bench, connected
from shared.audit.audit import audit_log
from shared.audit.postgres_source import open_snapshot

_TAMPER = """
UPDATE log.events SET body = overlay(body PLACING 'x'::bytea FROM 40 FOR 1) WHERE position = $1
"""
_SMALL = 30_000


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    access = await bench.filled_log(estate_of(size))

    async def ours() -> float:
        started = time.perf_counter()
        found = await audit_log(access.app_dsn)
        spent_s = time.perf_counter() - started
        report.check(found.first_fault is None, "a sound log has no fault")
        report.check(found.position == size, "every event was looked at")
        return size / spent_s

    async def raw() -> float:
        started = time.perf_counter()
        async with open_snapshot(access.app_dsn) as snapshot:
            async for _batch in snapshot.batches():
                pass
        return size / (time.perf_counter() - started)

    ours_values, raw_values = await interleaved((ours, raw), bench.rounds)
    report.lines.append(
        Line(
            "full verify, two processes",
            Series(ours_values, "events/s"),
            Series(raw_values, "events/s"),
            "COPY of the same rows, unread",
            (Bar("value", ">=", 100_000),),
        )
    )
    await _check_finds(bench, report)
    return report


async def _check_finds(bench: Bench, report: Report) -> None:
    access, position = await bench.filled_log(estate_of(_SMALL)), _SMALL // 3
    async with connected(access.owner_dsn) as connection:
        await connection.execute(_TAMPER, position)
    fault = (await audit_log(access.app_dsn)).first_fault
    is_found = fault is not None and fault.position == position
    report.check(is_found, "one changed byte in 30,000 events is found, at its position")
    await bench.drop(access)
