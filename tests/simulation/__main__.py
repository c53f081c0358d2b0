"""Owns the command line: `python -m tests.simulation --seeds 1000`, or `--seed N` for one again.

Must end with 1 when any seed found a violation.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.observability.logs import configure_logging
from tests.simulation.run import Result, simulate


def main(arguments: Sequence[str]) -> int:
    """Run one seed with its trace, or many with a summary."""
    asked = _parser().parse_args(arguments)
    configure_logging("simulation", "CRITICAL")
    if asked.seed is not None:
        return _one(asked.seed)
    return _many(range(asked.first, asked.first + asked.seeds), asked.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one and print everything that happens")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


def _one(seed: int) -> int:
    result = simulate(seed, keep_trace=True)
    lines = (*result.trace, f"trace {result.digest}", *_said(result))
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if result.violations else 0


def _many(seeds: range, jobs: int) -> int:
    started = time.monotonic()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    events = steps = failed = 0
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("simulating", total=len(seeds))
        for result in _results(seeds, jobs):
            progress.advance(bar)
            events, steps = events + result.events, steps + result.steps
            if result.violations:
                failed += 1
                progress.console.print("\n    ".join(_said(result)), markup=False)
    spent_s = time.monotonic() - started
    sys.stdout.write(
        f"{len(seeds)} seeds, {failed} with violations, {events} events, {steps} steps"
        f" in {spent_s:.1f} s\n"
    )
    return 1 if failed else 0


def _results(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    context = multiprocessing.get_context("spawn")
    begin = partial(configure_logging, "simulation", "CRITICAL")
    with context.Pool(jobs, begin) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=5)


def _said(result: Result) -> list[str]:
    if not result.violations:
        return [f"seed {result.seed}: nothing is violated, {result.events} events"]
    again = f"python -m tests.simulation --seed {result.seed}"
    return [f"seed {result.seed} VIOLATED, again by: {again}", *result.violations[:5]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
