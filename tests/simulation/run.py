"""Owns one run: a seed in, what came of it out.

Must leave nothing behind that another run could notice.
"""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiokafka import TopicPartition

from shared.projections.status import RunnerState
from tests.simulation import faults
from tests.simulation.estate import SUBMISSIONS, FollowerNode, RegistryNode
from tests.simulation.fake_read_model import SCHEMA
from tests.simulation.oracle import violations
from tests.simulation.requests import LOG
from tests.simulation.senders import Senders
from tests.simulation.virtual_time import VirtualLoop
from tests.simulation.world import PLACES, World

Trouble = Callable[[World, float], Awaitable[None]]
"""What happens to a world while its clients send, for that many seconds."""

REQUESTS: Final = 30
DURING_S: Final = 4.0
SETTLING_S: Final = 60.0
_LATEST_MESSAGE_S: Final = 3.5


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed."""

    seed: int
    violations: tuple[str, ...]
    digest: str
    events: int
    steps: int
    virtual_s: float
    trace: tuple[str, ...] = ()


def simulate(seed: int, *, keep_trace: bool = False, trouble: Trouble = faults.trouble) -> Result:
    """Run one seed, with the faults that it chooses unless others are asked for."""
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _loop, _context: None)
    state = random.getstate()
    random.seed(f"{seed}:jitter")
    gc.disable()
    try:
        return loop.run_until_complete(
            _simulate(seed, loop, keep_trace=keep_trace, trouble=trouble)
        )
    finally:
        gc.enable()
        random.setstate(state)
        loop.close()


async def _simulate(seed: int, loop: VirtualLoop, *, keep_trace: bool, trouble: Trouble) -> Result:
    world = World(seed, loop)
    for place in PLACES:
        world.start(place)
    senders = Senders(world, seed, requests=REQUESTS, during_s=DURING_S)
    sending = asyncio.create_task(senders.run())
    await trouble(world, DURING_S)
    faults.heal(world)
    found = await _settle(world, sending)
    found += violations(world, senders.ledger)
    result = Result(
        seed,
        tuple(found),
        world.digest(),
        len(world.registry.tables.get("events", {})),
        loop.steps,
        loop.time(),
        tuple(world.trace) if keep_trace else (),
    )
    await world.close()
    return result


async def _settle(world: World, sending: "asyncio.Task[None]") -> list[str]:
    """Wait until nothing is left to do; an operator does what the runbook says."""
    deadline = world.loop.time() + SETTLING_S
    while world.loop.time() < deadline:
        if sending.done() and _is_at_rest(world):
            sending.result()
            return []
        await _operate(world)
        await asyncio.sleep(0.1)
    sending.cancel()
    return [f"not at rest after {SETTLING_S:g} s: {_told(world, sending)}"]


def _is_at_rest(world: World) -> bool:
    """Whether topic, read models and marks are at their ends, and stay there."""
    head = _head(world)
    checkpoints = [d.tables[SCHEMA, "checkpoint"][LOG]["position"] for d in world.databases()]
    return (
        _tail(world) == head
        and checkpoints == [head, head]
        and all(_is_taken(world, topic) for topic in SUBMISSIONS)
    )


def _tail(world: World) -> int:
    topic = world.broker.topics.get(faults.EVENTS)
    if topic is None or not topic.records:
        return 0
    return max(int(orjson.loads(record.value or b"")["position"]) for record in topic.records)


def _is_taken(world: World, name: str) -> bool:
    topic = world.broker.topics.get(name)
    mark = world.registry.tables.get("marks", {}).get(TopicPartition(name, 0))
    if topic is None or mark is None:
        return False
    # The mark of a topic that was made again goes down with the first record that is taken.
    is_fresh = name in world.lost_topics and not topic.records
    return is_fresh or mark["next_offset"] == len(topic.records)


async def _operate(world: World) -> None:
    """Fill a topic again that was lost, and start again who saw it short."""
    if faults.EVENTS not in world.lost_topics:
        return
    registries = [world.nodes[place] for place in ("one", "two")]
    stopped = [n for n in registries if isinstance(n, RegistryNode) and _is_stopped(n)]
    if stopped:
        world.note("operator: the topic is filled again")
        for place in ("one", "two"):
            world.kill(place)
        await asyncio.sleep(_LATEST_MESSAGE_S)
        world.broker.topics.pop(faults.EVENTS, None)
        world.registry.load("publications", {1: {"published": 0}})
        for place in ("one", "two"):
            world.start(place)
    follower = world.nodes["follower"]
    assert isinstance(follower, FollowerNode)
    if follower.runner.status().state is RunnerState.STOPPED and _tail(world) == _head(world):
        world.note("operator: the follower starts again")
        world.kill("follower")
        world.start("follower")


def _is_stopped(node: RegistryNode) -> bool:
    return node.relay.status.state.startswith("stopped:topic")


def _head(world: World) -> int:
    return int(world.registry.tables["head"][True]["position"])


def _told(world: World, sending: "asyncio.Task[None]") -> str:
    parts = [f"log {_head(world)}, topic {_tail(world)}, all answered: {sending.done()}"]
    for node in world.nodes.values():
        if isinstance(node, RegistryNode):
            relay, intake = node.relay.status, node.intake.status
            parts.append(f"{node.process} relay {relay.state} {relay.detail}")
            parts.append(f"intake {intake.state} {intake.detail}")
        if isinstance(node, RegistryNode | FollowerNode):
            status = node.runner.status()
            parts.append(f"runner {status.state} {status.reason} {status.detail}")
    return "; ".join(parts)
