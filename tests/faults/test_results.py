"""Owns the check that a trial which failed, or said nothing, is not taken for one that went well.

Must not start an estate.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from cli.local_estate import ServiceProcess
from tests.faults.fault import EndedWronglyError, NotReachedError
from tests.faults.results import Result, append_result, read_results, table
from tests.faults.run import main
from tests.faults.trials import FAULTS, ended_at

FAULT = next(iter(FAULTS))


def result(*, ok: bool = True, not_reached: bool = False, trial: int = 0) -> Result:
    violations = [] if ok else ["lost: a command"]
    return Result(1, FAULT, trial, ok, 0, 0, 1.0, 100, 10, "", violations, not_reached)


def kept(path: Path, *results: Result) -> Path:
    for one in results:
        append_result(path, one)
    return path


def row(results: list[Result]) -> list[str]:
    line = next(line for line in table(results, FAULTS).splitlines() if FAULT in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result()], 0),
        ([result(not_reached=True)], 1),
        ([result(ok=False)], 1),
        ([result(ok=False), result(not_reached=True)], 1),
        ([result(not_reached=True), result(ok=False), result()], 0),
        ([result(ok=False), result(trial=1)], 1),
    ],
)
def test_a_run_succeeds_only_when_each_trial_stands_as_good(
    results: list[Result], code: int, tmp_path: Path
) -> None:
    path = kept(tmp_path / "results.jsonl", *results)
    assert main(["--table", "--results", str(path)]) == code


def test_a_trial_that_was_not_reached_is_counted_apart() -> None:
    assert row([result(), result(trial=1, not_reached=True)])[1:7] == ["1", "100", *"0001"]


def test_a_finding_stays_in_the_table_when_its_trial_was_repeated(tmp_path: Path) -> None:
    path = kept(tmp_path / "results.jsonl", result(ok=False), result())
    results = read_results(path)
    assert row(results)[1:8] == ["1", "100", *"00001"]
    last_line = table(results, FAULTS).splitlines()[-1]
    assert last_line == f"- {FAULT}, seed 1, trial 0: lost: a command; nothing when repeated"


def test_a_finding_that_stands_is_counted_and_said() -> None:
    assert row([result(), result(ok=False)])[1:8] == ["1", "100", *"00100"]
    assert table([result(ok=False)], FAULTS).endswith("lost: a command; not mended")


async def test_a_service_that_ends_by_itself_has_failed_the_trial(tmp_path: Path) -> None:
    with pytest.raises(EndedWronglyError, match="registry ended by itself with 3"):
        await ended_at(await running("raise SystemExit(3)", tmp_path), "relay.sent:1", 30)


async def test_a_service_that_does_not_come_to_its_point_is_not_reached(tmp_path: Path) -> None:
    service = await running("import time; time.sleep(60)", tmp_path)
    try:
        with pytest.raises(NotReachedError, match=r"registry never came to relay\.sent:1"):
            await ended_at(service, "relay.sent:1", 0.1)
    finally:
        await service.kill()


async def running(program: str, folder: Path) -> ServiceProcess:
    service = ServiceProcess("registry", 1, {}, folder / "registry.log")
    service.process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    return service
