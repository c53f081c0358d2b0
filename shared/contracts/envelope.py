"""Owns the CloudEvents 1.0 envelope of a logged event: its attributes, its bytes, its leaf hash.

Must not know any event's data; that is the models' concern.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from shared.contracts.canonical import canonical_bytes
from shared.contracts.names import Position

LEAF_PREFIX: Final = b"\x00"
SALT_BYTES: Final = 16
SOURCE_PREFIX: Final = "estate/"
_CONTENT_TYPE: Final = "application/json"
_BETWEEN: Final = f'"datacontenttype":"{_CONTENT_TYPE}","datahash":"%b"'.encode()


@dataclass(frozen=True, slots=True)
class Origin:
    """Who caused events, through which door, and as an effect of what.

    `actor` and `organisation` are opaque ids; `causation_id` is the command's key.
    """

    actor: str
    credential_id: str
    organisation: str | None
    door: str
    correlation_id: str
    causation_id: str


@dataclass(frozen=True, slots=True)
class Event:
    """One logged event as readers see it; `body` holds the exact bytes that the log hashed."""

    log: str
    position: int
    timeline: int
    id: str
    type: str
    subject: str
    stream_version: int
    effective_at: datetime
    recorded_at: datetime
    origin: Origin
    data: Mapping[str, Any] | None
    body: bytes = field(repr=False)

    @property
    def stream(self) -> str:
        """The stream `<kind>-<id>`; the kind is the second part of the type."""
        return stream_of(self.type, self.subject)

    @property
    def where(self) -> Position:
        """The event's place in its log."""
        return Position(self.log, self.position, self.timeline)


def stream_of(event_type: str, subject: str) -> str:
    """Name the stream that an event of this type and subject belongs to."""
    return f"{event_type.split('.', 2)[1]}-{subject}"


def seal(attributes: dict[str, Any], data: Any, salt: bytes) -> tuple[bytes, bytes]:
    """Finish an event: return its canonical bytes and its RFC 6962 leaf hash.

    `attributes` is every envelope attribute whose name does not begin with `data`; it is changed.
    The leaf covers the event without `data` and `datasalt`, so content can be redacted and an
    event proven without being shown.
    Source: RFC 6962 section 2.1; docs/adr/0003-leaf-without-data.md.
    """
    data_bytes = canonical_bytes(data)
    data_hash = hashlib.sha256(salt + data_bytes).hexdigest()
    attributes["datacontenttype"] = _CONTENT_TYPE
    attributes["datahash"] = data_hash
    proven = canonical_bytes(attributes)
    leaf = hashlib.sha256(LEAF_PREFIX + proven).digest()
    # In canonical order these two stand between `data` and `datasalt`; a quote that is not escaped
    # is in no text, so they stand once.
    between = _BETWEEN % data_hash.encode()
    before, _, after = proven.partition(between)
    body = b'%b"data":%b,%b,"datasalt":"%b"%b' % (
        before,
        data_bytes,
        between,
        salt.hex().encode(),
        after,
    )
    return body, leaf


def leaf_of(body: bytes) -> bytes:
    """Compute an event's leaf hash from its bytes: the digest by which feeds prove their place."""
    attributes = orjson.loads(body)
    attributes.pop("data", None)
    attributes.pop("datasalt", None)
    return hashlib.sha256(LEAF_PREFIX + canonical_bytes(attributes)).digest()


def parse_event(body: bytes) -> Event:
    """Read a logged event from its bytes.

    Raises: ValueError when the bytes are not an event of this envelope.
    """
    try:
        attributes = orjson.loads(body)
        if not attributes["source"].startswith(SOURCE_PREFIX):
            raise ValueError("not an event of this envelope: its source is no log")
        return Event(
            log=attributes["source"].removeprefix(SOURCE_PREFIX),
            position=int(attributes["position"]),
            timeline=int(attributes["timeline"]),
            id=attributes["id"],
            type=attributes["type"],
            subject=attributes["subject"],
            stream_version=int(attributes["streamversion"]),
            effective_at=datetime.fromisoformat(attributes["time"]),
            recorded_at=datetime.fromisoformat(attributes["recordedtime"]),
            origin=Origin(
                actor=attributes["actor"],
                credential_id=attributes["credentialid"],
                organisation=attributes.get("organisation"),
                door=attributes["door"],
                correlation_id=attributes["correlationid"],
                causation_id=attributes["causationid"],
            ),
            data=attributes.get("data"),
            body=body,
        )
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
        raise ValueError(f"not an event of this envelope: {error!r}") from error
