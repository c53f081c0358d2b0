"""Owns rows of the events table in the form in which Postgres copies them out, packed and unpacked.

Must not judge them: a column may hold anything, null too.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"

_NULL: Final = -1
_COLUMNS: Final = 7
_COUNT: Final = Struct(">h")
_LENGTH: Final = Struct(">i")
_LONG: Final = Struct(">q")
# The count of columns, each length with its value, and at last the length of the stream.
_FIXED: Final = Struct(">h iq ii iq i32s i")
_FIXED_LENGTHS: Final = (_COLUMNS, 8, 4, 8, 32)


class Row(NamedTuple):
    """One row of `log.events`; `recorded_us` counts microseconds from 2000-01-01T00:00:00Z."""

    position: int | None
    stream_version: int | None
    recorded_us: int | None
    leaf: bytes | None
    stream: bytes | None
    type: bytes | None
    body: bytes | None


def pack_rows(rows: Iterable[Row]) -> bytes:
    """Write rows as the tuples of a binary COPY, without header and trailer."""
    packed = bytearray()
    for row in rows:
        packed += _COUNT.pack(_COLUMNS)
        for place, value in enumerate(row):
            packed += _pack_field(place, value)
    return bytes(packed)


def _pack_field(place: int, value: int | bytes | None) -> bytes:
    if value is None:
        return _LENGTH.pack(_NULL)
    if isinstance(value, int):
        value = (_LENGTH if place == Row._fields.index("stream_version") else _LONG).pack(value)
    return _LENGTH.pack(len(value)) + value


def unpack_rows(packed: bytes) -> Iterator[Row]:
    """Read the tuples of a binary COPY.

    Raises: ValueError when the bytes are not whole tuples of seven columns.
    """
    at = 0
    while at < len(packed):
        try:
            row, at = _unpack_row(packed, at)
        except Exception as error:
            detail = "the copied bytes are not whole rows of the events table"
            raise ValueError(detail) from error
        yield row


def _unpack_row(packed: bytes, start: int) -> tuple[Row, int]:
    """Read a row as it should be at once; any other row field by field."""
    columns, length_1, position, length_2, version, length_3, recorded, length_4, leaf, size = (
        _FIXED.unpack_from(packed, start)
        if start + _FIXED.size <= len(packed)
        else (0, 0, 0, 0, 0, 0, 0, 0, b"", 0)
    )
    if (columns, length_1, length_2, length_3, length_4) != _FIXED_LENGTHS or size < 0:
        return _unpack_fields(packed, start)
    at = start + _FIXED.size + size
    stream = packed[at - size : at]
    (size,) = _LENGTH.unpack_from(packed, at)
    if size < 0:
        return _unpack_fields(packed, start)
    at += 4 + size
    type_ = packed[at - size : at]
    (size,) = _LENGTH.unpack_from(packed, at)
    if size < 0:
        return _unpack_fields(packed, start)
    at += 4 + size
    if at > len(packed):
        raise ValueError("a row is cut off")
    return Row(position, version, recorded, leaf, stream, type_, packed[at - size : at]), at


def _unpack_fields(packed: bytes, start: int) -> tuple[Row, int]:
    (columns,) = _COUNT.unpack_from(packed, start)
    if columns != _COLUMNS:
        raise ValueError(f"a row has {columns} columns")
    at, fields = start + _COUNT.size, []
    for _ in range(_COLUMNS):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size
        fields.append(None if length == _NULL else packed[at : at + length])
        at += max(length, 0)
    if at > len(packed):
        raise ValueError("a row is cut off")
    position, version, recorded, leaf, stream, type_, body = fields
    row = Row(_integer(position), _integer(version), _integer(recorded), leaf, stream, type_, body)
    return row, at


def _integer(field: bytes | None) -> int | None:
    return None if field is None else int.from_bytes(field, "big", signed=True)
