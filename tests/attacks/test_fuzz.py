"""A small sample of what `python -m tests.attacks.fuzz` sends for hours."""

from tests.attacks.attacked_estate import AttackedEstate
from tests.attacks.fuzz import fuzz

INPUTS = 2_000
SEED = 20_161_214
MAX_GROWTH_MIB = 32


async def test_hostile_inputs_break_no_promise(estate: AttackedEstate) -> None:
    tally = await fuzz(estate, INPUTS, SEED)
    assert list(tally.broken_promises(MAX_GROWTH_MIB)) == [], tally.report()
    answered = {door for door, _, _ in (key.partition(" ") for key in tally.answers)}
    assert answered == {"bytes", "head", "command", "submission", "record"}
    assert await estate.are_ready()
