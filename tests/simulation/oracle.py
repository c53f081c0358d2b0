"""Owns the oracle: whether a world at rest is as it should be, held against its clients' ledger.

Must look at what servers hold, never at what a part says of itself.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from shared.contracts.envelope import Event, leaf_of, parse_event
from shared.contracts.topics import submissions_topic
from shared.eventstore.merkle import Frontier
from tests.simulation.fake_broker import FakeBroker
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_read_model import SCHEMA, contents
from tests.simulation.fake_session import Session
from tests.simulation.faults import EVENTS
from tests.simulation.requests import LOG, ORGANISATIONS
from tests.simulation.senders import Entry, Ledger
from tests.simulation.world import World


def violations(world: World, ledger: Ledger) -> list[str]:
    """Everything that is not as it was promised."""
    tables = world.registry.tables
    rows = tables.get("events", {})
    events = [parse_event(rows[position]["body"]) for position in sorted(rows)]
    return [
        *(f"no fake of {text}" for database in world.databases() for text in database.unknown[:1]),
        *ledger.strange,
        *_faults_of_log(tables, events),
        *_faults_of_effects(tables, events, ledger),
        *_faults_of_topic(world.broker, events),
        *_faults_of_leading(world.broker),
        *_faults_of_submissions(world, ledger, events),
        *_faults_of_model(world.registry, events),
        *_faults_of_model(world.follower, events),
    ]


def _faults_of_log(tables: Any, events: list[Event]) -> Iterator[str]:
    """Positions and versions without gap, times that rise, a tree over just these leaves."""
    head, tree = tables["head"][True], Frontier(0, [])
    versions: Counter[str] = Counter()
    for position, event in enumerate(events, start=1):
        versions[event.stream] += 1
        tree.append(leaf_of(event.body))
        row = tables["events"].get(position)
        if row is None or event.position != position:
            yield f"the log has {event.where} in place of {position}"
        elif (row["stream"], row["stream_version"]) != (event.stream, event.stream_version):
            yield f"{position}: row and bytes differ"
        if event.stream_version != versions[event.stream]:
            yield f"{position}: version {event.stream_version} of {event.stream}"
        if position > 1 and event.recorded_at <= events[position - 2].recorded_at:
            yield f"{position} was recorded before the one in front of it"
    if (head["position"], head["tree"]) != (len(events), tree.to_bytes()):
        yield f"the head is at {head['position']} of {len(events)}, or its tree is another"
    if head["halted"] is not None:
        yield f"the log is halted: {head['halted']}"


def _faults_of_effects(tables: Any, events: list[Event], ledger: Ledger) -> Iterator[str]:
    by_key: dict[str, list[Event]] = {}
    for event in events:
        by_key.setdefault(event.origin.causation_id, []).append(event)
    commands = tables.get("commands", {})
    for key in sorted((by_key.keys() | commands.keys()) - ledger.entries.keys()):
        yield f"nobody asked for {key}"
    for key in sorted(by_key.keys() - commands.keys()):
        yield f"doubled or half done: events of {key} without their command"
    holders: dict[str, str] = {}
    for key, entry in ledger.entries.items():
        row = commands.get(key)
        if row is None:
            if entry.answers:
                yield f"lost: {key} was acknowledged"
            continue
        yield from _faults_of_effect(entry, row, by_key.get(key, []))
        yield from _faults_of_claim(entry, by_key.get(key, []), holders, tables)


def _faults_of_effect(entry: Entry, row: Any, made: list[Event]) -> Iterator[str]:
    key, document = entry.request.key, entry.request.wanted
    if len(made) != document["events"]:
        yield f"doubled or half done: {key} has {len(made)} events of {document['events']}"
    elif made:
        positions = [event.position for event in made]
        if positions != list(range(row["first_position"], row["last_position"] + 1)):
            yield f"{key} is at {positions}, not where its command says"
        if document["expects"] not in {None, made[0].stream_version - 1}:
            yield f"{key} was decided on version {made[0].stream_version - 1}"
    if any(answer != orjson.loads(row["outcome"]) for answer in entry.answers):
        yield f"{key} was answered otherwise than it is known"
    if entry.not_done or (entry.refused and not entry.is_open and not entry.by_kafka):
        yield f"{key} was answered as not done, but is in the log"


def _faults_of_claim(
    entry: Entry, made: list[Event], holders: dict[str, str], tables: Any
) -> Iterator[str]:
    name = entry.request.wanted["claim"]
    if not (name and made):
        return
    claim = tables.get("claims", {}).get(("name", name))
    stream = made[0].stream
    if holders.setdefault(name, stream) != stream or claim is None or claim["stream"] != stream:
        yield f"{name} has two holders"


def _faults_of_topic(broker: FakeBroker, events: list[Event]) -> Iterator[str]:
    """The log byte for byte: repeats may be, holes and inversions not."""
    last = 0
    topic = broker.topics.get(EVENTS)
    for record in topic.records if topic else ():
        position = int(orjson.loads(record.value or b"")["position"])
        if position > last + 1:
            yield f"the topic has {position} behind {last}"
        elif position > len(events):
            yield f"the topic has {position}, the log ends at {len(events)}"
        elif record.value != events[position - 1].body:
            yield f"the topic has other bytes at {position}"
        last = max(last, position)
    if last != len(events):
        yield f"the topic ends at {last}, the log at {len(events)}"


def _faults_of_leading(broker: FakeBroker) -> Iterator[str]:
    """A relay that another has followed puts no more on the topic than what was on its way."""
    topic = broker.topics.get(EVENTS)
    newest, late = 0, Counter[int]()
    for producer, _ in topic.sequences if topic else ():
        newest = max(newest, producer)
        late[producer] += producer < newest
    for batches in late.values():
        if batches > 1:
            yield f"{batches} batches of a relay came behind those of its successor"


def _faults_of_submissions(world: World, ledger: Ledger, events: list[Event]) -> Iterator[str]:
    """Each record is answered, in effect once; what was taken from one topic is in its order."""
    first: dict[str, int] = {}
    for event in reversed(events):
        first[event.origin.causation_id] = event.position
    rejections = world.registry.tables.get("rejections", {}).values()
    refused = Counter((row["organisation"], row["id"]) for row in rejections if row["topic"])
    by_kafka = [entry for entry in ledger.entries.values() if entry.by_kafka]
    for organisation in ORGANISATIONS:
        name = submissions_topic(LOG, organisation)
        entries = {e.request.raw: e for e in by_kafka if e.request.organisation == organisation}
        raws = [record.value or b"" for record in world.broker.topics[name].records]
        for raw in [one for one in entries if one in raws]:
            request = entries[raw].request
            is_known = request.key in world.registry.tables.get("commands", {})
            answers = refused[organisation, request.id]
            if not answers and not is_known:
                yield f"{request.id} was never answered"
            if name not in world.lost_topics and answers + is_known > raws.count(raw):
                yield from _answered_too_often(entries[raw], raws.count(raw), answers)
        if name not in world.lost_topics:
            # A refusal that was not stored yet is decided anew after a crash, on what came since.
            once = [entries[r] for r in raws if raws.count(r) == 1 and _is_taken_once(entries[r])]
            taken = [first[e.request.key] for e in once if e.request.key in first]
            if taken != sorted(taken):
                yield f"{name}: {taken} is another order than that of the topic"


def _is_taken_once(entry: Entry) -> bool:
    """Whether it came by one door only, and no rule could refuse it."""
    document = entry.request.wanted
    return not entry.by_http and document["expects"] is None and document["claim"] is None


def _answered_too_often(entry: Entry, times: int, answers: int) -> Iterator[str]:
    """What came over HTTP too may have been taken there."""
    if answers > times or not entry.by_http:
        yield f"{entry.request.id} came {times} times, was taken, and was refused {answers} times"


def _faults_of_model(database: FakeDatabase, events: list[Event]) -> Iterator[str]:
    """A read model is the fold of the log."""
    subjects = Counter(event.subject for event in events)
    latest = {event.subject: event.position for event in events}
    fold = {
        "history": [(LOG, e.position, e.subject, e.origin.causation_id) for e in events],
        "latest": sorted(latest.items()),
        "counts": sorted(subjects.items()),
    }
    found = contents(Session(database, None))
    for table, rows in fold.items():
        if [tuple(row.values()) for row in found[table]] != rows:
            yield f"{database.name}: {table} is not the fold of the log"
    checkpoint = database.tables[SCHEMA, "checkpoint"][LOG]
    digest = leaf_of(events[-1].body) if events else None
    if (checkpoint["position"], checkpoint["digest"]) != (len(events), digest):
        yield f"{database.name}: the checkpoint is at {checkpoint['position']} of {len(events)}"
