"""How fast single commands over HTTP become durable, beside a handler that only validates them."""

from typing import Final

from benchmarks.estate_data import Estate
from benchmarks.http_load import CONNECTIONS, Answered, Load, apply_load, load_generator
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import Serving, module_running, serving
from benchmarks.servers import Bench, connected
from shared.audit.audit import audit_log
from shared.database.provision import DatabaseAccess

SERVICES: Final = Estate(1_100, 1_000)
_MADE: Final = """
SELECT count(*), count(*) FILTER (WHERE first_position = last_position),
    count(DISTINCT first_position), (SELECT position FROM log.head) - $1
FROM log.commands WHERE key LIKE 'http:%'
"""
_NUMBERED: Final = """
SELECT count(*) AS made, min(number) AS first,
    coalesce(max(number) - min(number) FILTER (WHERE following > number + 1), 0) AS gap_before_end
FROM (
    SELECT number, lead(number) OVER (ORDER BY number) AS following
    FROM (
        SELECT substring(key FROM '[0-9]+$')::bigint AS number
        FROM log.commands WHERE key LIKE 'http:%:' || $1 || '-%'
    ) AS sent
) AS ordered
"""
_LAST_SENT: Final = 1_000
_WARM_S: Final = 2


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    access = await bench.filled_log(SERVICES)
    loads: list[Answered] = []
    bare_loads: list[Answered] = []
    async with (
        serving(bench, {"registry": access}) as estate,
        module_running("benchmarks.bare_handler") as bare_url,
    ):
        url = estate.url("registry")

        async def ours(duration_s: int = size) -> float:
            load = _load(url, estate, f"load{len(loads)}", _next_number(loads))
            loads.append(await apply_load(load, duration_s))
            return loads[-1].rate

        async def bare() -> float:
            bare_loads.append(await apply_load(_load(bare_url, estate, "bare", 1), size))
            return bare_loads[-1].rate

        await ours(_WARM_S)
        ours_values, bare_values = await interleaved((ours, bare), bench.rounds)
    await _check(report, access, loads)
    found = {"ours": loads[1:], "bare": bare_loads}
    report.lines += _lines(found, ours_values, bare_values)
    report.notes.append(
        "64 connections, one command at a time on each, each with a key of its own; the "
        f"load, by {await load_generator()}, runs beside both. The bare handler runs on asyncio's "
        "own event loop, as the services do; `choices` has another beside it. The registry checks "
        "the credential, reads the JSON strictly, decides, commits durably, logs the request, and "
        "meanwhile publishes and projects what it committed."
    )
    return report


def _load(url: str, estate: Serving, label: str, first: int) -> Load:
    return Load(url, estate.admin_key, label, SERVICES.services, SERVICES.seed, first)


def _next_number(before: list[Answered]) -> int:
    """Behind the numbers of these loads, so that every command says something new.

    Each may have sent one more for each connection, and wrk makes one that it does not send.
    """
    return 1 + sum(one.requests + CONNECTIONS + 1 for one in before)


def _lines(
    found: dict[str, list[Answered]], ours: tuple[float, ...], bare: tuple[float, ...]
) -> list[Line]:
    name = "bare aiohttp handler"
    bars = (Bar("ratio", ">=", 0.35), Bar("value", ">=", 6_000))
    lines = [Line("rate", Series(ours, "commands/s"), Series(bare, "requests/s"), name, bars)]
    for what, attribute, limits in (
        ("p50", "p50_ms", ()),
        ("p99", "p99_ms", (Bar("value", "<=", 30),)),
    ):
        sides = [
            Series(tuple(getattr(one, attribute) for one in found[side]), "ms")
            for side in ("ours", "bare")
        ]
        lines.append(Line(what, sides[0], sides[1], name, limits))
    return lines


async def _check(report: Report, access: DatabaseAccess, loads: list[Answered]) -> None:
    report.check(
        all(load.refused == load.broken == 0 for load in loads), "every command was accepted"
    )
    async with connected(access.app_dsn) as connection:
        row = await connection.fetchrow(_MADE, SERVICES.events)
        rounds = [
            await connection.fetchrow(_NUMBERED, f"load{number}") for number in range(len(loads))
        ]
    made, *same = tuple(row or ())
    report.check(
        same == [made] * 3, "each command made one event of its own, and the log has no other"
    )
    for number, (load, numbered) in enumerate(zip(loads, rounds, strict=True)):
        _check_load(report, load, dict(numbered or {}), _next_number(loads[:number]))
    audited = await audit_log(access.app_dsn)
    report.check(audited.first_fault is None, "the log verifies")


def _check_load(report: Report, load: Answered, numbered: dict[str, int], first: int) -> None:
    # A load that ends leaves at most one command under way on each connection.
    under_way = numbered["made"] - load.requests
    report.check(
        0 <= under_way <= CONNECTIONS,
        "the log has as many commands as were acknowledged, and at most one more for each "
        "connection, which was cut while it waited",
    )
    report.check(
        numbered["first"] <= first + 1 and numbered["gap_before_end"] < _LAST_SENT,
        "commands are numbered as they are sent, and no number is missing in the log but, for one "
        f"that was cut, among the last {_LAST_SENT:,} of a load",
    )
