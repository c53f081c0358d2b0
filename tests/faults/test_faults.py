"""Owns the few trials that `make test` makes, and the check that the oracle would find a fault.

Must not grow long; `make faults` runs them all, as often as is wished.
"""

import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import aiohttp
import asyncpg
import orjson
import pytest
import pytest_asyncio

from cli.local_estate import ROOT
from shared.contracts.topics import EVENT_TOPIC_CONFIG, events_topic, rejections_topic
from shared.messaging.kafka import KafkaSettings, drop_producer, ensure_topic, start_producer
from tests.faults.held_log import Held, faults_of_topic, read_log
from tests.faults.held_secrets import Hidden, shown_in_metrics, shown_on_topics
from tests.faults.held_views import faults_of_trees
from tests.faults.ledger import Told, read_ledger
from tests.faults.made_wrong import MORE, NEVER, wrong_edge, wrong_end, wrong_event, wrong_ledger
from tests.faults.oracle import judge
from tests.faults.running import Trial, ask_oracle, run_trial
from tests.faults.trials import FAULTS
from tests.faults.world import World, running_world

KILLED = [fault for fault in FAULTS if "killed at" in fault]
SERVERS = ("Postgres killed", "Postgres stopped", "connections cut", "COMMITs cut", "Kafka killed")
EVERYWHERE = ["estate_build", "specversion", "event"]
"""As if they were credentials: what stands in all metrics, in all records, in all log files."""
OTHERS = ("submissions sent three times", "one service killed", "graceful stop")


def seed_of_this_change() -> int:
    """Of the commit, so that each change tries other faults; of the day where there is none."""
    command = ("git", "rev-parse", "--short=6", "HEAD")
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - ours.
    return int(said.stdout, 16) if said.returncode == 0 else datetime.now(UTC).toordinal()


def chosen(seed: int) -> list[str]:
    """Four faults of about the same length together, whatever the seed."""
    rng = Random(seed)  # noqa: S311 - to repeat it.
    return [*rng.sample(KILLED, 2), rng.choice(SERVERS), rng.choice(OTHERS)]


SEED = seed_of_this_change()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    with (
        pytest.MonkeyPatch.context() as patch,
        # Not below pytest's own folder: the server's user may not enter that.
        tempfile.TemporaryDirectory(prefix="estate-faults-", ignore_cleanup_errors=True) as folder,
    ):
        for given in ("ESTATE_POSTGRES_DSN", "ESTATE_KAFKA_BOOTSTRAP"):
            patch.delenv(given, raising=False)
        async with running_world(Path(folder)) as world:
            yield world


@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_doubled_whatever_fails(world: World) -> None:
    for fault in (faults := chosen(SEED)):
        again = f"again: python -m tests.faults.run --trials 1 --seed {SEED} --only '{fault}'"
        result = await run_trial(world, Trial(SEED, fault, 0), quick=True, judged=False)
        assert result.is_good, f"{result}; {again}"
        assert result.accepted > 0, again
    verdict = await ask_oracle(world, quick=False)
    assert verdict["ok"], f"{verdict} after {faults} of seed {SEED}"


@pytest.mark.timeout(300)
async def test_oracle_finds_what_was_never_written_and_what_was_refused(world: World) -> None:
    told = read_ledger(world.ledger.path)
    accepted = [e for e in told.entries.values() if e.state == "accepted" and e.answer]
    written = next(e for e in accepted if e.answer and e.answer["events"])
    key = written.request.key
    lines = world.ledger.path.read_bytes().splitlines()
    sent = next(line for line in lines if orjson.loads(line).get("key") == key)
    never = {**orjson.loads(sent), "key": "http:admin:never"}
    false = [
        never,
        {"kind": "accepted", "key": "http:admin:never", "answer": written.answer},
        {"kind": "refused", "key": key, "problem": "conflict", "doubtful": False},
    ]
    path = world.estate.state_dir / "false-ledger.jsonl"
    path.write_bytes(b"\n".join([*lines, *map(orjson.dumps, false)]) + b"\n")
    verdict = await judge(world.estate.state_dir, path, quick=True)
    assert (verdict.lost, verdict.doubled) == (1, 1), verdict


