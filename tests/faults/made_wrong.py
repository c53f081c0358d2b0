"""Owns making an estate wrong on its real servers, and right again: what the oracle must name.

Must not be used while commands are taken.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from services.dependencies.read_models.projection import GRAPH
from shared.clock import SystemClock
from shared.projections.read_models import ReadModels
from tests.faults.held_log import Held, Logged
from tests.faults.ledger import read_ledger

NEVER: Final = "what was never to be answered"
MORE: Final = 1_000_000
"""A position that no log comes to."""
_REGISTERED: Final = "estate.service.registered.v1"


def wrong_ledger(true: Path, false: Path, credentials: Iterable[str]) -> str:
    """Write another ledger, of which one answer was never given; return the key of that."""
    entries = read_ledger(true).entries.values()
    accepted = [e for e in entries if (e.state, e.request.door) == ("accepted", "http")]
    # The first of those that the oracle sends again.
    entry = accepted[-200:][0]
    key, answer = entry.request.key, {**(entry.answer or {}), "id": "other"}
    lines: list[Mapping[str, object]] = [
        {"kind": "violation", "what": NEVER},
        {"kind": "accepted", "key": key, "answer": answer},
        *({"kind": "credential", "canary": one} for one in credentials),
    ]
    false.write_bytes(true.read_bytes() + b"".join(_line(line) for line in lines))
    return key


@asynccontextmanager
async def wrong_event(owner_dsn: str, event: Logged) -> AsyncIterator[None]:
    """Another version and other bytes in the log than were written."""
    change = "UPDATE log.events SET stream_version = $2, body = $3 WHERE position = $1"
    wrong = event.body.replace(b'"actor":"', b'"actor":"x')
    assert wrong != event.body
    connection = await asyncpg.connect(owner_dsn)
    try:
        await connection.execute(change, event.position, MORE, wrong)
        yield
    finally:
        await connection.execute(change, event.position, event.version, event.body)
        await connection.close()


@asynccontextmanager
async def wrong_edge(dsn: str, registry: Held) -> AsyncIterator[str]:
    """A dependency that the read model has of another service than declared; gives its id."""
    other = next(e.document for e in registry.events if e.document["type"] == _REGISTERED)
    slug, aliases = other["data"]["slug"], other["data"].get("aliases", ())
    edges = f"{await _schema_of_graph(dsn)}.edges"
    find = f"SELECT subject, from_name FROM {edges} WHERE from_name <> ALL($1)"
    change = f"UPDATE {edges} SET from_name = $2 WHERE subject = $1"
    connection = await asyncpg.connect(dsn)
    row = await connection.fetchrow(find, [other["subject"], slug, *aliases])
    assert row is not None
    try:
        await connection.execute(change, row["subject"], slug)
        yield row["subject"]
    finally:
        await connection.execute(change, *row)
        await connection.close()


@contextmanager
def wrong_end(path: Path) -> Iterator[None]:
    """There was more than a follower was sent."""
    sent = path.read_bytes()
    path.write_bytes(sent + _line({"positions": [], "ends": {"registry": MORE}}))
    try:
        yield
    finally:
        path.write_bytes(sent)


def _line(document: Mapping[str, object]) -> bytes:
    return orjson.dumps(document) + b"\n"


async def _schema_of_graph(dsn: str) -> str:
    """Where the generation that serves is."""
    models = ReadModels(dsn, GRAPH, SystemClock())
    try:
        return GRAPH.schema((await models.look()).number)
    finally:
        await models.stop()
