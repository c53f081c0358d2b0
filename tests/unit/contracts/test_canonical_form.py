import unicodedata
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.canonical import (
    MAX_DEPTH,
    MAX_INTEGER,
    NotCanonicalError,
    canonical_bytes,
    check_canonical,
)

KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20
).map(lambda text: unicodedata.normalize("NFC", text))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_the_form_is_that_of_rfc_8785(value: Any) -> None:
    check_canonical(value)
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(VALUES)
def test_the_form_read_again_gives_the_same_value_and_the_same_bytes(value: Any) -> None:
    body = canonical_bytes(value)
    assert orjson.loads(body) == value
    assert canonical_bytes(orjson.loads(body)) == body


@pytest.mark.parametrize("code", [*range(1, 0x20), 0x7F, 0x80, 0x2028, 0xFEFF, 0x1F600])
def test_every_awkward_character_is_written_as_the_rfc_says(code: int) -> None:
    assert canonical_bytes({"a": chr(code)}) == rfc8785.dumps({"a": chr(code)})


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (1.0, ""),
        (float("nan"), ""),
        ([1, 2.5], "/1"),
        ({"a": {"b": [0, 2**53]}}, "/a/b/1"),
        ({"a": -(2**53)}, "/a"),
        ({"é": 1}, ""),
        ({"a": {"b\n": 1}}, "/a"),
        ({"a": {"\x7f": 1}}, "/a"),
        ({"a": {1: 1}}, "/a"),
        ({"a/b": {"c~d": 1.5}}, "/a~1b/c~0d"),
        ("\x00", ""),
        (["é\x00"], "/0"),
        (["\ud800"], "/0"),
        (["e\u0301"], "/0"),
        ({"a": b"bytes"}, "/a"),
        ({"a": {1, 2}}, "/a"),
        ({"a": object()}, "/a"),
        (nested(MAX_DEPTH + 1), "/0" * MAX_DEPTH),
    ],
)
def test_what_has_no_canonical_form_is_refused_where_it_stands(value: Any, pointer: str) -> None:
    with pytest.raises(NotCanonicalError) as refused:
        check_canonical(value)
    assert refused.value.pointer == pointer


def test_the_bounds_themselves_are_accepted() -> None:
    check_canonical([MAX_INTEGER, -MAX_INTEGER, "a\tb\n", True, None, (1, 2), {"": ""}])
    check_canonical(nested(MAX_DEPTH))
