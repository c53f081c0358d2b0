"""Owns what the bytes of one event must be by themselves: canonical, complete, true to its hashes.

Must not know the row or the neighbours of the event, nor share code with the writer.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from shared.audit.canonical import (
    NotCanonicalError,
    is_form_of,
    read_value,
    write_text,
    write_value,
)
from shared.audit.merkle import hash_leaf

MAX_BODY_BYTES: Final = 1024 * 1024

_WHITE_SPACE: Final = " \t\r\n"
_UNCOVERED: Final = frozenset({"data", "datasalt"})
_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - every instant here is in UTC.
_US_PER_S: Final = 1_000_000
_US_PER_DAY: Final = 86_400 * _US_PER_S

_TEXT: Final = r'[^"\\\x00-\x1f]+'  # Of JSON, so without what has to be escaped.
_COUNT: Final = r"[1-9][0-9]{0,17}"
_INSTANT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_VISIBLE: Final = r"[!#-\[\]-~]+"  # ASCII, without quote, backslash and space.
_PATTERNS: Final[Mapping[str, str]] = {
    "actor": _TEXT,
    "causationid": _TEXT,
    "correlationid": _TEXT,
    "credentialid": _TEXT,
    "datacontenttype": r"application/json",
    "datahash": r"[0-9a-f]{64}",
    "door": r"[a-z]+",
    "id": _VISIBLE,
    "organisation": _TEXT,
    "position": _COUNT,
    "recordedtime": _INSTANT,
    "source": r"estate/[a-z0-9_-]+",
    "specversion": r"1\.0",
    "streamversion": _COUNT,
    "subject": _VISIBLE,
    "time": _INSTANT,
    "timeline": _COUNT,
    "type": r"estate\.[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+\.v[1-9][0-9]*",
}
_FREE_TEXT: Final = frozenset(name for name, pattern in _PATTERNS.items() if pattern == _TEXT)
_OPTIONAL: Final = frozenset({"organisation"})
_COMPILED: Final = {name: re.compile(pattern) for name, pattern in _PATTERNS.items()}
_PLACING: Final = (
    "position",
    "recordedtime",
    "source",
    "streamversion",
    "subject",
    "time",
    "timeline",
    "type",
)
_SOURCE_PREFIX: Final = "estate/"
_SALT: Final = re.compile(r"[0-9a-f]{32}")


class EventFaultError(Exception):
    """The bytes are not an event's; `reason` is that of the fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SealedEvent(NamedTuple):
    """What an event says of its place, and the leaf hash that its bytes have."""

    log: str
    position: int
    timeline: int
    stream: str
    stream_version: int
    type: str
    recorded_us: int
    leaf: bytes
    is_redacted: bool


def open_event(body: bytes) -> SealedEvent:
    """Check an event's bytes and read its place from them.

    Raises: EventFaultError.
    """
    if len(body) > MAX_BODY_BYTES:
        raise EventFaultError("body-unreadable", f"the body has {len(body)} bytes")
    return _open_plain(body) or open_by_parsing(body)


def open_by_parsing(body: bytes) -> SealedEvent:
    """Do as `open_event` for any event, at three times the cost.

    Raises: EventFaultError.
    """
    attributes, text = _read_attributes(body)
    try:
        members = [
            f"{write_text(name)}:{write_value(attributes[name], 1)}" for name in sorted(attributes)
        ]
    except NotCanonicalError as error:
        raise EventFaultError("body-not-canonical", f"the body {error}") from None
    if f"{{{','.join(members)}}}" != text:
        raise EventFaultError("body-not-canonical", "the body is not in canonical form")
    _check_attributes(attributes)
    covered = [
        member
        for name, member in zip(sorted(attributes), members, strict=True)
        if name not in _UNCOVERED
    ]
    if not _UNCOVERED.isdisjoint(attributes):
        _check_data(attributes)
    leaf = hash_leaf(f"{{{','.join(covered)}}}".encode())
    placing = [attributes[name] for name in _PLACING]
    return _sealed(placing, leaf, "data" not in attributes)


