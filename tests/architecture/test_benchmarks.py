"""Owns the checks that the page of the benchmarks is the record, and that the record is whole."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BENCHMARKS, RECORD
from benchmarks.document import PAGE, page

ROOT = Path(__file__).parents[2]


def record() -> dict[str, Any]:
    results: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return results


def test_the_page_is_what_the_record_makes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(record()) == text, "run `python -m benchmarks --docs-only --write-docs`"


def test_what_is_recorded_can_be_measured_again() -> None:
    for name, result in record().items():
        assert result["command"] == f"python -m benchmarks {name} --size {result['size']}"
    assert list(record()) == [name for name in BENCHMARKS if name in record()]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_that_is_listed_has_a_module(name: str) -> None:
    assert callable(import_module(f"benchmarks.{BENCHMARKS[name].module}").run)


def test_the_page_is_not_made_of_results_that_are_kept_elsewhere(tmp_path: Path) -> None:
    before = PAGE.read_bytes()
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    arguments = ("--docs-only", "--write-docs", "--json", str(elsewhere))
    outcome = subprocess.run(  # noqa: S603 - our own module.
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outcome.returncode, PAGE.read_bytes()) == (2, before), outcome.stderr
    assert "--json" in outcome.stderr
