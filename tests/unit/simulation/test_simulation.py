import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEEDS = 100


def test_no_seed_of_these_breaks_a_promise() -> None:
    printed = _run("--seeds", str(SEEDS))
    assert f"{SEEDS} seeds, 0 with violations" in printed


def test_a_seed_is_one_run_wherever_it_is_made() -> None:
    first, second = (_run("--seed", "7", hash_seed=seed) for seed in ("1", "2"))
    assert "heal" in first
    assert first == second


def _run(*arguments: str, hash_seed: str = "0") -> str:
    """Run it in a process of its own: it sets up the log of the process that it runs in."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    outcome = subprocess.run(  # noqa: S603 - our own module.
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert outcome.returncode == 0, outcome.stdout[-2_000:] + outcome.stderr
    return outcome.stdout
