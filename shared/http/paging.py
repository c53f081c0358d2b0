"""Owns pages of lists: limits, signed cursors, the shape of the answer.

Must not know what is listed; a cursor's content belongs to the query that made it.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import PlainValidator, WithJsonSchema

from shared.http.problems import BAD_QUERY, Fault, Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR_CHARS = 2048
_MAC_BYTES = 32
_LIMIT = re.compile(r"[1-9][0-9]{0,2}")


def sign_cursor(content: Mapping[str, Any], secret: bytes, of: bytes) -> str:
    """A cursor that only `read_cursor` with the same secret and list accepts: url-safe and bounded.

    `of` says which list it is a cursor of: its address and its filters.

    Raises: ValueError when the content is too long.
    """
    payload = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    signed = _mac(payload, secret, of) + payload
    cursor = base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")
    if len(cursor) > MAX_CURSOR_CHARS:
        raise ValueError("the cursor is too long")
    return cursor


def read_cursor(cursor: str, secret: bytes, of: bytes) -> dict[str, Any]:
    """The content of a cursor that we signed for this list. Raises: Problem `bad-query`."""
    if len(cursor) > MAX_CURSOR_CHARS or not cursor.isascii():
        raise _bad_cursor()
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    payload = raw[_MAC_BYTES:]
    if not hmac.compare_digest(raw[:_MAC_BYTES], _mac(payload, secret, of)):
        raise _bad_cursor()
    content: dict[str, Any] = orjson.loads(payload)
    return content


def _mac(payload: bytes, secret: bytes, of: bytes) -> bytes:
    place = hashlib.sha256(of).digest()
    return hmac.digest(secret, b"estate cursor 2\x00" + place + payload, hashlib.sha256)


def _bad_cursor() -> Problem:
    fault = Fault("/cursor", "is not a cursor of this list; begin again without one")
    return Problem(BAD_QUERY, errors=[fault])


def _read_limit(value: object) -> int:
    text = str(value)
    if not _LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


Limit = Annotated[
    int,
    PlainValidator(_read_limit),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
            "description": "How many items at most.",
        }
    ),
]
"""Type of a `limit` parameter; write `limit: Limit = DEFAULT_LIMIT`."""


def _read_cursor_text(value: object) -> str:
    text = str(value)
    if not 0 < len(text) <= MAX_CURSOR_CHARS:
        raise ValueError("is not a cursor of this list; begin again without one")
    return text


Cursor = Annotated[
    str,
    PlainValidator(_read_cursor_text),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_CURSOR_CHARS,
            "description": "`next` of the page before; opaque.",
        }
    ),
]
"""Type of a `cursor` parameter; write `cursor: Cursor | None = None`."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `positions` are those it reflects, `registry:123,dependencies:45`."""

    items: Sequence[Any]
    next: str | None
    positions: str
    lag_ms: int | None

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "items": list(self.items),
            "next": self.next,
            "positions": self.positions,
            "lag_ms": self.lag_ms,
        }
