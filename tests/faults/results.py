"""Owns the results of trials: a line each in a file, and the table made of them.

Must not run a trial.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

BEGIN: Final = "<!-- measured: trials -->"
END: Final = "<!-- end of measured -->"
_SAID_CHARS: Final = 200
_COLUMNS: Final = (
    "Trials",
    "Acknowledged",
    "Lost",
    "Doubled",
    "Other",
    "Not reached",
    "Found before",
    "Longest time to healthy",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one trial, of which code, and whether models and trees were looked at too."""

    seed: int
    fault: str
    trial: int
    ok: bool
    lost: int
    doubled: int
    healthy_s: float
    accepted: int
    refused: int
    detail: str = ""
    violations: list[str] = field(default_factory=list)
    not_reached: bool = False
    commit: str = ""
    whole: bool | None = None

    @property
    def identity(self) -> tuple[int, str, int]:
        """What is the same when a trial is repeated."""
        return self.seed, self.fault, self.trial

    @property
    def is_good(self) -> bool:
        """Whether the fault came about and nothing was found; else the trial is due again."""
        return self.ok and not self.not_reached


def append_result(path: Path, result: Result) -> None:
    """Add a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(orjson.dumps(asdict(result)) + b"\n")


def read_results(path: Path) -> list[Result]:
    """All results so far."""
    if not path.exists():
        return []
    return [Result(**orjson.loads(line)) for line in path.read_bytes().splitlines()]


def last_of_each(results: Iterable[Result]) -> list[Result]:
    """The last result of each trial, which is how it stands."""
    return list({result.identity: result for result in results}.values())


def table(results: Iterable[Result], faults: Iterable[str]) -> str:
    """The results by fault, as Markdown; each finding is said below, also when it is no more."""
    by_fault: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_fault[result.fault].append(result)
    lines = [
        f"| Fault | {' | '.join(_COLUMNS)} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    lines += [_row(fault, by_fault[fault]) for fault in faults if by_fault[fault]]
    everything = [one for found in by_fault.values() for one in found]
    lines.append(_row("**all**", everything))
    return "\n".join([*lines, *_findings(everything)])


def _row(name: str, results: list[Result]) -> str:
    """One row: trials as they stand, how many await their fault, what was found before that."""
    last = last_of_each(results)
    found = [one for one in last if one.is_good or not one.ok]
    findings_before = sum(not one.ok for one in results) - sum(not one.ok for one in last)

    def total(member: str) -> int:
        return sum(getattr(one, member) for one in found)

    other = sum(not one.ok and not one.lost and not one.doubled for one in found)
    longest = max((one.healthy_s for one in found), default=0.0)
    cells: list[Any] = [name, len(found), f"{total('accepted'):,}", total("lost")]
    cells += [total("doubled"), other, len(last) - len(found), findings_before, f"{longest:.1f} s"]
    return "| " + " | ".join(map(str, cells)) + " |"


def _findings(results: list[Result]) -> list[str]:
    """A line for each result that found something, and how its trial stands."""
    stands = {one.identity: one.is_good for one in last_of_each(results)}
    lines = [
        f"- {one.fault}, seed {one.seed}, trial {one.trial}: {_first(one)}; "
        f"{'nothing when repeated' if stands[one.identity] else 'not mended'}"
        for one in results
        if not one.ok
    ]
    return ["", "What was found:", "", *lines] if lines else []


def _first(result: Result) -> str:
    said = result.violations[0] if result.violations else f"{result.lost} lost"
    return " ".join(said.split())[:_SAID_CHARS]


def write_table(page: Path, text: str) -> None:
    """Put the table between its marks in a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
