"""The verifier's canonical form is the RFC's and the writer's; its two ways of reading agree."""

import json
import unicodedata
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.canonical import (
    MAX_DEPTH,
    NotCanonicalError,
    is_form_of,
    read_value,
    write_value,
)
from shared.audit.sealed_event import EventFaultError, open_by_parsing, open_event
from shared.contracts.canonical import canonical_bytes
from shared.contracts.envelope import leaf_of, seal
from tests.unit.audit.log_building import attributes_at, build_log

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")).map(
    lambda text: unicodedata.normalize("NFC", text)
)
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_form_is_that_of_the_rfc_and_of_the_writer(value: Any) -> None:
    ours = write_value(value).encode()
    assert ours == rfc8785.dumps(value)
    assert ours == canonical_bytes(value)
    assert read_value(ours.decode()) == (value, len(ours.decode()))


def test_every_character_is_escaped_as_the_rfc_says() -> None:
    for code in [*range(1, 0x300), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1F600]:
        text = chr(code)
        assert write_value({"a": text}).encode() == rfc8785.dumps({"a": text})


@pytest.mark.parametrize("value", ["\x00", "\ud800", "e\u0301", 2**53, {"é": 1}, {"\n": 1}])
def test_value_without_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonicalError):
        write_value(value)


@pytest.mark.parametrize(
    "text", ["1.5", "1e3", "NaN", "Infinity", "9007199254740992", "1" * 5_000, "[" * 100_000]
)
def test_text_without_canonical_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_value(text)


def test_nesting_beyond_the_limit_is_refused() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH):
        value = [value]
    with pytest.raises(NotCanonicalError):
        write_value(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        '{"a": 1}',
        '{"a":-0}',
        '{"a":"\\u0041"}',
        '{"a":"\\/"}',
        '{"a":"\\b"}',
        '{"a":["\x7f",null,true,-1]}',
        '{"a":[{"b":"c","d":[]},9007199254740991]}',
    ],
)
def test_text_is_told_from_canonical_form_as_writing_it_does(text: str) -> None:
    value, _ = read_value(text)
    assert is_form_of(value, text) == (write_value(value) == text)


@pytest.mark.parametrize("text", ['{"\x7f":1}', "[" * MAX_DEPTH + "]" * MAX_DEPTH])
def test_text_whose_value_is_refused_is_of_no_form(text: str) -> None:
    value, _ = read_value(text)
    with pytest.raises(NotCanonicalError):
        is_form_of(value, text)


@given(
    VALUES,
    st.binary(min_size=16, max_size=16),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), min_size=1),
)
def test_event_is_read_alike_in_both_ways(data: Any, salt: bytes, actor: str) -> None:
    attributes = attributes_at(5, 2, "svc_1") | {"actor": unicodedata.normalize("NFC", actor)}
    body, leaf = seal(attributes, data, salt)
    event = open_event(body)
    assert event == open_by_parsing(body)
    assert event.leaf == leaf == leaf_of(body)
    assert (event.position, event.stream_version, event.stream) == (5, 2, "service-svc_1")


@given(st.data())
def test_changed_event_is_refused_alike_in_both_ways(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(build_log(20).rows))
    body = bytearray(row.body or b"")
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    assert _outcome(open_event, bytes(body)) == _outcome(open_by_parsing, bytes(body))


def test_data_that_looks_like_an_envelope_is_not_taken_for_one() -> None:
    decoy = {"x": '","datacontenttype":"application/json","datahash":"', "data": {"datasalt": "a"}}
    body, leaf = seal(attributes_at(5, 2, "svc_1"), decoy, bytes(16))
    assert open_event(body).leaf == leaf
    assert json.loads(body)["data"] == decoy


def _outcome(read: Any, body: bytes) -> Any:
    try:
        return read(body)
    except EventFaultError as error:
        return error.reason
