"""How a cursor of the change feed is written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.read_models.cursor import (
    MAX_CURSOR_CHARS,
    START,
    furthest,
    parse_cursor,
    reaches,
    write_cursor,
)
from shared.contracts.names import Position

positions = st.builds(
    Position,
    st.just("x"),
    st.integers(min_value=0, max_value=10**18 - 1),
    st.integers(min_value=1, max_value=10**9 - 1),
)


@given(positions, positions)
def test_cursor_is_read_as_it_was_written(one: Position, other: Position) -> None:
    vector = {
        "registry": Position("registry", one.position, one.timeline),
        "dependencies": Position("dependencies", other.position, other.timeline),
    }
    cursor = write_cursor(vector)
    assert parse_cursor(cursor) == vector
    assert len(cursor) <= MAX_CURSOR_CHARS
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert parse_cursor(",".join(map(str, vector.values()))) == vector


def test_log_left_out_begins_at_its_start() -> None:
    assert parse_cursor("dependencies:3") == {
        **START,
        "dependencies": Position("dependencies", 3),
    }


@given(st.text(max_size=300))
def test_any_other_text_is_refused_without_repeating_it(text: str) -> None:
    try:
        vector = parse_cursor(text)
    except ValueError as error:
        assert str(error) in {  # noqa: PT017 - what is refused differs from case to case.
            "is not a cursor of the change feed",
            "names a log that this feed does not follow",
        }
    else:
        assert vector.keys() == START.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "registry",
        "registry:",
        "registry:01",
        "registry:1,",
        "registry:1 ",
        "registry@0:1",
        "registry:1,registry:1",
        "notifications:1",
        "registry:" + "9" * 19,
        "cmVnaXN0cnk6MQ==",
        "cmVnaXN0cnk6MR",
        "cmVnaXN0cnk6M",
        "cmVnaXN0cnk6MQ\n",
        "x" * (MAX_CURSOR_CHARS + 1),
    ],
)
def test_malformed_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a cursor|names a log"):
        parse_cursor(text)


def test_vector_reaches_another_only_in_every_log_asked_about() -> None:
    vector = parse_cursor("registry:5,dependencies:2")
    other = parse_cursor("registry:5,dependencies:3")
    assert reaches(other, vector, START)
    assert not reaches(vector, other, START)
    assert reaches(vector, other, ["registry"])
    assert furthest(vector["dependencies"], other["dependencies"]).position == 3
