"""Strict JSON: what is accepted has one meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.strict_json import BadJson, BadText, has_bidi_controls, parse_json

REFUSED_FORM = [
    (b"", ""),
    (b"{", ""),
    (b"[1,]", ""),
    (b"{} {}", ""),
    (b'{"a":1,"a":2}', "/a"),
    (b'{"a":1,"\\u0061":2}', "/a"),
    (b'{"a":{"b":[1,{"c":1,"c":1}]}}', "/a/b/1/c"),
    (b"NaN", ""),
    (b'{"a":[0,Infinity]}', "/a/1"),
    (b'{"a":-Infinity}', "/a"),
    (b"1e999", ""),
    (b"[1.0]", "/0"),
    (b"[1e2]", "/0"),
    (b"9" * 5000, ""),
    (b"9007199254740992", ""),
    (b'{"a/b":{"c~d":-9007199254740992}}', "/a~1b/c~0d"),
    (b"\xef\xbb\xbf{}", ""),
    (b'"\xff"', ""),
    (b'"\xed\xa0\x80"', ""),
    ("{}".encode("utf-16"), ""),
    (b'"a\nb"', ""),
    (b'"a\x00b"', ""),
    (b"[" * 33 + b"]" * 33, ""),
    (b"[" * 200_000, ""),
    (b'{"a":' * 200_000, ""),
    (b'[["' + b'\\"[' * 30_000, ""),
]

REFUSED_TEXT = [
    (b'{"a":"x\\u0000"}', "/a"),
    (b'["\\ud800"]', "/0"),
    (b'["\\udc00\\ud800"]', "/0"),
    (b'["\\r"]', "/0"),
    (b'["\x7f"]', "/0"),
    (b'["\\u0085"]', "/0"),
    ('["e\u0301"]'.encode(), "/0"),
    (b'["e\\u0301"]', "/0"),
    ('{"b":{"e\u0301":1}}'.encode(), "/b"),
    ('{"a\u202eb":1}'.encode(), ""),
    (b'{"a\\u2066b":1}', ""),
    (b'{"a\\nb":1}', ""),
]

ACCEPTED = [
    (b"null", None),
    (b' {"a": [1, -2, true, false, null, "x"]} ', {"a": [1, -2, True, False, None, "x"]}),
    (b"9007199254740991", 2**53 - 1),
    (b"-9007199254740991", -(2**53) + 1),
    (b'"two\\nlines\\tand a tab"', "two\nlines\tand a tab"),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b'"a \\\\u0000 b"', "a \\u0000 b"),
    ('"Swyddfa\u2019r caf\u00e9 \u202b"'.encode(), "Swyddfa\u2019r caf\u00e9 \u202b"),
    (b"[" * 32 + b"]" * 32, json.loads("[" * 32 + "]" * 32)),
    (b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["]', ["[" * 40]),
]


@pytest.mark.parametrize(("raw", "pointer"), REFUSED_FORM)
def test_json_with_more_than_one_reading_is_refused(raw: bytes, pointer: str) -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(raw)
    assert not isinstance(refused.value, BadText)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(("raw", "pointer"), REFUSED_TEXT)
def test_text_that_could_do_harm_is_refused_with_its_place(raw: bytes, pointer: str) -> None:
    with pytest.raises(BadText) as refused:
        parse_json(raw)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(("raw", "value"), ACCEPTED)
def test_plain_json_is_read(raw: bytes, value: Any) -> None:
    assert parse_json(raw) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except BadJson:
        return
    assert json.loads(raw) == value


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON, st.booleans())
def test_any_json_is_read_as_others_read_it_or_refused(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        read = parse_json(raw)
    except BadJson:
        return
    assert read == value


def test_bidirectional_controls_are_found() -> None:
    assert has_bidi_controls("pay\u202eroll")
    assert not has_bidi_controls("payroll \u05d0")


def test_a_control_character_is_refused_in_plain_words() -> None:
    with pytest.raises(BadJson) as refused:
        parse_json(b'{"a": "\x01"}')
    assert refused.value.detail == "is not JSON: Invalid control character at character 7"
