"""Owns the few trials that `make test` makes: one estate, one trial each of some faults.

Must not grow long; `make faults` runs them all, as often as is wished.
"""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from tests.faults.ledger import read_ledger
from tests.faults.oracle import judge
from tests.faults.running import Trial, ask_oracle, run_trial
from tests.faults.world import World, running_world

SEED = 3  # Registry at relay.sent, dependencies at append.after_commit, a projection.
CHOSEN = (
    "each service killed at a point of its own",
    "all services killed at once",
    "connections cut",
    "submissions sent three times",
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    with (
        pytest.MonkeyPatch.context() as patch,
        # Not below pytest's own folder: the server's user may not enter that.
        tempfile.TemporaryDirectory(prefix="estate-faults-", ignore_cleanup_errors=True) as folder,
    ):
        for given in ("ESTATE_POSTGRES_DSN", "ESTATE_KAFKA_BOOTSTRAP"):
            patch.delenv(given, raising=False)
        async with running_world(Path(folder)) as world:
            yield world


@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled_whatever_fails(world: World) -> None:
    for fault in CHOSEN:
        result = await run_trial(world, Trial(SEED, fault, 0), quick=True, judged=False)
        assert result.ok, result
        assert not result.not_reached, result
        assert result.accepted > 0
    verdict = await ask_oracle(world, quick=False)
    assert verdict["ok"], verdict


@pytest.mark.timeout(300)
async def test_oracle_finds_what_was_never_written_and_what_was_refused(world: World) -> None:
    told = read_ledger(world.ledger.path)
    accepted = [e for e in told.entries.values() if e.state == "accepted" and e.answer]
    written = next(e for e in accepted if e.answer and e.answer["events"])
    key = written.request.key
    lines = world.ledger.path.read_bytes().splitlines()
    sent = next(line for line in lines if orjson.loads(line).get("key") == key)
    never = {**orjson.loads(sent), "key": "http:admin:never"}
    false = [
        never,
        {"kind": "accepted", "key": "http:admin:never", "answer": written.answer},
        {"kind": "refused", "key": key, "problem": "conflict", "doubtful": False},
    ]
    path = world.estate.state_dir / "false-ledger.jsonl"
    path.write_bytes(b"\n".join([*lines, *map(orjson.dumps, false)]) + b"\n")
    verdict = await judge(world.estate.state_dir, path, quick=True)
    assert (verdict.lost, verdict.doubled) == (1, 1), verdict