def _read_attributes(body: bytes) -> tuple[dict[str, Any], str]:
    try:
        text = body.decode()
        stripped = text.strip(_WHITE_SPACE)
        attributes, end = read_value(stripped)
    except NotCanonicalError as error:
        raise EventFaultError("body-not-canonical", f"the body {error}") from None
    except ValueError:
        raise EventFaultError("body-unreadable", "the body is not JSON in UTF-8") from None
    if end != len(stripped) or not isinstance(attributes, dict):
        raise EventFaultError("body-unreadable", "the body is not one JSON object")
    return attributes, text


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    unknown = attributes.keys() - _PATTERNS.keys() - _UNCOVERED
    if unknown:
        raise EventFaultError("envelope-malformed", f"it has {len(unknown)} unknown attributes")
    for name, pattern in _COMPILED.items():
        value = attributes.get(name)
        if value is None and name not in attributes:
            if name in _OPTIONAL:
                continue
            raise EventFaultError("envelope-incomplete", f"the attribute {name} is missing")
        if not isinstance(value, str) or not (
            value if name in _FREE_TEXT else pattern.fullmatch(value)
        ):
            raise EventFaultError("envelope-malformed", f"the attribute {name} is malformed")


def _check_data(attributes: Mapping[str, Any]) -> None:
    salt = attributes.get("datasalt")
    if "data" not in attributes or "datasalt" not in attributes:
        detail = "of data and datasalt one is there without the other"
        raise EventFaultError("data-mismatch", detail)
    if not isinstance(salt, str) or not _SALT.fullmatch(salt):
        raise EventFaultError("envelope-malformed", "the attribute datasalt is malformed")
    data = write_value(attributes["data"], 1).encode()
    _check_data_hash(attributes["datahash"], salt, data)


def _check_data_hash(expected: str, salt: str, data: bytes) -> None:
    if sha256(bytes.fromhex(salt) + data).hexdigest() != expected:
        raise EventFaultError("data-mismatch", "the data does not have the hash in datahash")


def _sealed(attributes: Sequence[str], leaf: bytes, is_redacted: bool) -> SealedEvent:
    """Read what places an event from the attributes that `_PLACING` names, in that order."""
    position, recorded, source, version, subject, time, timeline, type_ = attributes
    try:
        _second(time[:19])
        recorded_us = _second(recorded[:19]) + int(recorded[20:26])
    except ValueError:
        detail = "time or recordedtime is no date of the calendar"
        raise EventFaultError("envelope-malformed", detail) from None
    return SealedEvent(
        source[len(_SOURCE_PREFIX) :],
        int(position),
        int(timeline),
        f"{_kind(type_)}-{subject}",
        int(version),
        type_,
        recorded_us,
        leaf,
        is_redacted,
    )


@lru_cache(4096)
def _second(instant: str) -> int:
    """Microseconds from 2000-01-01T00:00:00Z to a second, written without its zone."""
    since = datetime.fromisoformat(instant) - _EPOCH
    return since.days * _US_PER_DAY + since.seconds * _US_PER_S


@lru_cache(4096)
def _kind(type_: str) -> str:
    return type_.split(".", 2)[1]


_READ: Final = frozenset({*_PLACING, "datahash", "datasalt"})


def _plain_member(name: str) -> str:
    pattern = _SALT.pattern if name == "datasalt" else _PATTERNS[name]
    group = f"(?P<{name}>{pattern})" if name in _READ else pattern
    member = f'"{name}":"{group}"'
    return f"(?:,{member})?" if name in _OPTIONAL else f",{member}"


_NAMES: Final = sorted(_PATTERNS.keys() | {"datasalt"})
_BEFORE_DATA: Final = re.compile(
    "{" + "".join(_plain_member(name) for name in _NAMES if name < "data")[1:] + ',"data":'
)
_BEHIND_DATA: Final = re.compile(
    "".join(_plain_member(name) for name in _NAMES if name > "data") + "}"
)
_DATA_NAME: Final = len(',"data":')
_SALT_NAME: Final = len(',"datasalt":"')


def _open_plain(body: bytes) -> SealedEvent | None:
    """Open an event whose envelope is ASCII without escapes, as nearly all are; None for others.

    Such an envelope is canonical where it matches, letter by letter; only the data, which may be
    any JSON, is parsed and written again.

    Raises: EventFaultError.
    """
    text = body.decode("ascii") if body.isascii() else ""
    before = _BEFORE_DATA.match(text)
    if before is None:
        return None
    start = before.end()
    try:
        data, end = read_value(text, start)
        if not is_form_of(data, text[start:end]):
            return None
    except ValueError:
        return None
    behind = _BEHIND_DATA.fullmatch(text, end)
    if behind is None:
        return None
    # In ASCII, what is a place in the text is a place in the bytes.
    _check_data_hash(behind["datahash"], behind["datasalt"], body[start:end])
    salt_start, salt_end = behind.start("datasalt") - _SALT_NAME, behind.end("datasalt") + 1
    leaf = hash_leaf(body[: start - _DATA_NAME] + body[end:salt_start] + body[salt_end:])
    return _sealed(behind.group(*_PLACING), leaf, False)  # noqa: FBT003 - the hottest call.
