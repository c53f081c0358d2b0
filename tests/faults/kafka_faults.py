"""Owns the faults of Kafka: brokers killed, stopped and frozen, topics lost.

Must not judge what came of it.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Final

from cli.local_estate import ROOT
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic, newest_publication
from shared.messaging.kafka import KafkaSettings, ensure_topic, list_topics
from tests.faults.fault import EndedWronglyError, Lifted, NotReachedError
from tests.faults.world import LOGS, World

BROKERS_OF_A_CLUSTER: Final = 3
REACHED_WITHIN_S: Final = 45.0


async def kafka_killed(world: World, rng: random.Random) -> Lifted:
    await world.estate.backing.kill_kafka()
    await asyncio.sleep(rng.uniform(0, 4))
    lifted = time.monotonic()
    await world.estate.backing.start_kafka()
    return Lifted(lifted)


async def kafka_stopped(world: World, _rng: random.Random) -> Lifted:
    await world.estate.backing.stop_kafka()
    await asyncio.sleep(8)
    lifted = time.monotonic()
    await world.estate.backing.start_kafka()
    return Lifted(lifted)


async def kafka_frozen(world: World, rng: random.Random) -> Lifted:
    seconds = rng.choice([4, 8, 14])
    await world.estate.backing.freeze_kafka()
    await asyncio.sleep(seconds)
    await world.estate.backing.thaw_kafka()
    return Lifted(time.monotonic(), f"{seconds} s")


async def leader_killed(
    topic_of: Callable[[str, str], str], world: World, rng: random.Random
) -> Lifted:
    """The leader of a partition is killed; all must be well without it, and once it is back."""
    topic = topic_of(rng.choice(LOGS), world.organisation)
    leader, replicas = await partition_of(world.estate.kafka, topic)
    if replicas < BROKERS_OF_A_CLUSTER:
        raise NotReachedError(f"{topic} has {replicas} replicas")
    killed = time.monotonic()
    await world.estate.backing.kill_kafka(leader)
    try:
        await asyncio.sleep(rng.uniform(0, 4))
        without_s = await world.healthy(killed)
    finally:
        lifted = time.monotonic()
        await world.estate.backing.start_kafka(leader)
    return Lifted(lifted, f"broker {leader} of {topic}, healthy without it in {without_s:.1f} s")


async def topic_deleted(world: World, rng: random.Random) -> Lifted:
    """A log's topic is deleted; an operator begins a new publication."""
    await asyncio.sleep(rng.uniform(0, 1))
    log = rng.choice(LOGS)
    topic = await _delete_topic(world, log)
    return await _published_anew(world, log, topic)


async def topic_made_again(world: World, rng: random.Random) -> Lifted:
    """As `topic_deleted`, but somebody makes the topic again, empty, before the operator comes."""
    await asyncio.sleep(rng.uniform(0, 1))
    log = rng.choice(LOGS)
    topic = await _delete_topic(world, log)
    await _make_topic(world.estate.kafka, topic)
    return await _published_anew(world, log, topic)


async def _delete_topic(world: World, log: str) -> str:
    topics = await list_topics(world.estate.kafka)
    topic = events_topic(log, newest_publication(log, topics))
    admin = world.estate.kafka.admin()
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
    return topic


async def _make_topic(kafka: KafkaSettings, topic: str) -> None:
    async with asyncio.timeout(REACHED_WITHIN_S):
        while topic in await list_topics(kafka):
            await asyncio.sleep(0.05)
    await ensure_topic(kafka, topic, EVENT_TOPIC_CONFIG)


async def _published_anew(world: World, log: str, lost: str) -> Lifted:
    """What an operator does: see that the relay has stopped, publish anew, look after readers."""
    await _relay_has_stopped(world, log)
    lifted = time.monotonic()
    await _begin_publication(world, log)
    restarted = set[str]()
    async with asyncio.timeout(REACHED_WITHIN_S):
        while not (await world.checks(log)).get("relay", "").startswith("leading"):
            restarted |= await _restart_stopped(world)
            await asyncio.sleep(0.2)
    restarted |= await _restart_stopped(world)
    return Lifted(lifted, " ".join([lost, "restarted:" if restarted else "", *sorted(restarted)]))


async def _relay_has_stopped(world: World, log: str) -> None:
    said = ""
    try:
        async with asyncio.timeout(REACHED_WITHIN_S):
            while not said.startswith("stopped:"):
                await asyncio.sleep(0.1)
                said = (await world.checks(log)).get("relay", "")
    except TimeoutError:
        raise EndedWronglyError(f"the relay of {log} goes on without its topic: {said}") from None
    if not said.startswith("stopped:topic-lost"):
        raise EndedWronglyError(f"the relay of {log} has {said}")


async def _begin_publication(world: World, log: str) -> None:
    owner = {f"{log.upper()}_OWNER_DSN": world.estate.databases[log].owner_dsn}
    act = ("new-publication", "--by", "operator", "--reason", "the topic is gone")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{log}", "log", *act),
        cwd=ROOT,
        env={**os.environ, **owner},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise EndedWronglyError(f"no new publication of {log}: {said.decode()}")


async def _restart_stopped(world: World) -> set[str]:
    """Start again each service whose projection has stopped on the broken topic."""
    restarted = set[str]()
    for name, service in world.estate.services.items():
        checks = await world.checks(name)
        if any(said.startswith("stopped,") for said in checks.values()):
            await service.stop()
            await service.start()
            restarted.add(name)
    return restarted


async def partition_of(kafka: KafkaSettings, topic: str) -> tuple[int, int]:
    """Who leads the one partition of a topic, once there is such a topic, and how many have it."""
    admin = kafka.admin()
    await admin.start()
    try:
        async with asyncio.timeout(REACHED_WITHIN_S):
            while not (found := (await admin.describe_topics([topic]))[0]["partitions"]):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise NotReachedError(f"there is no {topic}") from None
    finally:
        await admin.close()
    return found[0]["leader"], len(found[0]["replicas"])
