"""A registry's database is restored to an earlier point, and an operator lets it go on."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest_asyncio

from cli.local_estate import ROOT
from deploy.local.launcher import BackingServices
from shared.contracts.topics import events_topic, submissions_topic
from shared.database.provision import provision
from shared.messaging.kafka import KafkaSettings, list_topics
from tests.integration.messaging.log_under_test import read_topic
from tests.integration.messaging.topics import forget_topics, put
from tests.support.eventually import eventually
from tests.support.served_registry import LOG, ServedRegistry, serving_registry

_BACKUP = f"{LOG}_backup"
SUBMISSION = orjson.dumps(
    {
        "specversion": "1.0",
        "id": "first",
        "source": "crm",
        "type": "estate.service.register.v1",
        "subject": "crm:one",
        "time": "2026-01-01T00:00:00Z",
        "data": {"name": "One", "kind": "api"},
    }
)


@pytest_asyncio.fixture
async def registry(
    messaging_backing: BackingServices, kafka: KafkaSettings
) -> AsyncIterator[ServedRegistry]:
    admin = messaging_backing.postgres_dsn
    async with serving_registry(admin, messaging_backing.kafka) as registry:
        yield registry
    await forget_topics(kafka, LOG)
    await execute(
        admin, *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (LOG, _BACKUP))
    )


async def execute(admin: str, *statements: str) -> None:
    connection = await asyncpg.connect(admin, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=5)


async def back_up(registry: ServedRegistry, admin: str) -> None:
    """Keep the database as it is now."""
    await registry.process.stop()
    await execute(admin, f"CREATE DATABASE {_BACKUP} TEMPLATE {LOG}")
    await registry.process.start()
    await registry.process.ready()


async def restore(registry: ServedRegistry, admin: str) -> None:
    """Lose the database and bring the kept one back; return once the log is halted."""
    await registry.process.stop()
    await execute(
        admin,
        f"DROP DATABASE {LOG} WITH (FORCE)",
        f"CREATE DATABASE {LOG} TEMPLATE {_BACKUP} OWNER {LOG}_owner",
    )
    await provision(admin, LOG, "made-up")
    await registry.process.start()
    await registry.process.ready()

    async def is_halted() -> bool:
        return bool((await log_of(registry))["halted"])

    await eventually(is_halted)


async def until_on_topic(kafka: KafkaSettings, publication: int, count: int) -> list[bytes | None]:
    """Return the records of a publication once there are this many."""
    topic = events_topic(LOG, publication)

    async def is_there() -> bool:
        return topic in await list_topics(kafka) and len(await read_topic(kafka, topic)) == count

    await eventually(is_there)
    return [record.value for record in await read_topic(kafka, topic)]


async def operate(registry: ServedRegistry, *act: str) -> tuple[int | None, bytes, bytes]:
    """Run an act as an operator does; exit code, what it said, what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.registry", "log", *act),
        *("--by", "operator-7", "--reason", "disk lost"),
        env={**os.environ, "REGISTRY_OWNER_DSN": registry.access.owner_dsn},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, complained = await process.communicate()
    return process.returncode, said, complained


async def rebuilt(registry: ServedRegistry) -> int | None:
    """Have the service's read model made anew beside the running service; the exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.registry", "rebuild"),
        env={**os.environ, **registry.process.environment},
        cwd=ROOT,
    )
    async with asyncio.timeout(60):
        return await process.wait()


async def log_of(registry: ServedRegistry) -> dict[str, Any]:
    document: dict[str, Any] = (await registry.get("/v1/log")).document
    return document


async def test_a_registry_that_was_restored_to_an_earlier_point_goes_on_on_a_new_timeline(
    registry: ServedRegistry, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    admin = messaging_backing.postgres_dsn
    for number in range(4):
        await registry.settle(f"kept-{number}")
    await back_up(registry, admin)
    await registry.settle("lost-0")
    await registry.settle("lost-1")
    old_topic = await until_on_topic(kafka, 1, 6)
    await restore(registry, admin)
    assert (await log_of(registry))["halted"] == "relay: the topic ends at 6, the log at 4"
    refused = await registry.command("too-early")
    assert (refused.status, refused.problem) == (503, "log-halted")
    listed = (await registry.get("/v1/organisations")).document
    assert (len(listed["items"]), listed["positions"]) == (4, "registry:4")
    code, said, complained = await operate(registry, "new-publication")
    assert (code, said) == (1, b"")
    assert complained.startswith(b"Refused, nothing was changed. The log is halted (relay: ")

    code, said, complained = await operate(registry, "new-timeline", "--json")
    assert code == 0, complained
    done = orjson.loads(said)
    assert (done["timeline"], done["publication"], done["position"]) == (2, 2, 4)
    assert (await operate(registry, "lift-halt"))[0] == 1
    for name in ("lost-0", "lost-1"):
        del registry.acknowledged[name]
    told = await registry.command("lost-1")
    assert told.document["positions"] == "registry@2:5"
    listed = (await registry.get("/v1/organisations?min_position=registry@2:5")).document
    assert (len(listed["items"]), listed["positions"]) == (5, "registry@2:5")
    # Nobody was given a place that is not in the log: no use to wait for it.
    for beyond in ("registry@2:6", "registry@3:1"):
        assert (await registry.get(f"/v1/organisations?min_position={beyond}")).status == 400
    then = (await registry.get("/v1/organisations?known_at=registry@2:3")).document
    assert [one["slug"] for one in then["items"]] == ["kept-0", "kept-1", "kept-2"]
    assert (await registry.get("/v1/organisations?known_at=registry:3")).status == 400
    log = await log_of(registry)
    assert (log["timeline"], log["topic"], log["halted"]) == (2, events_topic(LOG, 2), None)
    (repair,) = log["repairs"]
    assert (repair["act"], repair["by"], repair["reason"], repair["position"]) == (
        *("new-timeline", "operator-7", "disk lost"),
        "registry@2:4",
    )
    await until_on_topic(kafka, 2, 5)
    assert await rebuilt(registry) == 0

    async def serves_what_was_rebuilt() -> bool:
        return "generation 2" in str((await registry.get("/readyz")).document)

    await eventually(serves_what_was_rebuilt)
    assert (await registry.get("/v1/organisations")).document["items"] == listed["items"]
    await registry.check()
    assert await until_on_topic(kafka, 1, 6) == old_topic


async def test_a_lost_submission_that_is_still_on_its_topic_is_taken_again(
    registry: ServedRegistry, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    admin = messaging_backing.postgres_dsn
    await registry.settle("kept")
    listed = (await registry.get("/v1/organisations?min_position=registry:1")).document
    (agency,) = listed["items"]
    topic = submissions_topic(LOG, agency["id"])

    async def is_made() -> bool:
        return topic in await list_topics(kafka)

    await eventually(is_made)
    await back_up(registry, admin)
    await put(kafka, topic, [SUBMISSION])
    await until_on_topic(kafka, 1, 2)
    await restore(registry, admin)
    assert (await operate(registry, "new-timeline"))[0] == 0
    await until_on_topic(kafka, 2, 2)
    (service,) = (await registry.get("/v1/services?min_position=registry@2:2")).document["items"]
    assert service["name"] == "One"
    await registry.check()
