"""kill -9 at the worst places: what was acknowledged stays, and a repeat by key has one effect."""

import asyncio
import signal
import sys
from pathlib import Path

import orjson
import pytest

from shared.eventstore.append import OPEN_GATE
from tests.integration.eventstore.log_under_test import LogUnderTest, submit_until_taken
from tests.support.counting import add

_ROOT = Path(__file__).parents[3]
Acknowledged = dict[str, tuple[int, int]]


async def start(log: LogUnderTest, **options: object) -> asyncio.subprocess.Process:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.eventstore.writer_process",
        f"--dsn={log.access.app_dsn}",
        *arguments,
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def acknowledged_by(process: asyncio.subprocess.Process) -> Acknowledged:
    """What it said until it ended, however it ended."""
    assert process.stdout is not None
    said = await asyncio.wait_for(process.stdout.read(), timeout=60)
    await process.wait()
    whole = said[: said.rfind(b"\n") + 1].splitlines()
    reports = [orjson.loads(line) for line in whole]
    return {one["key"]: (one["first"], one["last"]) for one in reports}


async def check_after_retry(
    log: LogUnderTest, acknowledged: Acknowledged, keys: dict[str, int]
) -> None:
    """Send everything again, as clients that got no answer do; `keys` are with their numbers."""
    before = await log.check()
    for first, last in acknowledged.values():
        assert last <= len(before), "an acknowledged command is not in the log"
        assert first <= last
    async with log.writer() as writer:
        for key, number in keys.items():
            command = add(key, f"svc_{number % 5}", events=1 + number % 2)
            outcome = await submit_until_taken(writer, command)
            if key in acknowledged:
                assert outcome.replayed
                assert (outcome.first_position, outcome.last_position) == acknowledged[key]
    events = await log.check()
    made = [event.origin.causation_id for event in events]
    assert sorted(made) == sorted(k for k, number in keys.items() for _ in range(1 + number % 2))


@pytest.mark.parametrize("point", ["append.decided", "append.before_commit", "append.after_commit"])
async def test_a_process_killed_at_any_point_of_an_append_neither_loses_nor_doubles(
    log: LogUnderTest, point: str
) -> None:
    process = await start(log, count=60, failpoint=f"{point}:2")
    acknowledged = await acknowledged_by(process)
    assert process.returncode == -signal.SIGKILL
    written = {event.origin.causation_id for event in await log.events()}
    assert 0 < len(acknowledged) < 60
    assert (len(written) > len(acknowledged)) == (point == "append.after_commit")
    await check_after_retry(log, acknowledged, {f"k{n}": n for n in range(60)})


async def test_two_processes_killed_at_any_moment_neither_lose_nor_double(
    log: LogUnderTest,
) -> None:
    processes = [await start(log, prefix=prefix, count=4_000) for prefix in "ab"]
    saying = [asyncio.create_task(acknowledged_by(process)) for process in processes]
    async with asyncio.timeout(30):
        while (await log.reader.head()).position < 150:
            await asyncio.sleep(0.01)
        processes[0].kill()
        reached = (await log.reader.head()).position
        while (await log.reader.head()).position < reached + 150:
            await asyncio.sleep(0.01)
        processes[1].kill()
    acknowledged = {key: where for said in saying for key, where in (await said).items()}
    assert acknowledged
    # A COMMIT that was sent before the kill may still be under way; it holds the gate.
    await log.as_app(OPEN_GATE.removeprefix("BEGIN; "))
    written = {event.origin.causation_id for event in await log.events()}
    assert acknowledged.keys() <= written
    keys = {key: int(key[1:]) for key in written}
    await check_after_retry(log, acknowledged, keys)
