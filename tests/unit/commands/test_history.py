from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.commands.history import Entry, History
from tests.support.clock import NOON

DAY = timedelta(days=1)


def stated(*facts: tuple[int, int, object]) -> History:
    """Facts of one attribute: (position, day, value)."""
    history = History()
    for position, day, value in facts:
        history = history.with_facts(
            [("a", value)], effective_at=NOON + day * DAY, position=position
        )
    return history


def test_a_value_holds_from_its_instant_until_the_next() -> None:
    history = stated((1, 0, "x"), (2, 5, "y"))
    microsecond = timedelta(microseconds=1)
    assert history.at("a", NOON - microsecond) is None
    assert history.at("a", NOON) == "x"
    assert history.at("a", NOON + 5 * DAY - microsecond) == "x"
    assert history.at("a", NOON + 5 * DAY) == "y"
    assert history.at("b", NOON) is None


def test_of_equal_times_the_later_in_the_log_holds() -> None:
    assert stated((1, 0, "x"), (2, 0, "y")).at("a", NOON) == "y"


def test_after_gives_what_takes_effect_later_and_not_at_the_instant() -> None:
    history = stated((1, 0, "x"), (2, 5, "y"))
    later = (Entry(NOON + 5 * DAY, 2, "y"),)
    assert history.after("a", NOON) == later
    assert history.after("a", NOON + 5 * DAY) == ()
    assert history.after("b", NOON) == ()


def test_since_is_the_first_instant_whatever_the_order_of_recording() -> None:
    assert stated((1, 3, "x"), (2, -2, "y")).since("a") == NOON - 2 * DAY
    assert stated((1, 3, "x")).since("b") is None


def test_a_correction_takes_back_only_what_was_stated_at_those_positions() -> None:
    history = stated((1, 0, "x"), (2, 1, "y"), (3, 2, "z"))
    corrected = history.with_facts([("b", 1)], effective_at=NOON, position=4, corrects=(2, 3))
    assert corrected.at("a", NOON + 9 * DAY) == "x"
    assert corrected.at("b", NOON) == 1
    assert history.at("a", NOON + 9 * DAY) == "z"


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), max_size=12))
def test_the_value_at_any_instant_is_the_newest_of_those_in_force(
    facts: list[tuple[int, int]],
) -> None:
    history = stated(*((n, day, value) for n, (day, value) in enumerate(facts, 1)))
    for day in range(-4, 5):
        in_force = [(d, n, v) for n, (d, v) in enumerate(facts, 1) if d <= day]
        expected = max(in_force)[2] if in_force else None
        assert history.at("a", NOON + day * DAY) == expected
