"""Owns docs/benchmarks.md: made from the kept results, never by hand.

Must not measure.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_INTRODUCTION: Final = """# Benchmarks

Each number stands beside a raw limit or a peer that was measured in the same run, on the same
servers, in turns (A B, B A, A B). Shown are the median of the rounds and, in brackets, the lowest
and the highest. Each benchmark also checks its result: one that loses, doubles or reorders
anything has no speed. A bar is what was asked for beforehand; one that is missed stays here.

    make bench                  # all of them
    make bench NAME=append      # one
    python -m benchmarks append --size 100000 --json FILE --write-docs

This page is made from `benchmarks/results.json`.
"""


def write_page(results: Mapping[str, Any]) -> None:
    """Write the page."""
    PAGE.write_text("\n".join(_page(results)) + "\n")


def _page(results: Mapping[str, Any]) -> Iterator[str]:
    yield _INTRODUCTION
    yield from _machines(results)
    yield "\n## Results\n"
    yield "| benchmark | measured | ours | beside it | ratio | bar |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, result in results.items():
        for index, line in enumerate(result["lines"]):
            yield _row(f"[{name}](#{name})" if index == 0 else "", line)
    for name, result in results.items():
        yield from _section(name, result)


def _machines(results: Mapping[str, Any]) -> Iterator[str]:
    yield "## Measured on\n"
    seen: list[Any] = []
    for result in results.values():
        if result["machine"] not in seen:
            seen.append(result["machine"])
    for machine in seen:
        packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
        yield (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['system']}; Python {machine['python']}, PostgreSQL {machine['postgres']}, "
            f"Apache Kafka {machine['kafka']}; {packages}. Servers, services and load share the "
            "cores."
        )


def _row(name: str, line: Mapping[str, Any]) -> str:
    against = line["against"]
    beside = "" if against is None else f"{_series(against)} ({line['against_what']})"
    ratio = "" if line["ratio"] is None else f"{line['ratio']['median']:.2f}"
    bars = "; ".join(
        f"{_escaped(bar['bar'])}: {'met' if bar['met'] else '**missed**'}" for bar in line["bars"]
    )
    return f"| {name} | {line['what']} | {_series(line['ours'])} | {beside} | {ratio} | {bars} |"


def _series(series: Mapping[str, Any]) -> str:
    numbers = (_number(series[one]) for one in ("median", "min", "max"))
    median, low, high = numbers
    spread = "" if len(series["rounds"]) == 1 else f" ({low}-{high})"
    return f"{median}{spread} {series['unit']}"


def _number(value: float) -> str:
    if value >= 100:  # noqa: PLR2004 - three digits that mean something.
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _escaped(text: str) -> str:
    return text.replace(">=", "≥").replace("<=", "≤")


def _section(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## {name}\n"
    yield (
        f"`{result['command']}`, {result['rounds']} rounds, {result['took_s']} s, load average "
        f"{result['load_average_before']} before and {result['load_average_after']} after, "
        f"{result['measured_at'][:10]}."
    )
    for note in result["notes"]:
        yield f"\n{note}"
    yield "\nChecked:\n"
    for check in result["checks"]:
        yield f"- {check}"
