"""Owns what is done to a simulated estate: when, which, to whom, all by chance.

Must be healed by `heal`, whatever was done.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.contracts.topics import events_topic
from tests.simulation.estate import LEASE_TTL_S, SUBMISSIONS
from tests.simulation.fake_broker import Topic, Unsent
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.requests import LOG
from tests.simulation.world import PLACES, SLOWNESS_S, World

Fault = Callable[[World], Awaitable[None]]

_MOST_FAULTS: Final = 6
EVENTS: Final = events_topic(LOG, 1)
_STEPS: Final = (
    "append",
    "COMMIT",
    "read ahead",
    "renew lease",
    "note published",
    "advance marks",
    "set checkpoint",
)


async def trouble(world: World, during_s: float) -> None:
    """Do some things that should not happen, several at once."""
    async with asyncio.TaskGroup() as group:
        for _ in range(world.chance.randint(1, _MOST_FAULTS)):
            fault = world.chance.choice(FAULTS)
            group.create_task(_later(world, fault, during_s))


async def _later(world: World, fault: Fault, during_s: float) -> None:
    """Let it come at any time, or right behind a step, for the first time or later."""
    chance = world.chance
    at_s = chance.choice((0.0, chance.random(), chance.random())) * during_s
    await asyncio.sleep(at_s)
    if chance.random() < 0.5:
        await world.moment(chance.choice(_STEPS), during_s - at_s)
        await asyncio.sleep(chance.choice((0.0, SLOWNESS_S)) * chance.random())
    world.note(f"fault: {fault.__name__.replace('_', ' ').strip()}")
    await fault(world)


async def _a_process_dies(world: World) -> None:
    place = world.chance.choice(PLACES)
    world.kill(place)
    await asyncio.sleep(world.chance.random() * 2)
    if world.nodes[place].process.dead:
        world.start(place)


async def _all_processes_die(world: World) -> None:
    for place in PLACES:
        world.kill(place)
    await asyncio.sleep(world.chance.random())
    for place in PLACES:
        if world.nodes[place].process.dead:
            world.start(place)


async def _a_process_freezes(world: World) -> None:
    """For a moment, or until another has long taken its place."""
    node = world.freeze(world.chance.choice(PLACES))
    longest_s = world.chance.choice((0.5, 2 * LEASE_TTL_S, 2 * LEASE_TTL_S))
    await asyncio.sleep(world.chance.random() * longest_s)
    world.thaw(node)


async def _connections_are_cut(world: World) -> None:
    database = world.chance.choice(world.databases())
    for session in list(database.sessions):
        if world.chance.random() < 0.5:
            database.terminate(session)


async def _a_database_crashes(world: World) -> None:
    database = world.chance.choice(world.databases())
    await _lose(world, database, fail_over=world.chance.random() < 0.5)


async def _lose(world: World, database: FakeDatabase, *, fail_over: bool) -> None:
    database.crash(fail_over=fail_over)
    database.down = True
    await asyncio.sleep(world.chance.random() * 2)
    database.set_standby(away=False)
    database.down = False


async def _a_standby_goes(world: World) -> None:
    """Commits wait; some are let go without it; at last it is back, or takes over."""
    database = world.chance.choice((world.registry, *world.databases()))
    database.set_standby(away=True)
    for _ in range(world.chance.randint(0, 6)):
        await asyncio.sleep(world.chance.random() * 0.4)
        database.cancel_waits()
    await asyncio.sleep(world.chance.random() * 0.4)
    if world.chance.random() < 0.5:
        await _lose(world, database, fail_over=True)
    else:
        database.set_standby(away=False)


async def _a_standby_takes_over_without_what_was_read(world: World) -> None:
    """Commits are let go without it, a relay reads them, and the server is lost right then."""
    await world.moment("renew lease", 1.0)
    world.registry.set_standby(away=True)
    for _ in range(10):
        await asyncio.sleep(SLOWNESS_S)
        world.registry.cancel_waits("COMMIT")
        await world.moment("read ahead", SLOWNESS_S)
    await _lose(world, world.registry, fail_over=True)


async def _the_broker_goes(world: World) -> None:
    world.broker.down = True
    await asyncio.sleep(world.chance.random() * 3)
    world.broker.down = False


async def _messages_are_lost(world: World) -> None:
    world.network.loss = world.chance.choice((0.02, 0.1, 0.3))
    await asyncio.sleep(world.chance.random() * 3)
    world.network.loss = 0.0


async def _messages_are_late(world: World) -> None:
    world.network.slowness_s = 3.0
    await asyncio.sleep(world.chance.random() * 3)
    world.network.slowness_s = SLOWNESS_S


async def _a_clock_jumps(world: World) -> None:
    """A little at a database, since leases go by that; by as much as may be at a process."""
    if world.chance.random() < 0.5:
        world.chance.choice(world.databases()).skew_s = world.chance.choice((-3.0, 1.0, 3.0))
    else:
        process = world.nodes[world.chance.choice(PLACES)].process
        process.skew_s = world.chance.choice((-100.0, -3.0, 3.0, 100.0))
    await asyncio.sleep(world.chance.random() * 3)


async def _submissions_are_deleted(world: World) -> None:
    """The intake notices, and makes the topic again."""
    name = world.chance.choice(SUBMISSIONS)
    world.lost_topics.add(name)
    world.broker.topics.pop(name, None)
    await asyncio.sleep(0)


async def _submissions_are_made_again(world: World) -> None:
    """While nobody reads: with some of their first records, or with none."""
    for place in ("one", "two"):
        world.kill(place)
    topic = world.broker.topics.get(world.chance.choice(SUBMISSIONS))
    if topic is not None:
        world.lost_topics.add(topic.name)
        made = Topic(topic.name, topic.settings, topic.now_ms)
        made.records = topic.records[: world.chance.randint(0, len(topic.records))]
        world.broker.topics[topic.name] = made
    await asyncio.sleep(world.chance.random())
    for place in ("one", "two"):
        if world.nodes[place].process.dead:
            world.start(place)


async def _the_event_topic_is_lost(world: World) -> None:
    """Deleted; sometimes somebody makes it again, empty."""
    lost = world.broker.topics.pop(EVENTS, None)
    world.lost_topics.add(EVENTS)
    await asyncio.sleep(world.chance.random())
    if lost is not None and world.chance.random() < 0.5:
        world.broker.topics.setdefault(EVENTS, Topic(EVENTS, lost.settings, lost.now_ms))


async def _the_event_topic_is_copied(world: World) -> None:
    """With repeats, then without any: the same history at other offsets."""
    for has_repeats in (True, False):
        topic = world.broker.topics.get(EVENTS)
        if topic is None:
            return
        world.lost_topics.add(EVENTS)
        first = list({one.value: one for one in topic.records}.values())
        repeats = first[: world.chance.randint(0, len(first))] if has_repeats else []
        made = Topic(EVENTS, topic.settings, topic.now_ms)
        made.append([Unsent(one.key, one.value, one.headers) for one in (*repeats, *first)])
        world.broker.topics[EVENTS] = made
        world.broker.wake()
        await asyncio.sleep(world.chance.random() * 2)


_OFTEN: Final = (
    _a_process_dies,
    _a_process_freezes,
    _connections_are_cut,
    _a_database_crashes,
    _a_standby_goes,
    _the_broker_goes,
    _messages_are_lost,
    _messages_are_late,
)
FAULTS: Final = (
    *_OFTEN,
    *_OFTEN,
    _a_process_freezes,
    _a_standby_goes,
    _a_standby_takes_over_without_what_was_read,
    _a_standby_takes_over_without_what_was_read,
    _all_processes_die,
    _a_clock_jumps,
    _submissions_are_deleted,
    _submissions_are_made_again,
    _the_event_topic_is_lost,
    _the_event_topic_is_copied,
)


def heal(world: World) -> None:
    """End every fault."""
    world.note("heal")
    world.network.loss, world.network.slowness_s = 0.0, SLOWNESS_S
    world.broker.down = False
    for database in world.databases():
        database.down = False
        database.skew_s = 0.0
        database.set_standby(away=False)
    for place in PLACES:
        node = world.nodes[place]
        node.process.skew_s = 0.0
        world.thaw(node)
        if node.process.dead:
            world.start(place)
