"""Owns reading JSON from strangers: what is accepted means one thing only, everywhere.

Must not be lenient: a second reading of the same bytes by anyone else must give the same value.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NoReturn

LARGEST_INTEGER = 2**53 - 1
_LONGEST_INTEGER_TEXT = 17

_BOM = b"\xef\xbb\xbf"
_OPENING = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_ESCAPED = re.compile(r"\\[bfnrtu]")
_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SUSPECT_TEXT = re.compile(f"[\x7f-\x9f{_BIDI}]")
_REFUSED_IN_TEXT = re.compile(f"[{_CONTROL}\ud800-\udfff]")
_REFUSED_IN_KEYS = re.compile(f"[{_CONTROL}\n\t\ud800-\udfff{_BIDI}]")


class BadJson(ValueError):  # noqa: N818 - says what is true.
    """The bytes are not JSON that is accepted. `detail` never repeats the input."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or 'the document'} {detail}")
        self.pointer = pointer
        self.detail = detail


class BadText(BadJson):
    """The JSON is well formed, but a key or a string holds text that is not accepted."""


class _Fault:
    """Stands where the value was that could not be accepted, so that its pointer can be found."""

    __slots__ = ("detail", "key")

    def __init__(self, detail: str, key: str | None = None) -> None:
        self.detail = detail
        self.key = key


class _FaultSeen(Exception):  # noqa: N818 - never leaves this module.
    """The fast reading met a fault; the slow one finds its place."""


def parse_json(raw: bytes, *, max_depth: int = 32) -> Any:
    """Read one JSON document strictly: the same value whoever reads it, or a refusal.

    Refused: other encodings than UTF-8, a byte order mark, repeated keys, NaN, Infinity, fractions
    and exponents (decimals are strings), integers beyond 2^53-1, nesting beyond `max_depth`, lone
    surrogates, text that is not NFC, control characters but newline and tab, and in keys every
    control and bidirectional control.

    Raises: BadJson, or its subclass BadText for the faults of text; never RecursionError.
    """
    text = _decoded(raw)
    if raw.count(b"[") + raw.count(b"{") > max_depth:
        _check_depth(raw, max_depth)
    try:
        value = _FAST.decode(text)
    except _FaultSeen:
        _refuse_first_fault(text)
    except json.JSONDecodeError as error:
        raise _not_json(error) from None
    if _text_needs_a_look(raw, text) and not _is_clean(value):
        _refuse_first_text(value)
    return value


def _not_json(error: json.JSONDecodeError) -> BadJson:
    what = error.msg.removesuffix(" at")
    return BadJson("", f"is not JSON: {what} at character {error.pos}")


def has_bidi_controls(text: str) -> bool:
    """Whether the text holds a bidirectional control: refused in names, where it misleads."""
    return re.search(f"[{_BIDI}]", text) is not None


def _decoded(raw: bytes) -> str:
    if raw.startswith(_BOM):
        raise BadJson("", "begins with a byte order mark")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadJson("", "is not UTF-8") from None


def _check_depth(raw: bytes, max_depth: int) -> None:
    depth = 0
    for match in _OPENING.finditer(raw):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > max_depth:
                raise BadJson("", f"is nested deeper than {max_depth}")
        elif token in b"]}":
            depth -= 1


def _text_needs_a_look(raw: bytes, text: str) -> bool:
    """Whether a string could hold refused text.

    A quote composes with nothing, so NFC of the whole document is NFC of each string.
    """
    if b"\\" in raw and _ESCAPED.search(text):
        return True
    if raw.isascii():
        return b"\x7f" in raw
    return not unicodedata.is_normalized("NFC", text) or _SUSPECT_TEXT.search(text) is not None


def _is_clean(value: Any) -> bool:
    if isinstance(value, str):
        return not _REFUSED_IN_TEXT.search(value) and _is_nfc(value)
    if isinstance(value, dict):
        for key, member in value.items():
            if _REFUSED_IN_KEYS.search(key) or not _is_nfc(key) or not _is_clean(member):
                return False
        return True
    return all(map(_is_clean, value)) if isinstance(value, list) else True


def _refuse_first_text(value: Any) -> NoReturn:
    for pointer, key, item in _walk(value):
        if key is not None and (_REFUSED_IN_KEYS.search(key) or not _is_nfc(key)):
            raise BadText(_parent(pointer), "has a key with characters that are not accepted")
        if isinstance(item, str):
            if _REFUSED_IN_TEXT.search(item):
                raise BadText(pointer, "holds a control character or a lone surrogate")
            if not _is_nfc(item):
                raise BadText(pointer, "is not in Unicode normalisation form C")
    raise BadText("", "holds text that is not accepted")  # pragma: no cover - a fault was seen.


def _is_nfc(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _parent(pointer: str) -> str:
    return pointer.rpartition("/")[0]


def _walk(root: Any) -> Iterator[tuple[str, str | None, Any]]:
    """Every value with its pointer and, for a member of an object, its key; in document order."""
    pending: list[tuple[str, str | None, Any]] = [("", None, root)]
    while pending:
        pointer, key, value = pending.pop()
        yield pointer, key, value
        if isinstance(value, dict):
            members = [(f"{pointer}/{pointer_token(k)}", k, v) for k, v in value.items()]
            pending.extend(reversed(members))
        elif isinstance(value, list):
            items = [(f"{pointer}/{index}", None, item) for index, item in enumerate(value)]
            pending.extend(reversed(items))


def pointer_token(key: str) -> str:
    """A key as one token of a JSON pointer (RFC 6901); text that could do harm is left out."""
    safe = _REFUSED_IN_KEYS.sub("?", key[:64])
    return safe.replace("~", "~0").replace("/", "~1")


def _integer(text: str) -> int:
    if (
        len(text) > _LONGEST_INTEGER_TEXT
        or not -LARGEST_INTEGER <= (n := int(text)) <= LARGEST_INTEGER
    ):
        raise _FaultSeen
    return n


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _FaultSeen
    return members


def _seen(_text: str) -> NoReturn:
    raise _FaultSeen


_FAST = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_seen, parse_int=_integer, parse_constant=_seen
)


def _integer_or_fault(text: str) -> int | _Fault:
    try:
        return _integer(text)
    except _FaultSeen:
        return _Fault("is an integer beyond 2^53-1; write it as a string")


def _members_or_fault(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            return _Fault("is a repeated key", key)
        members[key] = value
    return members


_LOCATING = json.JSONDecoder(
    object_pairs_hook=_members_or_fault,
    parse_float=lambda _: _Fault("is not an integer; write decimals as strings"),
    parse_int=_integer_or_fault,
    parse_constant=lambda _: _Fault("is not a JSON number"),
)


def _refuse_first_fault(text: str) -> NoReturn:
    try:
        value = _LOCATING.decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(error) from None
    for pointer, _, item in _walk(value):
        if isinstance(item, _Fault):
            suffix = "" if item.key is None else f"/{pointer_token(item.key)}"
            raise BadJson(pointer + suffix, item.detail)
    raise BadJson("", "is not acceptable")  # pragma: no cover - a fault was seen.
