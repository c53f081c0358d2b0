"""Owns the fault runs: `python -m tests.faults.run --trials N --seed S [--only NAME]`.

Must go on where an earlier run stopped, and must end with 1 unless each trial's last result is
that its fault came about and nothing was found.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.observability.logs import configure_logging
from tests.faults.results import (
    Result,
    append_result,
    last_of_each,
    read_results,
    table,
    write_table,
)
from tests.faults.running import Trial, run_trial
from tests.faults.trials import FAULTS, brokers_for
from tests.faults.world import World, running_world

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "faults.md"
KEPT: Final = Path(__file__).with_name("results.jsonl")
_TRIALS_AN_ESTATE: Final = 30


def main(arguments: list[str]) -> int:
    """Run what is missing, print the table."""
    asked = _parser().parse_args(arguments)
    configure_logging("faults", "CRITICAL")
    trials = list(_missing(asked))
    if trials and not asked.table:
        asyncio.run(_run_all(trials, asked))
    results = read_results(asked.results)
    text = table(results, FAULTS)
    sys.stdout.write(text + "\n")
    if asked.write_docs:
        write_table(PAGE, text)
    return 0 if all(result.is_good for result in last_of_each(results)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults", description="Hurt a whole estate under load.")
    parser.add_argument("--trials", type=int, default=5, help="trials of each fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="part of a fault's name")
    parser.add_argument("--whole-every", type=int, default=5, help="replays after every n-th trial")
    parser.add_argument("--results", type=Path, default=KEPT)
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs")
    parser.add_argument("--table", action="store_true", help="run nothing")
    return parser


def _missing(asked: argparse.Namespace) -> Iterator[Trial]:
    """Trials without a good result, each fault once before any comes again."""
    done = {r.identity for r in last_of_each(read_results(asked.results)) if r.is_good}
    wanted = [f for f in FAULTS if not asked.only or any(part in f for part in asked.only)]
    for number in range(asked.trials):
        for fault in wanted:
            if (asked.seed, fault, number) not in done:
                yield Trial(asked.seed, fault, number)


async def _run_all(trials: list[Trial], asked: argparse.Namespace) -> None:
    """Run on one estate after another: each serves some trials, or until one finds a fault."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("starting", total=len(trials))
        waiting = sorted(trials, key=_brokers)
        while waiting:
            brokers = _brokers(waiting[0])
            served = [t for t in waiting if _brokers(t) == brokers][:_TRIALS_AN_ESTATE]
            folder = Path(tempfile.mkdtemp(prefix="estate-faults-"))
            async with AsyncExitStack() as stack:
                world = await stack.enter_async_context(running_world(folder, brokers=brokers))
                for count, trial in enumerate(served, 1):
                    waiting.remove(trial)
                    progress.update(bar, description=f"{trial.fault} {trial.number}")
                    quick = count < len(served) and count % asked.whole_every != 0
                    result = await _one(world, trial, quick=quick)
                    append_result(asked.results, result)
                    progress.advance(bar)
                    progress.console.print(_said(result))
                    if not result.ok:
                        break
            if result.ok:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                progress.console.print(f"[bold]kept for a look: {folder}[/]")


def _brokers(trial: Trial) -> int:
    return brokers_for(trial.fault)


async def _one(world: World, trial: Trial, *, quick: bool) -> Result:
    return await run_trial(world, trial, quick=quick)


def _said(result: Result) -> str:
    state = "VIOLATED" if not result.ok else "not reached" if result.not_reached else "ok"
    line = (
        f"{state:11} {result.fault} {result.trial}: {result.accepted} accepted, "
        f"{result.refused} refused, healthy after {result.healthy_s:.1f} s  {result.detail}"
    )
    return "\n    ".join([line, *result.violations[:5]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
