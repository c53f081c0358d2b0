"""Whoever runs the database changes the history; an auditor finds out where."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import pytest

from shared.contracts.envelope import seal
from shared.eventstore.merkle import Frontier
from tests.support.demo_runs import ESTATE, Demonstrated, own_servers
from tests.support.e2e_config import E2eConfig, seeded

pytestmark = pytest.mark.timeout(400)

Connection = asyncpg.Connection
_RESTORE = """
INSERT INTO log.events (position, stream, stream_version, type, recorded_at, leaf, body)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_CHANGES = {
    "a byte of the body": "body = set_byte(body, $2, get_byte(body, $2) # 1)",
    "a byte of the leaf": "leaf = set_byte(leaf, $2 % 32, get_byte(leaf, $2 % 32) # 1)",
    "the stream": "stream = stream || $2::int",
    "the version": "stream_version = stream_version + 1000000 + $2::int",
    "the type": "type = type || $2::int",
    "the time": "recorded_at = recorded_at + make_interval(secs => 0.000001 + $2::int * 0)",
}


async def verified(run: Demonstrated, *options: str) -> tuple[int | None, Any]:
    """The exit code, and the first fault of each log."""
    process = await asyncio.create_subprocess_exec(
        *(str(ESTATE), "verify", "--json", "--state", str(run.state), *options),
        env=own_servers(),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    document = json.loads(output)
    assert document["ok"] == (process.returncode == 0)
    return process.returncode, {one["log"]: one["first_fault"] for one in document["logs"]}


@asynccontextmanager
async def superuser(run: Demonstrated, log: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(run.superuser_dsn(log), timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@asynccontextmanager
async def row_at(connection: Connection, position: int) -> AsyncIterator[asyncpg.Record]:
    """A row for changing; it is as it was afterwards."""
    (row,) = await connection.fetch("SELECT * FROM log.events WHERE position = $1", position)
    tree = await connection.fetchval("SELECT tree FROM log.head")
    changed = "DELETE FROM log.events WHERE position = $1"
    try:
        yield row
    finally:
        async with connection.transaction():
            await connection.execute(changed, position)
            await connection.execute(_RESTORE, *row)
            await connection.execute("UPDATE log.head SET tree = $1", tree)


@pytest.mark.parametrize("what", _CHANGES)
async def test_changed_column_is_found_where_it_is(
    demonstrated: Demonstrated, chosen: E2eConfig, what: str
) -> None:
    chance = seeded(chosen.seed + list(_CHANGES).index(what))
    log = chance.choice(["registry", "dependencies"])
    position = chance.randint(1, demonstrated.first.report["logs"][log]["position"])
    async with superuser(demonstrated, log) as connection, row_at(connection, position) as row:
        at = chance.randrange(len(row["body"]))
        change = f"UPDATE log.events SET {_CHANGES[what]} WHERE position = $1"
        assert await connection.execute(change, position, at) == "UPDATE 1"
        code, faults = await verified(demonstrated)

    assert code == 1
    assert faults.pop(log)["position"] == position
    assert list(faults.values()) == [None]


async def test_changed_order_is_found_where_it_begins(
    demonstrated: Demonstrated, chosen: E2eConfig
) -> None:
    last = demonstrated.first.report["logs"]["registry"]["position"]
    position = seeded(chosen.seed).randint(1, last - 1)
    async with superuser(demonstrated, "registry") as connection:
        await _swap_with_next(connection, position)
        try:
            code, faults = await verified(demonstrated)
        finally:
            await _swap_with_next(connection, position)

    assert code == 1
    assert faults["registry"]["position"] == position
    assert faults["dependencies"] is None


async def test_removed_event_is_found_where_it_was(demonstrated: Demonstrated) -> None:
    position = demonstrated.first.report["logs"]["registry"]["position"] // 2
    async with superuser(demonstrated, "registry") as connection, row_at(connection, position):
        await connection.execute("DELETE FROM log.events WHERE position = $1", position)
        code, faults = await verified(demonstrated, "--no-topic")

    assert code == 1
    assert faults["registry"]["position"] == position


async def test_consistent_rewrite_is_found_by_a_checkpoint_and_by_the_topic(
    demonstrated: Demonstrated,
) -> None:
    kept = ("--against", str(demonstrated.state / "checkpoint.json"))
    async with superuser(demonstrated, "registry") as connection:
        position = await _a_hand_over(connection)
        async with row_at(connection, position) as row:
            await _rewrite(connection, row)
            alone = await verified(demonstrated, "--no-topic")
            against = await verified(demonstrated, "--no-topic", *kept)
            with_topic = await verified(demonstrated)
    restored = await verified(demonstrated, *kept)

    assert alone == (0, {"registry": None, "dependencies": None})
    assert against[0] == with_topic[0] == 1
    assert against[1]["registry"]["reason"] == "checkpoint-mismatch"
    assert with_topic[1]["registry"]["position"] == position
    assert restored == (0, {"registry": None, "dependencies": None})


async def _swap_with_next(connection: Connection, position: int) -> None:
    """At once: what follows the log must not see an event behind its head."""
    move = "UPDATE log.events SET position = $2 WHERE position = $1"
    aside = position + 1_000_000
    async with connection.transaction():
        for one, other in ((position, aside), (position + 1, position), (aside, position + 1)):
            assert await connection.execute(move, one, other) == "UPDATE 1"


async def _a_hand_over(connection: Connection) -> int:
    """An event that says which team had a service before: what somebody may want to forget."""
    position: int = await connection.fetchval(
        "SELECT position FROM log.events WHERE type = 'estate.service.role_assigned.v1'"
        " ORDER BY position OFFSET 700 LIMIT 1"
    )
    return position


async def _rewrite(connection: Connection, row: asyncpg.Record) -> None:
    """Change an event's data and make everything fit again that the database holds."""
    attributes = orjson.loads(row["body"])
    data, salt = attributes.pop("data"), bytes.fromhex(attributes.pop("datasalt"))
    attributes.pop("datahash")
    body, leaf = seal(attributes, {**data, "reason": "It has always been so."}, salt)
    assert body != row["body"]
    await connection.execute(
        "UPDATE log.events SET body = $2, leaf = $3 WHERE position = $1",
        *(row["position"], body, leaf),
    )
    tree = Frontier(0, [])
    for one in await connection.fetch("SELECT leaf FROM log.events ORDER BY position"):
        tree.append(one["leaf"])
    await connection.execute("UPDATE log.head SET tree = $1", tree.to_bytes())
