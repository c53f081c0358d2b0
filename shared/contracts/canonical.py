"""Owns the one byte form of an event: the RFC 8785 subset that the log hashes and publishes.

Must not repair input: what has no canonical form is refused.
"""

import unicodedata
from typing import Any, Final

import orjson

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32


class NotCanonicalError(ValueError):
    """A value has no canonical form; `pointer` (RFC 6901) says where."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or '/'}: {detail}")
        self.pointer = pointer
        self.detail = detail


def canonical_bytes(value: Any) -> bytes:
    """Serialise a checked value: keys sorted, no white space, UTF-8.

    The caller has passed the value through `check_canonical`, or built it from such parts.
    Source: RFC 8785, restricted to ASCII keys, integers and strings, where orjson's sorted
    form and the RFC's agree byte for byte (tests compare the two).
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def check_canonical(value: Any, pointer: str = "", depth: int = 0) -> None:
    """Refuse what the canonical form cannot hold.

    Raises: NotCanonicalError for floats, integers beyond 2^53-1, keys that are not ASCII,
    strings that are not NFC or hold NUL or lone surrogates, and nesting past `MAX_DEPTH`.
    """
    if isinstance(value, str):
        _check_text(value, pointer)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise NotCanonicalError(pointer, "an integer lies beyond 2^53-1")
    elif depth >= MAX_DEPTH:
        raise NotCanonicalError(pointer, f"nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, dict):
        _check_members(value, pointer, depth)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_canonical(item, f"{pointer}/{index}", depth + 1)
    else:
        detail = f"{type(value).__name__} has no canonical form; write decimals as strings"
        raise NotCanonicalError(pointer, detail)


def _check_members(members: dict[Any, Any], pointer: str, depth: int) -> None:
    for key, item in members.items():
        if not (isinstance(key, str) and key.isascii()):
            raise NotCanonicalError(pointer, "a member name is not ASCII text")
        if not key.isprintable():
            raise NotCanonicalError(pointer, "a member name holds a control character")
        escaped = key.replace("~", "~0").replace("/", "~1")
        check_canonical(item, f"{pointer}/{escaped}", depth + 1)


def _check_text(text: str, pointer: str) -> None:
    if text.isascii():
        if "\x00" in text:
            raise NotCanonicalError(pointer, "text holds NUL")
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotCanonicalError(pointer, "text holds a lone surrogate") from error
    if "\x00" in text:
        raise NotCanonicalError(pointer, "text holds NUL")
    if not unicodedata.is_normalized("NFC", text):
        raise NotCanonicalError(pointer, "text is not in Unicode normal form NFC")
