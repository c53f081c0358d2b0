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


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one trial."""

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


def table(results: Iterable[Result], faults: Iterable[str]) -> str:
    """The results by fault, as Markdown."""
    by_fault: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        if not result.not_reached:
            by_fault[result.fault].append(result)
    lines = [
        "| Fault | Trials | Acknowledged | Lost | Doubled | Other | Longest time to healthy |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(fault, by_fault[fault]) for fault in faults if by_fault[fault]]
    lines.append(_row("**all**", [one for found in by_fault.values() for one in found]))
    return "\n".join(lines)


def _row(name: str, found: list[Result]) -> str:
    def total(member: str) -> int:
        return sum(getattr(one, member) for one in found)

    other = sum(not one.ok and not one.lost and not one.doubled for one in found)
    longest = max((one.healthy_s for one in found), default=0.0)
    cells: list[Any] = [name, len(found), f"{total('accepted'):,}", total("lost")]
    cells += [total("doubled"), other, f"{longest:.1f} s"]
    return "| " + " | ".join(map(str, cells)) + " |"


def write_table(page: Path, text: str) -> None:
    """Put the table between its marks in a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
