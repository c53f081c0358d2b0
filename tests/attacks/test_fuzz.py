"""A small sample of what `python -m tests.attacks.fuzz` sends for hours."""

import pytest

from tests.attacks.attacked_estate import AttackedEstate
from tests.attacks.fuzz import Tally, fuzz
from tests.attacks.mutations import Input
from tests.attacks.wire import WireAnswer

INPUTS = 2_000
SEED = 20_161_214
MAX_GROWTH_MIB = 32


async def test_hostile_inputs_break_no_promise(estate: AttackedEstate) -> None:
    tally = await fuzz(estate, INPUTS, SEED)
    assert list(tally.broken_promises(MAX_GROWTH_MIB)) == [], tally.report()
    answered = {door for door, _, _ in (key.partition(" ") for key in tally.answers)}
    assert answered == {"bytes", "head", "command", "submission", "record"}
    assert await estate.are_ready()


BARE_503 = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("door", "request_line", "answer", "is_broken"),
    [
        ("command", b"POST /v1/services HTTP/1.1", WireAnswer(0, b""), True),
        ("head", b"GET /v1/services HTTP/1.1", WireAnswer(0, b""), True),
        ("head", b"GET /v1/services HTTP/1.1", WireAnswer(-1, b""), True),
        ("command", b"POST /v1/services HTTP/1.1", WireAnswer(500, b""), True),
        ("command", b"POST /v1/services HTTP/1.1", WireAnswer(503, BARE_503), True),
        ("head", b"HEAD /v1/services HTTP/1.1", WireAnswer(503, BARE_503), False),
        ("bytes", b"GE", WireAnswer(0, b""), False),
        ("command", b"POST /v1/services HTTP/1.1", WireAnswer(422, b""), False),
    ],
)
def test_what_is_unexpected_breaks_a_promise(
    door: str, request_line: bytes, answer: WireAnswer, is_broken: bool
) -> None:
    tally = Tally(SEED)
    tally.count(Input(door, "registry", request_line + b"\r\n\r\n"), answer, 0.01)
    assert bool(list(tally.broken_promises())) == is_broken