@dataclass(frozen=True, slots=True)
class Seen:
    """An estate that was worked with, and is at rest."""

    world: World
    databases: Mapping[str, str]
    kafka: KafkaSettings
    registry: Held


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def seen(world: World) -> Seen:
    """The estate after some load, and what the oracle reads of it."""
    result = await run_trial(world, Trial(SEED, "no fault", 0), quick=True, judged=False)
    assert result.is_good, result
    await world.healthy(time.monotonic())
    databases = {name: access.owner_dsn for name, access in world.estate.databases.items()}
    registry = await read_log(databases["registry"], "registry")
    return Seen(world, databases, world.estate.kafka, registry)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("order", "faults"),
    [
        ([1, 2, 3, 2, 3, 4], []),
        ([1, 3, 4], ["leaves out 2..2"]),
        ([1, 3, 2, 4], ["leaves out 2..2"]),
        ([1, 2, 3], ["ends at 3 of 4"]),
        ([2, 3, 4], ["leaves out 1..1"]),
        ([1, 2, 3, 0, 4], ["has other bytes at 0"]),
    ],
)
async def test_oracle_finds_holes_and_inversions_of_a_topic(
    order: list[int], faults: list[str], seen: Seen
) -> None:
    log = "made" + "".join(map(str, order))
    bodies = [b'{"position":"0"}', *(event.body for event in seen.registry.events[:4])]
    await ensure_topic(seen.kafka, events_topic(log, 1), EVENT_TOPIC_CONFIG)
    producer = await start_producer(seen.kafka, batch_max_bytes=1_000_000)
    try:
        for position in order:
            await producer.send_and_wait(events_topic(log, 1), bodies[position], partition=0)
    finally:
        await drop_producer(producer)
    held = replace(seen.registry, log=log, head=4)
    assert await faults_of_topic(held, seen.kafka) == [f"the topic of {log} {f}" for f in faults]


@pytest.mark.timeout(300)
async def test_oracle_names_each_thing_that_is_wrong(seen: Seen) -> None:
    state, ledger = seen.world.estate.state_dir, seen.world.ledger.path
    key = wrong_ledger(ledger, state / "wrong-ledger.jsonl", EVERYWHERE)
    dependencies = seen.world.estate.databases["dependencies"].app_dsn
    async with (
        wrong_event(seen.databases["registry"], seen.registry.events[1]),
        wrong_edge(dependencies, seen.registry) as dependency,
    ):
        with wrong_end(state / "feed.jsonl"), wrong_end(state / "stream.jsonl"):
            verdict = await judge(state, state / "wrong-ledger.jsonl", quick=False)
    expected = [
        NEVER,
        f"lost: the same key has another outcome: {key}",
        f"lost: {key} was answered otherwise",
        "registry:2 is not the next of",
        "the topic of registry has other bytes at 2",
        "the feed changes registry:2",
        f"a follower was not sent registry:{MORE}: feed.jsonl",
        f"a follower was not sent registry:{MORE}: stream.jsonl",
        f"{dependency} from ",
        "a secret is in the metrics of registry",
        "a secret is in registry.log",
        f"a secret is in {events_topic('registry', 1)}",
        "graph is not the fold of its log",
        "graph is not the fold of its topic",
        "verify registry: ",
    ]
    named = [one for one in expected if any(v.startswith(one) for v in verdict.violations)]
    assert named == expected, verdict.violations


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("column", "wrong"), [("leaf", b"\0" * 32), ("type", "estate.other.v1"), ("body", b"{}")]
)
async def test_oracle_finds_a_wrong_column_of_the_log(
    column: str, wrong: object, seen: Seen
) -> None:
    assert await faults_of_trees(seen.databases, seen.kafka) == []
    change = f"UPDATE log.events SET {column} = $1 WHERE position = 2"
    connection = await asyncpg.connect(seen.databases["registry"])
    right = await connection.fetchval(f"SELECT {column} FROM log.events WHERE position = 2")
    try:
        await connection.execute(change, wrong)
        (fault,) = await faults_of_trees(seen.databases, seen.kafka)
    finally:
        await connection.execute(change, right)
        await connection.close()
    assert fault.startswith("verify registry: ")


@pytest.mark.timeout(300)
async def test_oracle_searches_metrics_events_and_rejections(seen: Seen) -> None:
    hidden = Hidden.of(Told(credentials=EVERYWHERE), [])
    urls, key = seen.world.estate.urls, seen.world.estate.keys["admin"]
    async with aiohttp.ClientSession() as session:
        in_metrics = await shown_in_metrics(session, urls, key, hidden)
    assert in_metrics == [f"a secret is in the metrics of {service}" for service in urls]
    on_topics = await shown_on_topics(seen.kafka, hidden)
    of = seen.world.organisation
    for topic in (events_topic("registry", 1), rejections_topic("registry", of)):
        assert f"a secret is in {topic}" in on_topics
