"""Owns the load: workers that command, submit and follow, each of which knows what to expect.

Must not give up on a request before its outcome is known or the time is over; seeded.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from shared.messaging.kafka import KafkaSettings
from shared.messaging.submissions import submission_key
from tests.faults.following import follow, follow_stream, note_end
from tests.faults.ledger import Ledger, Request
from tests.faults.sending import Ending, Sender
from tests.faults.submitting import Submitter

_REGISTRARS: Final = 4
_DECLARERS: Final = 2
_PAUSE_S: Final = 0.12
_SECRET_CHARS: Final = 43
"""As long as the secret of a key, so that it has the form of one."""
_PHASES: Final = ("discovery", "alpha", "beta", "live", "retiring", None)
_KINDS: Final = ("uses-api", "data", "hosting", "identity", "network", "delivery")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the load goes: addresses, keys, topics, files; `organisation` submits over Kafka."""

    urls: dict[str, list[str]]
    keys: Mapping[str, str]
    kafka: KafkaSettings
    organisation: str
    ledger: Ledger
    feed_path: Path
    stream_path: Path
    secrets: tuple[str, ...] = ()


@dataclass(slots=True)
class _Owned:
    """What a worker knows of its own services, all of it acknowledged."""

    aliases: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)


class Load:
    """Runs until it is finished; `name` keeps keys and names of one run apart from another's."""

    def __init__(self, place: Place, name: str, seed: int, *, copies: int = 1) -> None:
        self._place = place
        self._name = name
        self._seed = seed
        self._copies = copies
        self._text = f"text-canary-{name}"
        self._credential = f"canary{seed}x".ljust(_SECRET_CHARS, "q")
        self._ending = Ending()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._followers: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Begin; returns at once."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        place = self._place
        place.ledger.plant("text", self._text)
        place.ledger.plant("credential", self._credential)
        sender = self._sender(0)
        self._followers = {
            asyncio.create_task(follow(sender, place.feed_path)),
            asyncio.create_task(follow_stream(sender, place.stream_path)),
        }
        works = [self._register(n) for n in range(_REGISTRARS)]
        works += [self._declare(n) for n in range(_DECLARERS)]
        works += [self._submit(log) for log in ("registry", "dependencies")]
        works.append(self._trespass())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def finish(self, deadline_s: float) -> None:
        """Send nothing new, and learn what became of what was sent."""
        self._stopping = True
        self._ending.at = asyncio.get_running_loop().time() + deadline_s
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        place = self._place
        for path in (place.feed_path, place.stream_path):
            await note_end(self._sender(0), path)
        for follower in self._followers:
            follower.cancel()
        followed = await asyncio.gather(*self._followers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        for result in (*results, *followed):
            if isinstance(result, Exception):
                raise result

    def _sender(self, number: int) -> Sender:
        assert self._session is not None
        place, rng = self._place, self._random(number)
        secrets = (*place.secrets, self._credential)
        return Sender(
            self._session, place.urls, place.keys, place.ledger, rng, self._ending, secrets
        )

    def _random(self, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{number}")  # noqa: S311 - a load is no secret.

    def _http(self, log: str, path: str, command: str, name: str, body: Any) -> Request:
        return Request(f"http:admin:{command}:{name}", log, "http", "admin", path, name, body)

    async def _register(self, worker: int) -> None:
        sender, own = self._sender(10 + worker), _Owned()
        turn = 0
        while not self._stopping:
            turn += 1
            rng, name = sender.random, f"{self._name}-r{worker}-{turn}"
            choice = rng.random() if own.aliases else 0.0
            if choice < 0.35:
                await self._make_known(sender, own, name, contended=choice > 0.25)
            elif choice < 0.65:
                await self._change_phase(sender, own, name, stale=choice > 0.6)
            elif choice < 0.9:
                await self._hand_over(sender, own, name, wrong=choice > 0.85)
            else:
                path = f"/v1/services/no-such-{name}/change-phase"
                command = "estate.service.change_phase.v1"
                await sender.settle(self._http("registry", path, command, name, {"phase": "beta"}))
            await asyncio.sleep(rng.expovariate(1 / _PAUSE_S))

    async def _make_known(self, sender: Sender, own: _Owned, name: str, *, contended: bool) -> None:
        """Register a service; a contended slug is wanted by every worker of every run."""
        alias, rng = f"load:{name}", sender.random
        slug = f"shared-{rng.randrange(40)}" if contended else f"s-{name}"
        body = {
            "name": f"Service {name}",
            "kind": "component",
            "slug": slug,
            "aliases": [alias],
            "description": self._text,
        }
        command = "estate.service.register.v1"
        request = self._http("registry", "/v1/services", command, name, body)
        if await sender.settle(request, twice=rng.random() < 0.2) is not None:
            own.aliases.append(alias)

    async def _change_phase(self, sender: Sender, own: _Owned, name: str, *, stale: bool) -> None:
        rng = sender.random
        alias = "load:never-made" if stale else rng.choice(own.aliases)
        request = self._http(
            "registry",
            f"/v1/services/{alias}/change-phase",
            "estate.service.change_phase.v1",
            name,
            {"phase": rng.choice(_PHASES), "reason": self._text},
        )
        await sender.settle(request, twice=rng.random() < 0.2)

    async def _hand_over(self, sender: Sender, own: _Owned, name: str, *, wrong: bool) -> None:
        """Name the present owner, as acknowledged; a lost or doubled change would be refused."""
        alias, holder = sender.random.choice(own.aliases), f"contact:{name}"
        previous = "contact:somebody-else" if wrong else own.owners.get(alias)
        body = {"role": "owning-team", "holder": holder, "previous_holder": previous}
        command = "estate.service.assign_role.v1"
        path = f"/v1/services/{alias}/assign-role"
        request = self._http("registry", path, command, name, body)
        answer = await sender.settle(request, twice=sender.random.random() < 0.2)
        if answer is not None:
            own.owners[alias] = holder
        elif not wrong and not self._ending.is_over():
            self._place.ledger.violate(f"an acknowledged hand-over was not seen: {request.key}")

    async def _declare(self, worker: int) -> None:
        sender, made = self._sender(20 + worker), list[str]()
        turn = 0
        while not self._stopping:
            turn += 1
            rng, name = sender.random, f"{self._name}-d{worker}-{turn}"
            body: Mapping[str, Any]
            if made and rng.random() < 0.4:
                verb, body = rng.choice(
                    [
                        ("change", {"criticality": "high"}),
                        ("withdraw", {}),
                        ("change", {"kind": "data"}),
                    ]
                )
                path, command = f"/v1/dependencies/{rng.choice(made)}/{verb}", f"{verb}.v1"
                body = {**body, "reason": self._text}
            else:
                path, command, verb = "/v1/dependencies", "declare.v1", "declare"
                body = self._declaration(rng)
            request = self._http("dependencies", path, f"estate.dependency.{command}", name, body)
            answer = await sender.settle(request, twice=rng.random() < 0.2)
            if answer is not None and verb == "declare":
                made.append(answer["id"])
            await asyncio.sleep(rng.expovariate(1 / _PAUSE_S))

    def _declaration(self, rng: random.Random) -> dict[str, Any]:
        ends = {"from": self._some_service(rng), "to": self._some_end(rng)}
        return {**ends, "kind": rng.choice(_KINDS)}

    def _some_service(self, rng: random.Random) -> str:
        """A name that is registered, or soon will be, or never."""
        worker, turn = rng.randrange(_REGISTRARS), rng.randrange(1, 60)
        return rng.choice(
            [
                f"load:{self._name}-r{worker}-{turn}",
                f"s-{self._name}-r{worker}-{turn}",
                f"shared-{rng.randrange(40)}",
            ]
        )

    def _some_end(self, rng: random.Random) -> dict[str, str]:
        if rng.random() < 0.3:
            return {"external": f"supplier {rng.randrange(10)}", "kind": "supplier"}
        return {"service": self._some_service(rng)}

    async def _submit(self, log: str) -> None:
        sender = self._sender(30 + len(log))
        submitter = Submitter(sender, self._place.kafka, self._place.organisation, self._copies)
        turn = 0
        try:
            while not self._stopping:
                turn += 1
                burst = [self._submission(log, turn, n, sender.random) for n in range(8)]
                await submitter.settle(log, burst)
                await asyncio.sleep(sender.random.expovariate(1 / _PAUSE_S))
        finally:
            await submitter.close()

    def _submission(self, log: str, turn: int, n: int, rng: random.Random) -> Request:
        name = f"{self._name}-{log[0]}k{turn}-{n}"
        alias = f"load-kafka:{log}-{self._name}-{turn}"
        command, subject, data = _submitted(log, n, alias, name, rng)
        data["reason"] = self._credential * 100 if n == 6 else self._text
        document = {
            "specversion": "1.0",
            "id": name,
            "source": "load",
            "type": command,
            "subject": subject,
            "data": data,
        }
        key = submission_key(self._place.organisation, "load", name)
        return Request(key, log, "kafka", "emitter", command, name, document)

    async def _trespass(self) -> None:
        """Send what is not to be repeated anywhere: a credential, a body that is not JSON."""
        sender, turn = self._sender(40), 0
        while not self._stopping:
            turn += 1
            url = sender.random.choice(sender.urls["registry"])
            key = f"estate_{turn % 16:08x}_{self._credential}"
            headers = {
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Idempotency-Key": f"trespass-{turn}",
            }
            body = b'{"name": "' + self._credential.encode() + b'", '
            answer = await sender.ask("POST", f"{url}/v1/services", headers, body)
            if answer is not None and answer.status < 400:
                self._place.ledger.violate("an unknown key was let in")
            await asyncio.sleep(0.5)


def _submitted(
    log: str, n: int, alias: str, name: str, rng: random.Random
) -> tuple[str, str, dict[str, Any]]:
    """The n-th submission of a burst: something new, changes to it, and one that is refused."""
    if log == "registry":
        if n == 0:
            data = {"name": f"Service {name}", "kind": "api", "slug": f"k-{name}"}
            return "estate.service.register.v1", alias, data
        subject = "load-kafka:never" if n == 5 else alias
        return "estate.service.change_phase.v1", subject, {"phase": rng.choice(_PHASES)}
    if n == 0:
        registered = alias.replace("dependencies", "registry", 1)
        to = {"external": "a supplier", "kind": "supplier"}
        declared = {"from": registered, "to": to, "kind": "data"}
        return "estate.dependency.declare.v1", alias, declared
    subject = "load-kafka:never" if n == 5 else alias
    return "estate.dependency.change.v1", subject, {"criticality": rng.choice(["low", "high"])}
