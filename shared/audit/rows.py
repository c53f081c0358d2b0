"""Owns rows of the events table in the form in which Postgres copies them out, packed and unpacked.

Must not judge them: a column may hold anything, null too.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"

_NULL: Final = -1
_COLUMNS: Final = 7
_TO_STREAM: Final = Struct(">hiqi")
_TO_TYPE: Final = Struct(">iii")
_TO_LEAF: Final = Struct(">iqi")
_COUNT: Final = Struct(">h")
_LENGTH: Final = Struct(">i")
_LONG: Final = Struct(">q")


class Row(NamedTuple):
    """One row of `log.events`; `recorded_us` counts microseconds from 2000-01-01T00:00:00Z."""

    position: int | None
    stream: bytes | None
    stream_version: int | None
    type: bytes | None
    recorded_us: int | None
    leaf: bytes | None
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


def unpack_rows(packed: bytes) -> list[Row]:
    """Read the tuples of a binary COPY.

    Raises: ValueError when the bytes are not whole tuples of seven columns.
    """
    rows, at = [], 0
    try:
        while at < len(packed):
            row, at = _unpack_row(packed, at)
            rows.append(row)
    except Exception as error:
        raise ValueError("the copied bytes are not whole rows of the events table") from error
    return rows


def _unpack_row(packed: bytes, start: int) -> tuple[Row, int]:
    """Read a row without nulls in four steps; any other row field by field."""
    columns, length_1, position, stream_length = _TO_STREAM.unpack_from(packed, start)
    if columns != _COLUMNS or length_1 != _LONG.size or stream_length < 0:
        return _unpack_fields(packed, start)
    at = start + _TO_STREAM.size + stream_length
    stream = packed[at - stream_length : at]
    length_3, version, type_length = _TO_TYPE.unpack_from(packed, at)
    if length_3 != _LENGTH.size or type_length < 0:
        return _unpack_fields(packed, start)
    at += _TO_TYPE.size + type_length
    type_ = packed[at - type_length : at]
    length_5, recorded_us, leaf_length = _TO_LEAF.unpack_from(packed, at)
    if length_5 != _LONG.size or leaf_length < 0:
        return _unpack_fields(packed, start)
    at += _TO_LEAF.size + leaf_length
    leaf = packed[at - leaf_length : at]
    (body_length,) = _LENGTH.unpack_from(packed, at)
    if body_length < 0:
        return _unpack_fields(packed, start)
    at += _LENGTH.size + body_length
    if at > len(packed):
        raise ValueError("a row is cut off")
    body = packed[at - body_length : at]
    return Row(position, stream, version, type_, recorded_us, leaf, body), at


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
    position, stream, version, type_, recorded, leaf, body = fields
    row = Row(_integer(position), stream, _integer(version), type_, _integer(recorded), leaf, body)
    return row, at


def _integer(field: bytes | None) -> int | None:
    return None if field is None else int.from_bytes(field, "big", signed=True)
