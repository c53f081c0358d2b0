"""Owns making small logs as the writer would, in memory, and changing them afterwards.

Must not use the verifier's own code for anything that it is to be tested on.
"""

import json
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.audit.findings import HeadRow, LogCheckpoint, LogReport
from shared.audit.rows import Row, pack_rows
from shared.audit.topic_reading import TopicReading, read_topic
from shared.audit.verify import verify_log
from shared.clock import format_instant
from shared.contracts.envelope import leaf_of, seal
from shared.eventstore.merkle import Frontier

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
BEGUN: Final = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DATA: Final[Sequence[Any]] = (
    {"name": "Apply for a licence", "kind": "api", "count": 7},
    {"name": "Gwneud cais — ymholiad", "aliases": ["a:1", "b:é"], "empty": {}},
    {"text": 'quote " backslash \\ tab \t bell \x07 delete \x7f', "none": None, "yes": True},
    {"deep": [[{"b": [1, -5, 2**53 - 1], "a": False}]], "emoji": "\U0001f600"},
    {},
)


@dataclass(frozen=True)
class SmallLog:
    """Rows as in the table, and the head that belongs to them."""

    rows: tuple[Row, ...]
    head: HeadRow

    def with_row(self, at: int, /, **columns: Any) -> "SmallLog":
        """Change columns of one row and nothing else."""
        rows = list(self.rows)
        rows[at - 1] = rows[at - 1]._replace(**columns)
        return replace(self, rows=tuple(rows))

    def resealed(self, at: int, /, **attributes: Any) -> "SmallLog":
        """Change an event and make its row right by itself; the head stays."""
        changed = json.loads(self.bodies[at - 1]) | attributes
        salt = bytes.fromhex(changed.pop("datasalt"))
        data = changed.pop("data")
        body, leaf = seal(changed, data, salt)
        return self.with_row(at, **columns_of(body) | {"leaf": leaf, "body": body})

    def with_own_head(self) -> "SmallLog":
        """Give the log the head that its rows lead to."""
        return replace(self, head=head_of(self.rows))

    @property
    def bodies(self) -> list[bytes]:
        """What a relay would publish."""
        return [row.body or b"" for row in self.rows]

    def checkpoint(self, position: int | None = None) -> LogCheckpoint:
        """What an auditor would have kept at a position."""
        size = self.head.position if position is None else position
        tree = Frontier(0, [])
        for row in self.rows[:size]:
            tree.append(row.leaf or b"")
        return LogCheckpoint(self.head.log, self.head.timeline, size, tree.root())


def columns_of(body: bytes) -> dict[str, Any]:
    """The columns that belong to an event, but for leaf and body."""
    event = json.loads(body)
    recorded = datetime.fromisoformat(event["recordedtime"]) - EPOCH
    return {
        "position": int(event["position"]),
        "stream_version": int(event["streamversion"]),
        "recorded_us": recorded // timedelta(microseconds=1),
        "stream": f"{event['type'].split('.')[1]}-{event['subject']}".encode(),
        "type": event["type"].encode(),
    }


def row_of(body: bytes, leaf: bytes | None = None) -> Row:
    """The row that belongs to an event."""
    return Row(**columns_of(body), leaf=leaf or leaf_of(body), body=body)


def head_of(rows: Sequence[Row], log: str = "registry") -> HeadRow:
    """The head that belongs to rows."""
    tree = Frontier(0, [])
    for row in rows:
        tree.append(row.leaf or b"")
    recorded_us = rows[-1].recorded_us or 0 if rows else 0
    return HeadRow(log, 1, 1, tree.size, recorded_us, tree.to_bytes())


def attributes_at(position: int, version: int, subject: str) -> dict[str, Any]:
    """The envelope of an event, as the writer makes it."""
    recorded_at = BEGUN + timedelta(milliseconds=position)
    attributes = {
        "specversion": "1.0",
        "id": f"evt_{position:032x}",
        "source": "estate/registry",
        "type": "estate.service.role_assigned.v1",
        "subject": subject,
        "time": format_instant(BEGUN),
        "datacontenttype": "application/json",
        "position": str(position),
        "timeline": "1",
        "streamversion": str(version),
        "recordedtime": format_instant(recorded_at),
        "actor": "principal-1",
        "credentialid": "0a1b2c3d",
        "door": "http",
        "correlationid": f"request-{position}",
        "causationid": f"org_1|source \\ {position}" if position % 7 == 0 else f"key-{position}",
    }
    if position % 3:
        attributes["organisation"] = "org_00000000000000000000000000000001"
    return attributes


def build_log(size: int, seed: int = 1) -> SmallLog:
    """Make a log of events of several streams; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose.
    versions: dict[str, int] = {}
    rows = []
    for position in range(1, size + 1):
        subject = f"svc_{chance.randrange(max(size // 4, 1)):032x}"
        versions[subject] = versions.get(subject, 0) + 1
        attributes = attributes_at(position, versions[subject], subject)
        data = DATA[chance.randrange(len(DATA))]
        body, leaf = seal(attributes, data, chance.randbytes(16))
        rows.append(row_of(body, leaf))
    return SmallLog(tuple(rows), head_of(rows))


async def batches(rows: Sequence[Row], size: int = 16) -> AsyncIterator[bytes]:
    """Rows as a source hands them over."""
    for start in range(0, len(rows), size):
        yield pack_rows(rows[start : start + size])


async def published(bodies: Iterable[bytes]) -> TopicReading:
    """What reading a topic of these records leads to."""

    async def records() -> AsyncIterator[bytes]:
        for body in bodies:
            yield body

    return await read_topic(records())


async def verify(
    log: SmallLog,
    *,
    checkpoint: LogCheckpoint | None = None,
    topic: Iterable[bytes] | None = None,
    batch_size: int = 16,
) -> LogReport:
    """Verify a log in memory."""
    reading = None if topic is None else await published(topic)
    return await verify_log(
        batches(log.rows, batch_size), log.head, checkpoint=checkpoint, topic=reading
    )
