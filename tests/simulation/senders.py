"""Owns the clients of a simulated estate, and the ledger of what they were told.

Must not give up a request whose outcome is unknown.
"""

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiokafka.errors import KafkaError

from shared.contracts.topics import submissions_topic
from shared.eventstore.types import CommandRefusedError, LogUnavailableError, Outcome
from tests.simulation.estate import RegistryNode
from tests.simulation.fake_broker import Unsent
from tests.simulation.requests import LOG, Request, make_request
from tests.simulation.world import World

_PATIENCE_S: Final = 3.0
_PLACES: Final = ("one", "two")


@dataclass(slots=True)
class Entry:
    """What came of one request, as its sender knows.

    `is_open`: an attempt ended without a definite answer, so that it may yet take effect.
    """

    request: Request
    by_kafka: bool = False
    answers: list[Outcome] = field(default_factory=list)
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
                request = make_request(self._chance, number)
                entry = self.ledger.entries[request.key] = Entry(request)
                at_s = self._chance.random() * self._during_s
                by_kafka = self._chance.random() < 0.5
                if by_kafka:
                    group.create_task(self._emit(entry, at_s))
                if not by_kafka or self._chance.random() < 0.1:
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
        node = self._world.nodes[self._chance.choice(_PLACES)]
        assert isinstance(node, RegistryNode)
        if not node.answers:
            await asyncio.sleep(0.1)
            return
        loop = self._world.loop
        serving = loop.spawn(node.process, node.serve(entry.request))
        done, _ = await asyncio.wait({serving}, timeout=_PATIENCE_S)
        if not done or serving.cancelled():
            entry.is_open = True
            return
        self._note_answer(entry, serving.exception(), serving)

    def _note_answer(
        self, entry: Entry, error: BaseException | None, serving: "asyncio.Task[Outcome]"
    ) -> None:
        self._world.note(f"client {entry.request.id} {type(error).__name__}")
        match error:
            case None:
                entry.answers.append(serving.result())
            case CommandRefusedError():
                entry.refused = not entry.answers
                if entry.answers:
                    self.ledger.strange.append(f"refused once accepted: {entry.request.id}")
            case LogUnavailableError():
                if not entry.is_open and not entry.by_kafka and self._chance.random() < 0.15:
                    entry.not_done = not entry.answers
            case _:
                entry.is_open = True

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
