"""How fast single commands over HTTP become durable, beside a handler that only validates them."""

from typing import Final

from benchmarks.estate_data import Estate
from benchmarks.http_load import Answered, Load, apply_load
from benchmarks.measuring import Bar, Line, Report, Series, interleaved
from benchmarks.processes import Serving, module_running, serving
from benchmarks.servers import Bench, connected
from shared.audit.audit import audit_log
from shared.database.provision import DatabaseAccess

SERVICES: Final = Estate(1_100, 1_000)
_MADE: Final = """
SELECT count(*), count(DISTINCT key), count(first_position) FROM log.commands
WHERE key LIKE 'http:%:round%'
"""


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    access = await bench.filled_log(SERVICES)
    found: dict[str, list[Answered]] = {"ours": [], "bare": []}
    async with (
        serving(bench, {"registry": access}) as estate,
        module_running("benchmarks.bare_handler") as bare_url,
    ):
        await apply_load(_load(estate.url("registry"), estate, "warm"), 2)

        async def ours() -> float:
            label = f"round{len(found['ours'])}"
            answered = await apply_load(_load(estate.url("registry"), estate, label), size)
            found["ours"].append(answered)
            return answered.rate

        async def bare() -> float:
            answered = await apply_load(_load(bare_url, estate, "bare"), size)
            found["bare"].append(answered)
            return answered.rate

        ours_values, bare_values = await interleaved((ours, bare), bench.rounds)
    await _check(report, access, found["ours"])
    report.lines += _lines(found, ours_values, bare_values)
    report.notes.append(
        "64 connections, one command at a time on each, each with a key of its own; the "
        "load runs beside both. The registry checks the credential, reads the JSON strictly, "
        "decides, commits durably, logs the request, and meanwhile publishes and projects what it "
        "committed."
    )
    return report


def _load(url: str, estate: Serving, label: str) -> Load:
    return Load(url, estate.admin_key, label, SERVICES.services, SERVICES.seed)


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


async def _check(report: Report, access: DatabaseAccess, answered: list[Answered]) -> None:
    report.check(
        all(one.refused == one.broken == 0 for one in answered), "every command was accepted"
    )
    async with connected(access.app_dsn) as connection:
        row = await connection.fetchrow(_MADE)
    made, keys, with_events = tuple(row or ())
    told = sum(one.requests for one in answered)
    report.check(made == keys, "no command took effect twice")
    # A load that ends leaves at most one command under way on each connection.
    report.check(told <= made <= told + 64 * len(answered), "every acknowledged command is there")
    # The first commands of a round may say what holds already.
    idle = SERVICES.services * len(answered)
    report.check(made - with_events <= idle, "each made its event")
    audited = await audit_log(access.app_dsn)
    report.check(audited.first_fault is None, "the log verifies")
