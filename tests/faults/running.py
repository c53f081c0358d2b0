"""Owns one trial from beginning to end: load, fault, recovery, oracle.

Must not know any particular fault.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson

from benchmarks.machine import commit
from cli.local_estate import ROOT, EstateStartError
from deploy.local.errors import LaunchError
from tests.faults.fault import EndedWronglyError, NotReachedError
from tests.faults.load import Load
from tests.faults.results import Result
from tests.faults.trials import COPIES, FAULTS
from tests.faults.world import NotHealthyError, World

_WARM_COMMANDS: Final = 15
_WARM_S: Final = 30.0
_AFTER_S: Final = 1.0
_FINISH_S: Final = 60.0
_ORACLE_S: Final = 600.0
_UNJUDGED: Final[dict[str, Any]] = {"ok": True, "lost": 0, "doubled": 0, "violations": []}
_FAILURES: Final = (
    EndedWronglyError,
    NotHealthyError,
    EstateStartError,
    LaunchError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class Trial:
    """Which fault, and the numbers that make it the same again."""

    seed: int
    fault: str
    number: int

    @property
    def name(self) -> str:
        """What keeps its keys apart from those of other trials of an estate."""
        return f"{self.seed}-{list(FAULTS).index(self.fault)}-{self.number}"


async def run_trial(world: World, trial: Trial, *, quick: bool, judged: bool = True) -> Result:
    """Hurt a world under load, let it recover, and judge unless somebody will do that later."""
    rng = random.Random(f"{trial.seed}/{trial.fault}/{trial.number}")  # noqa: S311 - to repeat it.
    ledger = world.ledger
    accepted, refused = ledger.accepted, ledger.refused
    load = Load(world.place, trial.name, rng.getrandbits(32), copies=COPIES.get(trial.fault, 1))
    detail, healthy_s, not_reached, problems = "", 0.0, False, list[str]()
    await load.start()
    try:
        await _warm(world, accepted)
        lifted = await FAULTS[trial.fault](world, rng)
        detail = lifted.detail
        healthy_s = await world.healthy(lifted.at)
        await asyncio.sleep(_AFTER_S)
    except NotReachedError as error:
        detail, not_reached = str(error), True
    except _FAILURES as error:
        problems.append(f"{type(error).__name__}: {error}")
    finally:
        await load.finish(_FINISH_S)
    verdict = await ask_oracle(world, quick=quick) if judged else _UNJUDGED
    return Result(
        seed=trial.seed,
        fault=trial.fault,
        trial=trial.number,
        ok=verdict["ok"] and not problems,
        lost=verdict["lost"],
        doubled=verdict["doubled"],
        healthy_s=round(healthy_s, 2),
        accepted=ledger.accepted - accepted,
        refused=ledger.refused - refused,
        detail=detail,
        violations=[*problems, *verdict["violations"]],
        not_reached=not_reached,
        commit=commit() or "",
        whole=judged and not quick,
    )


async def _warm(world: World, accepted: int) -> None:
    """The load must be under way before it is hurt."""
    deadline = time.monotonic() + _WARM_S
    while world.ledger.accepted < accepted + _WARM_COMMANDS:
        if time.monotonic() > deadline:
            raise NotHealthyError("the load did not get under way")
        await asyncio.sleep(0.05)


async def ask_oracle(world: World, *, quick: bool) -> dict[str, Any]:
    """Let the oracle, a process of its own, judge the world as it stands."""
    command = ["-m", "tests.faults.oracle", "--state", str(world.estate.state_dir)]
    command += ["--ledger", str(world.ledger.path), *(["--quick"] if quick else [])]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=pipe, stderr=pipe
    )
    async with asyncio.timeout(_ORACLE_S):
        output, errors = await process.communicate()
    if not output:
        said = errors.decode()[-2_000:]
        return {"ok": False, "lost": 0, "doubled": 0, "violations": [f"no verdict: {said}"]}
    verdict: dict[str, Any] = orjson.loads(output)
    return verdict
