"""Owns what attacks can be told: more examples, more time, another seed.

Must not be read by any other test.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttacksConfig:
    """How long generated requests go on."""

    phases: str
    examples: int
    seconds: int
    seed: int


def from_environment() -> AttacksConfig:
    """Read `ESTATE_ATTACKS_*`."""
    return AttacksConfig(
        phases=os.environ.get("ESTATE_ATTACKS_PHASES", "examples,coverage,fuzzing"),
        examples=int(os.environ.get("ESTATE_ATTACKS_EXAMPLES", "3")),
        seconds=int(os.environ.get("ESTATE_ATTACKS_SECONDS", "50")),
        seed=int(os.environ.get("ESTATE_ATTACKS_SEED", "20161214")),
    )
