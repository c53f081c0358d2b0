"""Owns what a measurement is: series of rounds, lines with a bar, what was checked meanwhile.

Must not measure anything itself.
"""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Series:
    """One number for each round."""

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def document(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "min": self.low,
            "max": self.high,
            "rounds": list(self.values),
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Bar:
    """What a line should reach: its ratio or its value, at least or at most."""

    of: Literal["ratio", "value"]
    kind: Literal[">=", "<="]
    limit: float

    def is_met(self, found: float) -> bool:
        return found >= self.limit if self.kind == ">=" else found <= self.limit

    def __str__(self) -> str:
        return f"{self.of} {self.kind} {self.limit:,g}"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: ours, and what it is held against, from the same rounds.

    A ratio is always ours / against, round by round. Where the line is about a choice, `chosen`
    says what was chosen and why.
    """

    what: str
    ours: Series
    against: Series | None = None
    against_what: str = ""
    bars: tuple[Bar, ...] = ()
    chosen: str = ""

    @property
    def ratio(self) -> Series | None:
        if self.against is None:
            return None
        pairs = zip(self.ours.values, self.against.values, strict=True)
        return Series(tuple(ours / other for ours, other in pairs), "x")

    def judged(self) -> list[tuple[Bar, int]]:
        """Each bar with how many of the rounds reach it."""
        found = {"value": self.ours}
        if self.ratio is not None:
            found["ratio"] = self.ratio
        return [(bar, sum(map(bar.is_met, found[bar.of].values))) for bar in self.bars]

    def document(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "ours": self.ours.document(),
            "against": None if self.against is None else self.against.document(),
            "against_what": self.against_what,
            "ratio": None if self.ratio is None else self.ratio.document(),
            "bars": [{"bar": str(bar), "met_rounds": met} for bar, met in self.judged()],
            "chosen": self.chosen,
        }


@dataclass(slots=True)
class Report:
    """What one benchmark found: its lines, and the checks that all of them passed."""

    lines: list[Line] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        """Note what was checked, once for all rounds.

        Raises: WrongResultError, since a wrong result has no speed.
        """
        if not holds:
            raise WrongResultError(what)
        if what not in self.checks:
            self.checks.append(what)

    def document(self) -> dict[str, Any]:
        return {
            "lines": [line.document() for line in self.lines],
            "checks": self.checks,
            "notes": self.notes,
        }


class WrongResultError(Exception):
    """Something was lost, doubled, reordered or changed while it was measured."""


Side = Callable[[], Awaitable[float]]
"""Runs once and returns its number."""


async def interleaved(sides: Sequence[Side], rounds: int) -> list[tuple[float, ...]]:
    """Run the sides in turn, the order reversed each round; return each side's numbers."""
    found: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        order = list(range(len(sides)))
        for index in order if number % 2 == 0 else reversed(order):
            found[index].append(await sides[index]())
    return [tuple(values) for values in found]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def verdict(met_rounds: int, rounds: int) -> str:
    """Whether a bar is reached: by every round, by none, or by some."""
    if met_rounds == rounds:
        return "met"
    return "missed" if not met_rounds else f"met in {met_rounds} of {rounds} rounds"
