"""Owns holding ledger, log and topic against one another, from rows and bytes alone.

Must not use what writes them: what is read here is parsed as plain JSON.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import orjson

from shared.contracts.topics import events_topic
from shared.messaging.kafka import KafkaSettings
from shared.messaging.topic_reader import Record, TopicReader
from tests.faults.ledger import Entry

_EVENTS: Final = "SELECT position, stream, stream_version, body FROM log.events ORDER BY position"
_COMMANDS: Final = "SELECT key, outcome, first_position, last_position FROM log.commands"
_HEAD: Final = "SELECT position, publication, halted FROM log.head"


@dataclass(frozen=True, slots=True)
class Logged:
    """One row of the log, and its bytes as JSON."""

    position: int
    stream: str
    version: int
    body: bytes
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A whole log: events in order, positions by the key that caused them, commands by key."""

    log: str
    head: int
    publication: int
    halted: str | None
    events: list[Logged]
    commands: dict[str, tuple[Any, int | None, int | None]]
    by_key: dict[str, list[int]] = field(default_factory=dict)


async def read_log(dsn: str, log: str) -> Held:
    """Read a log whole, from one snapshot."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head = await connection.fetchrow(_HEAD)
            rows = await connection.fetch(_EVENTS)
            commands = await connection.fetch(_COMMANDS)
    finally:
        connection.terminate()
    assert head is not None
    by_key: dict[str, list[int]] = defaultdict(list)
    events = [Logged(row[0], row[1], row[2], row[3], orjson.loads(row[3])) for row in rows]
    for event in events:
        by_key[event.document["causationid"]].append(event.position)
    known = {row[0]: (orjson.loads(row[1]), row[2], row[3]) for row in commands}
    return Held(log, head["position"], head["publication"], head["halted"], events, known, by_key)


def faults_of_log(held: Held) -> list[str]:
    """Positions 1..n, versions of each stream 1..m, rows that say what their bytes say."""
    faults = [] if held.halted is None else [f"{held.log} is halted: {held.halted}"]
    if [event.position for event in held.events] != list(range(1, held.head + 1)):
        faults.append(f"{held.log} has not the positions 1 to {held.head}")
    versions: dict[str, int] = defaultdict(int)
    for event in held.events:
        versions[event.stream] += 1
        said = (event.document["position"], event.document["streamversion"])
        if event.version != versions[event.stream]:
            faults.append(f"{held.log}:{event.position} is not the next of {event.stream}")
        if said != (str(event.position), str(event.version)):
            faults.append(f"{held.log}:{event.position} says that it is {said}")
    return faults


async def records_of(kafka: KafkaSettings, topic: str) -> AsyncIterator[Record]:
    """Every record that a topic has now, in order."""
    reader = await TopicReader.open(kafka, topic)
    try:
        offset, end = await reader.bounds()
        reader.seek(offset)
        while offset < end:
            for record in await reader.poll(5_000, 1.0):
                offset = record.offset + 1
                yield record
    finally:
        await reader.close()


async def faults_of_topic(held: Held, kafka: KafkaSettings) -> list[str]:
    """The topic is the log byte for byte; repeats are allowed, inversions and holes are not."""
    bodies = {event.position: event.body for event in held.events}
    faults, last, expected_offset = [], 0, 0
    async for record in records_of(kafka, events_topic(held.log, held.publication)):
        position = _position(record.value)
        if not expected_offset and record.offset:
            faults.append(f"the topic of {held.log} begins at offset {record.offset}")
        if position > last + 1:
            faults.append(f"the topic of {held.log} leaves out {last + 1}..{position - 1}")
        if bodies.get(position) != record.value:
            faults.append(f"the topic of {held.log} has other bytes at {position}")
        last, expected_offset = max(last, position), record.offset + 1
    if last != held.head:
        faults.append(f"the topic of {held.log} ends at {last} of {held.head}")
    return faults


def _position(value: bytes | None) -> int:
    return int(orjson.loads(value or b"{}").get("position", 0))


def hold_entry(entry: Entry, held: Held) -> str:
    """What is wrong with one request, or nothing: its outcome as told, and as it is in the log."""
    key = entry.request.key
    positions, known = held.by_key.get(key, []), held.commands.get(key)
    if entry.state == "refused":
        is_there = known is not None or bool(positions)
        return f"doubled: refused, but in the log: {key}" if is_there and not entry.doubtful else ""
    if known is None:
        if positions:
            return f"doubled: events without their command: {key}"
        return f"lost: acknowledged, but not in the log: {key}" if entry.answer else ""
    answer, first, last = known
    expected = [] if first is None or last is None else list(range(first, last + 1))
    if positions != expected:
        missing = len(positions) < len(expected)
        return f"{'lost' if missing else 'doubled'}: {key} is at {positions}, not at {expected}"
    if entry.state == "accepted" and _told(entry) != (answer, positions):
        return f"lost: {key} was answered otherwise than the log says"
    return ""


def _told(entry: Entry) -> tuple[Any, list[int]]:
    """The answer and the positions as they were acknowledged."""
    answer = entry.answer or {}
    at = [int(event["position"].rsplit(":", 1)[1].split("@")[0]) for event in answer["events"]]
    return answer, at
