"""Owns one simulated world: its time, its chance, its servers, the processes alive, the trace.

Must not take anything from outside but the seed.
"""

import asyncio
import hashlib
import random
from typing import Final

from tests.simulation.estate import FollowerNode, Node, RegistryNode
from tests.simulation.fake_broker import FakeBroker
from tests.simulation.fake_database import FakeDatabase
from tests.simulation.fake_kafka import FakeKafka
from tests.simulation.fake_read_model import fresh_generation
from tests.simulation.fake_statements import fresh_log
from tests.simulation.network import Network, answer
from tests.simulation.requests import LOG
from tests.simulation.virtual_time import START, VirtualLoop

SLOWNESS_S: Final = 0.08
PLACES: Final = ("one", "two", "follower")


class World:
    """Two processes of the registry on one database, one of a follower, a broker between them."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.loop = loop
        self.chance = _chance(f"{seed}:faults")
        self.trace: list[str] = []
        self.network = Network(_chance(f"{seed}:network"), self.note, slowness_s=SLOWNESS_S)
        self.registry = FakeDatabase("registry", self.network)
        self.follower = FakeDatabase("follower", self.network)
        self.broker = FakeBroker(self.network)
        self.kafka = FakeKafka(self.broker)
        self.nodes: dict[str, Node] = {}
        self.buried: list[Node] = []
        self.lost_topics: set[str] = set()
        self._starts = 0
        self._awaited: list[tuple[str, asyncio.Future[None]]] = []
        for table, rows in (fresh_log(LOG) | fresh_generation(LOG, START)).items():
            self.registry.load(table, rows)
        for table, rows in fresh_generation(LOG, START).items():
            self.follower.load(table, rows)

    def note(self, line: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.loop.time():.6f} {line}")
        for one in [one for one in self._awaited if one[0] in line]:
            self._awaited.remove(one)
            answer(one[1], None)

    async def moment(self, step: str, wait_s: float) -> None:
        """Return when a server has done a step that is named so, or after a while."""
        reached: asyncio.Future[None] = self.loop.create_future()
        self._awaited.append((step, reached))
        await asyncio.wait({reached}, timeout=wait_s)

    def digest(self) -> str:
        """What tells one run from another."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def databases(self) -> tuple[FakeDatabase, FakeDatabase]:
        """Both databases."""
        return self.registry, self.follower

    def start(self, place: str) -> Node:
        """Start a process where there is none."""
        self._starts += 1
        name = f"{place}.{self._starts}"
        if place == "follower":
            node: Node = FollowerNode(name, self.loop, self.follower, self.kafka)
        else:
            node = RegistryNode(name, self.loop, self.registry, self.kafka)
        self.nodes[place] = node
        self.note(f"start {name}")
        node.begin()
        return node

    def kill(self, place: str) -> None:
        """End a process without any clean-up; the databases notice after a while."""
        node = self.nodes[place]
        if node.process.dead:
            return
        node.process.dead = True
        self.buried.append(node)
        self.note(f"kill {node.process}")
        for database in self.databases():
            for session in list(database.sessions):
                if session.process is node.process:
                    database.give_up(session)

    def freeze(self, place: str) -> Node:
        """Stop a process where it is."""
        node = self.nodes[place]
        node.process.frozen = True
        self.note(f"freeze {node.process}")
        return node

    def thaw(self, node: Node) -> None:
        """Let a process go on, unless it was killed meanwhile."""
        if node.process.frozen and not node.process.dead:
            self.note(f"thaw {node.process}")
            self.loop.thaw(node.process)

    async def close(self) -> None:
        """Let every task come to its end, also those of the dead."""
        self.network.slowness_s = self.network.loss = 0.0
        for database in self.databases():
            database.down = True
        self.broker.down = True
        for node in (*self.buried, *self.nodes.values()):
            self.loop.thaw(node.process)
        mine = asyncio.current_task()
        while tasks := [one for one in asyncio.all_tasks() if one is not mine]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=60.0)


def _chance(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance, no secret.
