"""Cursors that cannot be forged, and the two time parameters."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.known_at import KnownAt
from shared.http.paging import MAX_CURSOR_CHARS, Page, read_cursor, sign_cursor
from shared.http.problems import Problem
from shared.http.times import parse_as_of, parse_known_at

SECRET = b"s" * 32
HERE = b"/v1/things"


@given(st.dictionaries(st.text(max_size=8), st.integers(-(2**53), 2**53) | st.text(max_size=8)))
def test_a_cursor_gives_back_what_was_signed(content: dict[str, int | str]) -> None:
    try:
        cursor = sign_cursor(content, SECRET, HERE)
    except (TypeError, ValueError):
        return
    assert read_cursor(cursor, SECRET, HERE) == content
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=60))
def test_anything_else_is_not_a_cursor(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read_cursor(text, SECRET, HERE)
    assert refused.value.kind.slug == "bad-query"
    assert refused.value.errors[0].pointer == "/cursor"


def test_a_changed_cursor_or_another_secret_is_refused() -> None:
    cursor = sign_cursor({"after": "svc_1", "known_at": "registry:5"}, SECRET, HERE)
    for index in range(0, len(cursor) - 1, 3):
        other = "A" if cursor[index] != "A" else "B"
        with pytest.raises(Problem):
            read_cursor(cursor[:index] + other + cursor[index + 1 :], SECRET, HERE)
    with pytest.raises(Problem):
        read_cursor(cursor, b"t" * 32, HERE)
    with pytest.raises(Problem):
        read_cursor(cursor, SECRET, b"/v1/other-things")
    with pytest.raises(Problem):
        read_cursor("A" * (MAX_CURSOR_CHARS + 1), SECRET, HERE)
    with pytest.raises(ValueError, match="too long"):
        sign_cursor({"a": "x" * MAX_CURSOR_CHARS}, SECRET, HERE)


def test_a_page_has_the_shape_of_every_list() -> None:
    page = Page([1, 2], None, "registry:9", 12)
    assert page.document() == {
        "items": [1, 2],
        "next": None,
        "positions": "registry:9",
        "lag_ms": 12,
    }


def test_a_bare_date_is_the_end_of_its_day() -> None:
    assert parse_as_of("2026-03-31") == datetime(2026, 3, 31, 23, 59, 59, 999_999, UTC)
    assert parse_known_at("2026-03-31") == KnownAt(parse_as_of("2026-03-31"))


def test_positions_are_read_with_their_timelines() -> None:
    known = parse_known_at("registry@2:123,dependencies:45")
    assert known.recorded_at is None
    assert known.positions == {"registry": 123, "dependencies": 45}
    assert known.timelines == {"registry": 2, "dependencies": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "registry",
        "registry:-1",
        "registry:1;dependencies:2",
        "registry:" + "9" * 30,
        "nolog:1",
        "registry:1,nolog:1",
        "2026",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is not|has)"):
        parse_known_at(text)


@pytest.mark.parametrize("text", ["yesterday", "2026-03-31T12:00:00", "31/03/2026"])
def test_refused_time_says_that_a_date_will_do(text: str) -> None:
    with pytest.raises(ValueError, match="a date such as 2026-01-31 will do too"):
        parse_as_of(text)
