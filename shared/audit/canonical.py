"""Owns the verifier's own reading and writing of canonical JSON: RFC 8785 as events use it.

Must not share code with the writer's, nor repair anything.
"""

import json
import unicodedata
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from typing import Any, Final, NoReturn

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 64
_LONGEST_INTEGER: Final = len(str(-MAX_INTEGER))
_TOO_LARGE: Final = "holds an integer beyond 2^53-1"
_LITERALS: Final = {None: "null", True: "true", False: "false"}


class NotCanonicalError(ValueError):
    """The text has no place in an event; the message says why, without its content."""


def _refuse(_literal: str) -> NoReturn:
    raise NotCanonicalError("holds a number that is not an integer")


def _read_integer(literal: str) -> int:
    if len(literal) > _LONGEST_INTEGER or abs(int(literal)) > MAX_INTEGER:
        raise NotCanonicalError(_TOO_LARGE)
    return int(literal)


_SCAN: Final = json.JSONDecoder(
    parse_float=_refuse, parse_int=_read_integer, parse_constant=_refuse
).raw_decode
# What `JSONEncoder(sort_keys=True).encode` makes anew for each value, which costs as much as using
# it. The last three: names sorted, none skipped, no NaN.
_NATIVE: Final = (None, _refuse, encode_basestring, None, ":", ",", True, False, False)
_WRITE_PLAIN: Final = c_make_encoder(*_NATIVE)


def read_value(text: str, start: int = 0) -> tuple[Any, int]:
    """Read the JSON value that begins at `start`; return it and where it ends.

    Repeated members and white space are accepted here: writing the value again shows them.

    Raises: ValueError.
    """
    try:
        return _SCAN(text, start)
    except RecursionError:
        raise NotCanonicalError("is nested too deeply") from None


def write_value(value: Any, depth: int = 0) -> str:
    """Write a value in its one canonical form.

    Raises: NotCanonicalError for a value that events may not hold.
    """
    kind = type(value)
    if kind is str:
        return write_text(value)
    if kind is dict:
        return _write_members(value, depth)
    if value is None or kind is bool:
        return _LITERALS[value]
    if kind is int:
        return _write_integer(value)
    if depth >= MAX_DEPTH:
        raise NotCanonicalError("is nested too deeply")
    return f"[{','.join([write_value(item, depth + 1) for item in value])}]"


def is_form_of(value: Any, text: str) -> bool:
    """Whether `text`, of ASCII, from which `value` was read, is the value's canonical form.

    Without escapes and deep nesting nothing in it can be refused, so native code writes it again.

    Raises: NotCanonicalError for a value that events may not hold.
    """
    if "\\" in text or "\x7f" in text or text.count("{") + text.count("[") >= MAX_DEPTH:
        return write_value(value, 1) == text
    return "".join(_WRITE_PLAIN(value, 0)) == text


def write_text(text: str) -> str:
    """Write a string.

    RFC 8785 section 3.2.2.2 escapes what the standard library's `encode_basestring` does: quote,
    backslash, five controls by a letter, and the other controls as u00xx in lower case.

    Raises: NotCanonicalError for NUL, lone surrogates and text that is not in normal form C.
    """
    if not text.isascii():
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise NotCanonicalError("holds a lone surrogate")
        if not unicodedata.is_normalized("NFC", text):
            raise NotCanonicalError("holds text that is not in Unicode normal form C")
    if "\x00" in text:
        raise NotCanonicalError("holds NUL")
    return encode_basestring(text)


def _write_members(members: dict[str, Any], depth: int) -> str:
    if depth >= MAX_DEPTH:
        raise NotCanonicalError("is nested too deeply")
    # Among ASCII names, order by code point is the RFC's order by UTF-16 unit.
    names = sorted(members)
    joined = "".join(names)
    if not (joined.isascii() and joined.isprintable()):
        raise NotCanonicalError("holds a member name that is not printable ASCII")
    parts = [f"{encode_basestring(name)}:{write_value(members[name], depth + 1)}" for name in names]
    return f"{{{','.join(parts)}}}"


def _write_integer(value: int) -> str:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise NotCanonicalError(_TOO_LARGE)
    return str(value)
