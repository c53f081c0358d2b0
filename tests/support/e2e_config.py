"""Owns what runs of the whole system can be told: another seed, a longer fault.

Must not be read by any other test.
"""

import os
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class E2eConfig:
    """How whole-system tests choose and how long they take."""

    seed: int
    days: int
    kafka_away_s: float


def from_environment() -> E2eConfig:
    """Read `ESTATE_E2E_*`."""
    return E2eConfig(
        seed=int(os.environ.get("ESTATE_E2E_SEED", "20161214")),
        days=int(os.environ.get("ESTATE_E2E_DAYS", "50")),
        kafka_away_s=float(os.environ.get("ESTATE_E2E_KAFKA_AWAY_S", "30")),
    )


def seeded(seed: int) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)  # noqa: S311 - chooses what to test.
