"""Owns writing source files that hold a part of the demo's: some applications, up to a day.

Must not change what a row says, but for its number.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from tests.support.source_reading import DOCKER, REPOS


def write_part(source: Path, target: Path, until: date, share: float, chance: Random) -> None:
    """Keep that share of the applications; what others were needed for needs a missing one now."""
    applications = sorted({row["key"] for row in _rows(source / REPOS)})
    kept = {key for key in applications if chance.random() < share} | {"publishing-api"}
    _copy(source / REPOS, target / REPOS, until, lambda row: row["key"] in kept)
    projects = _projects(_rows(source / DOCKER))
    allowed = kept | {"(root)"}
    _copy(source / DOCKER, target / DOCKER, until, lambda row: projects[row["key"]] <= allowed)


def _copy(source: Path, target: Path, until: date, keep: Callable[[Any], bool]) -> None:
    rows = [row for row in _rows(source) if row["date"][:10] <= until.isoformat() and keep(row)]
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**row, "seq": number}) for number, row in enumerate(rows, start=1)]
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _projects(rows: list[Any]) -> dict[str, set[str]]:
    """Every project that each compose service was ever in."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["change"] == "added":
            found[row["key"]].add(row["row"]["project"])
        found[row["key"]].update(row.get("fields", {}).get("project", ()))
    return found
