"""What was chosen by measurement: event loop, JSON and HTTP parser, each beside what else there is.

Must not be asked how fast the project is: each part is measured by itself.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import rfc8785
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from benchmarks.http_commands import SERVICES
from benchmarks.http_load import Load, apply_load, load_generator, request_bytes
from benchmarks.measuring import Line, Report, Series, Side, interleaved
from benchmarks.processes import ROOT, module_running, run_program, uv_program
from benchmarks.servers import Bench
from cli.demo.sources import read_plan
from shared.contracts.canonical import canonical_bytes
from shared.http.strict_json import BadJson, parse_json

UVLOOP: Final = "uvloop==0.23.0"
_READ_BYTES: Final = 2**16
_SPENT_S: Final = 0.5
_REQUESTS: Final = 1_000
# Each means something else to somebody else.
_AMBIGUOUS: Final = (b'{"a":1,"a":2}', b'{"a":1.10}')


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do something with one item."""

    name: str
    work: Callable[[Any], Any]


async def run(bench: Bench, size: int) -> Report:
    report = Report()
    bodies = _bodies()
    report.lines += [
        await _event_loop(bench, report, size),
        *await _reading(bench, report, bodies),
        *await _writing(bench, report, [orjson.loads(body) for body in bodies]),
        await _parsing(bench, report),
    ]
    report.notes.append(
        f"Bodies are the {len(bodies):,} submissions that the import makes of data/, as it sends "
        f"them. The bare handler is that of `http`, under the same load for {size} s, by "
        f"{await load_generator()}; {UVLOOP} is installed for this run alone."
    )
    return report


def _bodies() -> list[bytes]:
    plan = read_plan(ROOT / "data", None)
    rows = (*plan.repos.rows, *plan.docker.rows)
    submissions = (*plan.organisations, *(one for row in rows for one in row.submissions))
    return [orjson.dumps(one.to_cloudevent()) for one in submissions]


async def _event_loop(bench: Bench, report: Report, duration_s: int) -> Line:
    folder = str(bench.state_dir / "uvloop")
    target = ("--python", sys.executable, "--target", folder)
    await run_program((uv_program(), "pip", "install", "--quiet", *target, UVLOOP))
    handler = "benchmarks.bare_handler"
    async with module_running(handler) as plain, module_running(handler, folder) as other:
        sides = [_loaded(report, url, duration_s) for url in (plain, other)]
        ours, against = await interleaved(sides, bench.rounds)
    return Line(
        "event loop, a bare handler under load",
        Series(ours, "requests/s"),
        Series(against, "requests/s"),
        "uvloop",
        chosen="asyncio's: a command's time goes elsewhere (`http`), and it is one native "
        "dependency less",
    )


def _loaded(report: Report, url: str, duration_s: int) -> Side:
    async def loaded() -> float:
        answered = await apply_load(_load(url), duration_s)
        report.check(answered.refused == answered.broken == 0, "the handler answered every request")
        return answered.rate

    return loaded


def _load(url: str) -> Load:
    return Load(url, "made-up", "choice", SERVICES.services, SERVICES.seed)


async def _reading(bench: Bench, report: Report, bodies: Sequence[bytes]) -> list[Line]:
    strict = Way("the strict reader", parse_json)
    others = (Way("json.loads", json.loads), Way("orjson.loads", orjson.loads))
    same = all(parse_json(body) == orjson.loads(body) == json.loads(body) for body in bodies)
    report.check(same, "the three read the same values")
    report.check(
        all(map(_is_refused, _AMBIGUOUS))
        and all(o.work(raw) for o in others for raw in _AMBIGUOUS),
        "the strict reader alone refuses a repeated key and a fraction",
    )
    return await _compared(
        bench,
        "reading a request's body",
        (strict, *others),
        bodies,
        "the strict reader, at this price: what it takes means one thing to all who read it",
    )


def _is_refused(raw: bytes) -> bool:
    try:
        parse_json(raw)
    except BadJson:
        return True
    return False


async def _writing(bench: Bench, report: Report, trees: Sequence[Any]) -> list[Line]:
    ways = (
        Way("orjson, sorted keys", canonical_bytes),
        Way("json.dumps, sorted keys", _written_by_json),
        Way("rfc8785", rfc8785.dumps),
    )
    same = all(len({way.work(tree) for way in ways}) == 1 for tree in trees)
    report.check(same, "the three write the same bytes")
    return await _compared(
        bench,
        "writing the canonical form",
        ways,
        trees,
        "orjson: the bytes of RFC 8785 for what events may hold, written by native code",
    )


def _written_by_json(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


async def _parsing(bench: Bench, report: Report) -> Line:
    requests = [request_bytes(_load("http://bench"), number) for number in range(_REQUESTS)]
    native = Way("aiohttp's parser in C", _parser(HttpRequestParser))
    plain = Way("aiohttp's parser in Python", _parser(HttpRequestParserPy))
    same = all(_parsed(native, one) == _parsed(plain, one) for one in requests)
    report.check(same, "both parsers find the same method, path, headers and body")
    report.check(HttpRequestParser is not HttpRequestParserPy, "the parser in C is installed")
    (line,) = await _compared(
        bench,
        "parsing a request of HTTP",
        (native, plain),
        requests,
        "aiohttp's parser in C, its default: the same requests, found sooner",
    )
    return line


def _parser(kind: Any) -> Callable[[bytes], Any]:
    """A parser as one connection has it."""
    loop = asyncio.get_running_loop()
    work: Callable[[bytes], Any] = kind(BaseProtocol(loop), loop, _READ_BYTES).feed_data
    return work


def _parsed(way: Way, request: bytes) -> tuple[Any, ...]:
    ((message, payload),), *_ = way.work(request)
    return message.method, message.path, message.raw_headers, payload.read_nowait()


async def _compared(
    bench: Bench, what: str, ways: Sequence[Way], items: Sequence[Any], chosen: str
) -> list[Line]:
    """The first way, which is ours, beside each of the others."""
    ours, *others = await interleaved([_repeated(way, items) for way in ways], bench.rounds)
    return [
        Line(
            what,
            Series(ours, "a second"),
            Series(against, "a second"),
            way.name,
            chosen=chosen,
        )
        for way, against in zip(ways[1:], others, strict=True)
    ]


def _repeated(way: Way, items: Sequence[Any]) -> Side:
    async def repeated() -> float:
        count, started = 0, time.perf_counter()
        while (spent_s := time.perf_counter() - started) < _SPENT_S:
            for item in items:
                way.work(item)
            count += len(items)
        return count / spent_s

    return repeated
