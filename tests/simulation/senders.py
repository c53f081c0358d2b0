"""Owns the clients of a simulated estate, and the ledger of what they were told.

Must not give up a request whose outcome is unknown.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiokafka.errors import KafkaError

from shared.contracts.topics import submissions_topic
from shared.http import problems
from tests.simulation.estate import RegistryNode
from tests.simulation.fake_broker import Unsent
from tests.simulation.http_door import Reply
from tests.simulation.network import Fate
from tests.simulation.requests import LOG, Request, make_request
from tests.simulation.world import World

_PATIENCE_S: Final = (0.05, 0.5, 3.0, 9.0)
_REFUSED: Final = {problems.CONFLICT.slug, problems.STALE_VERSION.slug}
_NOT_DONE: Final = {problems.NOT_READY.slug, problems.CLOCK_SUSPECT.slug, problems.LOG_HALTED.slug}
_UNKNOWN: Final = {problems.OUTCOME_UNKNOWN.slug, problems.TIMED_OUT.slug}
_PLACES: Final = ("one", "two")


@dataclass(slots=True)
class Entry:
    """What came of one request, as its sender knows.

    `is_open`: an attempt ended without a definite answer, so that it may yet take effect.
    """

    request: Request
    by_kafka: bool = False
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    refused: bool = False
    by_http: bool = False
    not_done: bool = False
    is_open: bool = False


@dataclass(slots=True)
class Ledger:
    """Every request by its command's key, and what should not have been answered."""

    entries: dict[str, Entry] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


class Senders:
    """Several clients of the HTTP door and an emitter for each organisation."""

    def __init__(self, world: World, seed: int, *, requests: int, during_s: float) -> None:
        self.ledger = Ledger()
        self._world = world
        self._chance = random.Random(f"{seed}:senders")  # noqa: S311 - chance, no secret.
        self._requests = requests
        self._during_s = during_s
        self._sequence = 0

    async def run(self) -> None:
        """Send everything, and return when all is answered that gets an answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._requests):
                by_kafka = self._chance.random() < 0.5
                by_http = not by_kafka or self._chance.random() < 0.1
                as_command = not by_kafka and self._chance.random() < 0.7
                request = make_request(self._chance, number, as_command=as_command)
                entry = self.ledger.entries[request.key] = Entry(request)
                at_s = self._chance.random() * self._during_s
                if by_kafka:
                    group.create_task(self._emit(entry, at_s))
                # Of two that send the same at once, one may be refused and then the other accepted.
                entry.is_open = is_twice = by_http and self._chance.random() < 0.15
                for _ in range(by_http + is_twice):
                    group.create_task(self._command(entry, at_s))

    async def _command(self, entry: Entry, at_s: float) -> None:
        """Send a command until there is a definite answer; sometimes once more behind that."""
        entry.by_http = True
        await asyncio.sleep(at_s)
        repeats = self._chance.choice((0, 0, 0, 1))
        while not (entry.refused or entry.not_done or len(entry.answers) > repeats):
            await self._attempt(entry)
            if not entry.answers:
                await asyncio.sleep(self._chance.random() * 0.4)

    async def _attempt(self, entry: Entry) -> None:
        """Send it to one of the processes, and wait for a while; who gives up may come again."""
        node = self._world.nodes[self._chance.choice(_PLACES)]
        assert isinstance(node, RegistryNode)
        if not node.answers:
            await asyncio.sleep(0.1)
            return
        fate, delay_s = self._world.network.fate(), self._world.network.delay_s()
        was_answered = bool(entry.answers)
        patience_s = self._chance.choice(_PATIENCE_S)
        is_cut = self._chance.random() < 0.5
        serving = self._world.loop.spawn(node.process, self._arrive(node, entry, fate, delay_s))
        await asyncio.wait({serving}, timeout=patience_s)
        if not serving.done() or serving.cancelled() or fate is not Fate.SERVED:
            entry.is_open = True
            self._world.note(f"client {entry.request.id} gives up{' and cuts' * is_cut}")
            if is_cut:
                serving.cancel()
            return
        self._note_reply(entry, serving.result(), was_answered=was_answered)

    async def _arrive(
        self, node: RegistryNode, entry: Entry, fate: Fate, delay_s: float
    ) -> Reply | None:
        await asyncio.sleep(delay_s)
        if fate is Fate.LOST:
            return None
        path, body, headers = entry.request.over_http
        return await node.door.post(path, entry.request.organisation, body, headers)

    def _note_reply(self, entry: Entry, reply: Reply, *, was_answered: bool) -> None:
        self._world.note(f"client {entry.request.id} {reply.problem}")
        if reply.problem is None:
            entry.answers.append(reply.answer)
        elif reply.problem in _REFUSED:
            entry.refused = not entry.answers
            if was_answered:
                self.ledger.strange.append(f"refused once accepted: {entry.request.id}")
        elif reply.problem in _NOT_DONE:
            if not entry.is_open and not entry.by_kafka and self._chance.random() < 0.5:
                entry.not_done = not entry.answers
        elif reply.problem in _UNKNOWN:
            entry.is_open = True
        else:
            self.ledger.strange.append(f"{entry.request.id} was answered with {reply.problem}")

    async def _emit(self, entry: Entry, at_s: float) -> None:
        """Put a submission on its topic, some of them more than once."""
        entry.by_kafka = True
        await asyncio.sleep(at_s)
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            await self._put(entry.request)
            await asyncio.sleep(self._chance.choice((0.0, 0.0, 2.0)) * self._chance.random())

    async def _put(self, request: Request) -> None:
        """Send a record until the broker has it, as a producer does that is not idempotent."""
        broker, topic = self._world.broker, submissions_topic(LOG, request.organisation)
        record = Unsent(None, request.raw, ())
        while True:
            self._sequence += 1
            append = partial(broker.append, topic, [record], (0, self._sequence))
            try:
                await broker.ask("emitter", f"submit {request.id}", append)
            except KafkaError:
                await asyncio.sleep(0.2)
            else:
                return
