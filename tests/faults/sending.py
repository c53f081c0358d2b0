"""Owns sending one request until its outcome is known, whatever happens in between.

Must not choose what is sent. A definite "not done" that was not true goes into the ledger.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from tests.faults.ledger import Ledger, Request

NOT_DONE: Final = frozenset({"not-ready", "overloaded", "clock-suspect", "log-halted"})
"""Problems that say for certain that nothing was written."""
_UNKNOWN: Final = frozenset({"outcome-unknown", "timed-out", "internal"})
_ATTEMPT_S: Final = 8.0


@dataclass(slots=True)
class Ending:
    """Says when there is no more time to learn outcomes."""

    at: float | None = None

    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.at is not None and asyncio.get_running_loop().time() > self.at


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    replayed: bool

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        return str(self.document.get("type", "")).rsplit("/", 1)[-1]


@dataclass(slots=True)
class Sender:
    """Sends over HTTP to whichever process of a service answers."""

    session: aiohttp.ClientSession
    urls: dict[str, list[str]]
    keys: Mapping[str, str]
    ledger: Ledger
    random: random.Random
    ending: Ending
    secrets: Sequence[str] = ()
    _shown: set[str] = field(default_factory=set)

    async def settle(self, request: Request, *, twice: bool = False) -> Mapping[str, Any] | None:
        """Send until accepted or refused; `twice` at once. Returns the answer if accepted."""
        self.ledger.send(request)
        if not twice:
            return await self._settle(request, alone=True, note=True)
        first, second = await asyncio.gather(
            self._settle(request, alone=False, note=True),
            self._settle(request, alone=False, note=False),
        )
        if first is not None and second is not None and first != second:
            self.ledger.violate(f"one key had two outcomes: {request.key}")
        return first

    async def _settle(
        self, request: Request, *, alone: bool, note: bool
    ) -> Mapping[str, Any] | None:
        in_doubt: set[str] = set()
        while not self.ending.is_over():
            url = self.random.choice(self.urls[request.log])
            answer = await self._attempt(url, request)
            problem = "" if answer is None or answer.status < 400 else answer.problem
            if answer is None or problem in _UNKNOWN:
                in_doubt.add(url)
                if problem == "internal":
                    self.ledger.violate(f"answered 500: {request.key}")
            elif not problem:
                if alone and not in_doubt and answer.replayed:
                    self.ledger.violate(f"was written, but said not to be: {request.key}")
                accepted: Mapping[str, Any] = answer.document
                if note:
                    self.ledger.accept(request, accepted)
                return accepted
            elif problem not in NOT_DONE:
                if note:
                    self.ledger.refuse(request, problem, doubtful=bool(in_doubt - {url}))
                return None
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
        return None

    async def _attempt(self, url: str, request: Request) -> _Answer | None:
        headers = {
            "Authorization": f"Bearer {self.keys[request.sender]}",
            "Idempotency-Key": request.name,
            "Content-Type": "application/json",
        }
        return await self.ask("POST", url + request.path, headers, orjson.dumps(request.body))

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> _Answer | None:
        """One attempt; None when no whole answer came."""
        try:
            timeout = aiohttp.ClientTimeout(total=_ATTEMPT_S)
            async with self.session.request(
                method, url, headers=headers, data=body, timeout=timeout
            ) as response:
                replayed = response.headers.get("Idempotency-Replayed") == "true"
                answer = _Answer(response.status, await response.read(), replayed)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        for secret in self.secrets:
            if secret.encode() in answer.body and secret not in self._shown:
                self._shown.add(secret)
                self.ledger.violate("an answer shows a secret")
        return answer
