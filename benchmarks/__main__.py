"""`python -m benchmarks [NAME ...]`: measure, and keep the record.

Must not measure by itself; each benchmark is a module of its own.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from benchmarks.document import write_page
from benchmarks.machine import commit, describe, load_average
from benchmarks.measuring import ROUNDS, Report, verdict
from benchmarks.servers import Bench
from deploy.local.launcher import backing_services
from shared.service.heap import tune_heap

RECORD: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: its module, how large it is unless told otherwise."""

    module: str
    size: int
    what: str


BENCHMARKS: Final = {
    "append": Benchmark("append", 50_000, "commands into the log"),
    "append-peer": Benchmark("append_peer", 20_000, "the same beside another event store"),
    "http": Benchmark("http_commands", 20, "commands over HTTP (size: seconds a round)"),
    "intake": Benchmark("intake", 50_000, "submissions from Kafka"),
    "relay": Benchmark("relay", 200_000, "the log to its topic"),
    "rebuild": Benchmark("rebuild", 1_000_000, "a read model made anew"),
    "visible": Benchmark("visible", 2_000, "until another service shows it (size: commands)"),
    "reads": Benchmark("reads", 100_000, "questions over HTTP (size: services)"),
    "verify": Benchmark("verify", 1_000_000, "the whole log verified"),
    "memory": Benchmark("memory", 1_000_000, "what processes hold"),
    "choices": Benchmark("choices", 8, "event loop, JSON, HTTP parser (size: seconds a load)"),
}


def main() -> None:
    arguments = _arguments()
    logging.getLogger().setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    failed = asyncio.run(_run_all(arguments))
    if arguments.write_docs:
        write_page(orjson.loads(RECORD.read_bytes()))
    sys.exit(1 if failed else 0)


def _arguments() -> argparse.Namespace:
    names = "\n".join(f"  {name:12} {one.what}" for name, one in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog=f"benchmarks:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--size", type=int, help="instead of each benchmark's own")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, default=RECORD, help="where results are kept")
    parser.add_argument("--write-docs", action="store_true", help="make the page of the record")
    parser.add_argument("--docs-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if arguments.write_docs and arguments.json.resolve() != RECORD.resolve():
        parser.error("--write-docs makes the page of the record alone; leave --json out")
    return arguments


async def _run_all(arguments: argparse.Namespace) -> list[str]:
    if arguments.docs_only:
        return []
    failed = []
    with tempfile.TemporaryDirectory(prefix="estate-bench-", ignore_cleanup_errors=True) as folder:
        async with backing_services(Path(folder)) as backing:
            machine = await describe(backing.postgres_dsn)
            bench = Bench(backing, Path(folder), arguments.rounds, _say)
            for name in arguments.names or BENCHMARKS:
                try:
                    result = await _run(bench, name, arguments.size)
                except Exception:  # noqa: BLE001 - the others can still be measured.
                    traceback.print_exc()
                    failed.append(name)
                    continue
                _keep(arguments.json, name, {**result, "machine": machine})
    return failed


async def _run(bench: Bench, name: str, size: int | None) -> dict[str, Any]:
    benchmark = BENCHMARKS[name]
    chosen = size or benchmark.size
    measure: Callable[[Bench, int], Awaitable[Report]]
    measure = import_module(f"benchmarks.{benchmark.module}").run
    before, measured = load_average(), commit()
    started = datetime.now(UTC)
    tune_heap()  # As services do; part of what is measured runs in this process.
    _say(f"{name}: size {chosen:,}, {bench.rounds} rounds, load average {before}")
    report = await measure(bench, chosen)
    _show(report)
    return {
        "what": benchmark.what,
        "size": chosen,
        "commit": measured,
        "command": f"python -m benchmarks {name} --size {chosen}",
        "measured_at": started.isoformat(timespec="seconds"),
        "took_s": round((datetime.now(UTC) - started).total_seconds()),
        "load_average_before": before,
        "load_average_after": load_average(),
        **report.document(),
    }


def _keep(path: Path, name: str, result: dict[str, Any]) -> None:
    """Put one result in place of the last one of its name."""
    kept = orjson.loads(path.read_bytes()) if path.exists() else {}
    kept[name] = result
    ordered = {one: kept[one] for one in BENCHMARKS if one in kept}
    path.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2) + b"\n")


def _show(report: Report) -> None:
    for line in report.lines:
        ours = line.ours
        text = f"  {line.what}: {ours.median:,.4g} {ours.unit} ({ours.low:,.4g}-{ours.high:,.4g})"
        if line.against is not None and line.ratio is not None:
            text += f"; {line.against_what}: {line.against.median:,.4g}"
            text += f"; ratio {line.ratio.median:.2f}"
        rounds = len(line.ours.values)
        text += "".join(f"; {bar} {verdict(met, rounds).upper()}" for bar, met in line.judged())
        print(text, flush=True)
    for check in report.checks:
        print(f"  checked: {check}", flush=True)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
