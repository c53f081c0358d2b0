"""Owns the estate under attack: access control on Kafka, two organisations, a key for every caller.

Must not be looked into by an attack: attacks use its doors. The inquest at its end may look.
"""

import asyncio
import io
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from cli.local_estate import LocalEstate, local_estate
from cli.local_state import keys_path
from deploy.local.launcher import BackingServices, backing_services
from shared.auth.keys import revoke_key
from shared.auth.principals import Role
from shared.clock import SystemClock, new_id
from shared.contracts.topics import submissions_topic
from shared.http.routes import JSON
from shared.messaging.kafka import KafkaSettings
from shared.messaging.kafka_credentials import issue_user
from tests.attacks.documents import Document
from tests.support.demo_runs import ESTATE
from tests.support.eventually import eventually

LOGS: Final = ("registry", "dependencies")
STRANGERS: Final = ("nobody", "forged", "impostor", "revoked")
"""No key; a key never issued; the prefix of a real key with another secret; a key taken back."""
CALLERS: Final = ("a", "b", "integrator", "operator", "auditor", "admin", *STRANGERS)
"""`a` and `b` are emitters, each of the organisation of that name."""
ORGANISATIONS: Final = ("a", "b")
EVER: Final = "2000-01-01T00:00:00Z"
"""Since when there are these organisations."""
_LARGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def problem(self) -> str:
        """The kind of problem, empty when it is none."""
        return kind_of(self.document) if self.status >= 400 else ""


async def first_event(stream: aiohttp.StreamReader) -> bytes:
    """What a stream of server-sent events says up to the end of its first event with data."""
    told = bytearray()
    while b"\ndata: " not in told or not told.endswith(b"\n\n"):
        told += await stream.readuntil(b"\n")
    return bytes(told)


def kind_of(problem: Any) -> str:
    """The slug of a problem document."""
    return str(problem.get("type", "")).rpartition("/")[2] if isinstance(problem, dict) else ""


@dataclass(frozen=True, slots=True)
class AttackedEstate:
    """A running estate and everything that attacks are made with."""

    local: LocalEstate
    backing: BackingServices
    session: aiohttp.ClientSession
    ids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict, repr=False)
    canaries: set[str] = field(default_factory=set, repr=False)
    documents: dict[str, Document] = field(default_factory=dict, repr=False)

    def port(self, service: str) -> int:
        """Where a service serves."""
        return self.local.services[service].port

    def pids(self) -> dict[str, int]:
        """The process of each service."""
        running = {name: one.process for name, one in self.local.services.items()}
        return {name: process.pid for name, process in running.items() if process is not None}

    async def ask(
        self,
        service: str,
        method: str,
        path: str,
        *,
        as_: str = "admin",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask a service as one of the callers.

        No answer may hold a secret, and a successful one is as the service's document says.
        """
        sent = {**self.authorization(as_), **(headers or {})}
        data = body if isinstance(body, bytes | None) else orjson.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        sized = io.BytesIO(data) if data is not None and len(data) > _LARGE else data
        address = self.local.urls[service] + path
        async with self.session.request(
            method, address, data=sized, headers=sent, params=query, allow_redirects=False
        ) as response:
            streams = response.content_type == "text/event-stream"
            raw = await (first_event(response.content) if streams else response.read())
            answer = Answer(response.status, dict(response.headers), raw)
        shown = repr(answer.headers).encode() + answer.body
        assert not [canary for canary in self.canaries if canary.encode() in shown]
        if method != "HEAD" and answer.status < 300 and response.content_type == JSON:
            await self._hold_to_document(service, method, path, answer)
        return answer

    async def _hold_to_document(self, service: str, method: str, path: str, answer: Answer) -> None:
        if service not in self.documents:
            address = f"{self.local.urls[service]}/openapi.json"
            async with self.session.get(address) as response:
                self.documents[service] = Document(orjson.loads(await response.read()))
        said = self.documents[service]
        said.check(method, path.partition("?")[0], answer.status, answer.document)

    def authorization(self, caller: str) -> dict[str, str]:
        """The header by which a caller says who it is."""
        key = self.keys[caller]
        return {} if key is None else {"Authorization": f"Bearer {key}"}

    async def command(
        self, service: str, path: str, body: Any, *, as_: str = "admin"
    ) -> dict[str, Any]:
        """A command that must be accepted; its answer."""
        answer = await self.ask(service, "POST", path, as_=as_, body=body)
        assert answer.status in {200, 201}, answer
        accepted: dict[str, Any] = answer.document
        return accepted

    async def heads(self) -> dict[str, int]:
        """How far each log goes."""
        answers = {log: await self.ask(log, "GET", "/v1/log") for log in LOGS}
        return {log: answer.document["position"] for log, answer in answers.items()}

    async def writer_for(self, organisation: str) -> KafkaSettings:
        """A Kafka user as `estate keys issue --kafka` gives an emitter of an organisation."""
        roles = {Role.EMITTER}
        return await issue_user(self.local.kafka, roles, self.ids[organisation], new_id)

    async def are_ready(self) -> bool:
        """Whether every service says that it is ready."""
        answers = [await self.ask(name, "GET", "/readyz") for name in self.local.services]
        return all(answer.status == 200 for answer in answers)


@asynccontextmanager
async def attacked_estate(state_dir: Path) -> AsyncIterator[AttackedEstate]:
    """Run an estate to attack, and hold an inquest at the end.

    Raises: AssertionError when a log of a service is not what it should be.
    """
    async with (
        backing_services(state_dir / "servers", kafka_secure=True) as backing,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session,
    ):
        with pytest.MonkeyPatch.context() as environment:
            for name, value in _given(backing).items():
                environment.setenv(name, value)
            async with local_estate(state_dir / "estate") as local:
                estate = AttackedEstate(local, backing, session)
                await _settle(estate)
                yield estate
                await inquest(estate)


def _given(backing: BackingServices) -> dict[str, str]:
    kafka = backing.kafka
    return {
        "ESTATE_POSTGRES_DSN": backing.postgres_dsn,
        "ESTATE_PUBLIC_READS": "true",
        "ESTATE_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "ESTATE_KAFKA_SECURITY_PROTOCOL": kafka.security_protocol,
        "ESTATE_KAFKA_SASL_MECHANISM": kafka.sasl_mechanism or "",
        "ESTATE_KAFKA_USERNAME": kafka.username or "",
        "ESTATE_KAFKA_PASSWORD": kafka.password or "",
    }


async def _settle(estate: AttackedEstate) -> None:
    local = estate.local
    estate.keys["admin"], estate.keys["nobody"] = local.keys["admin"], None
    for name in ORGANISATIONS:
        body = {"name": f"Organisation {name}", "kind": "department", "slug": f"org-{name}"}
        body["effective_from"] = EVER
        estate.ids[name] = (await estate.command("registry", "/v1/organisations", body))["id"]
        estate.keys[name] = local.ensure_key(f"emitter-{name}", Role.EMITTER, estate.ids[name])
    for role in (Role.INTEGRATOR, Role.OPERATOR, Role.AUDITOR):
        # Even of the organisation under attack: the role decides.
        estate.keys[role] = local.ensure_key(role, role, estate.ids["a"])
    estate.keys["forged"] = f"estate_00000000_{'A' * 43}"
    own = str(estate.keys["a"])
    estate.keys["impostor"] = own[:-2] + ("AA" if own[-2:] != "AA" else "BB")
    estate.keys["revoked"] = local.ensure_key("former", Role.EMITTER, estate.ids["a"])
    await eventually(lambda: _is_let_in(estate, "revoked"))
    prefix = str(estate.keys["revoked"]).split("_")[1]
    revoke_key(keys_path(local.state_dir), prefix, clock=SystemClock())
    await eventually(lambda: _is_locked_out(estate, "revoked"), 6.0)
    await _topics_are_made(estate)
    estate.canaries.update(_secrets(estate))


async def _topics_are_made(estate: AttackedEstate) -> None:
    wanted = {submissions_topic(log, estate.ids[name]) for log in LOGS for name in ORGANISATIONS}
    admin = AIOKafkaAdminClient(**estate.backing.kafka.client_options())
    await admin.start()

    async def are_there() -> bool:
        return wanted <= set(await admin.list_topics())

    try:
        await eventually(are_there, 60.0)
    finally:
        await admin.close()


async def _is_let_in(estate: AttackedEstate, caller: str) -> bool:
    asked = [await estate.ask(log, "GET", "/v1/log", as_=caller) for log in LOGS]
    asked.append(await estate.ask("notifications", "GET", "/v1/changes", as_=caller))
    return all(answer.status == 200 for answer in asked)


async def _is_locked_out(estate: AttackedEstate, caller: str) -> bool:
    asked = [await estate.ask(log, "GET", "/v1/log", as_=caller) for log in LOGS]
    asked.append(await estate.ask("notifications", "GET", "/v1/changes", as_=caller))
    return all(answer.status == 401 for answer in asked)


def _secrets(estate: AttackedEstate) -> Iterator[str]:
    """Everything that is never to be shown: keys, passwords, the secret of cursors."""
    yield from (key for key in estate.keys.values() if key is not None)
    yield (estate.local.state_dir / "secret").read_text()
    dsns = [estate.backing.postgres_dsn]
    for access in estate.local.databases.values():
        dsns += [access.app_dsn, access.owner_dsn]
    yield from (password for dsn in dsns if (password := urlsplit(dsn).password))
    if estate.backing.kafka.password:
        yield estate.backing.kafka.password


async def inquest(estate: AttackedEstate) -> None:
    """What must hold after any attack: ready, logs whole, no secret told, one record per line."""
    await eventually(estate.are_ready)
    for service in estate.local.services:
        await estate.ask(service, "GET", "/metrics")
    for process in estate.local.services.values():
        check_log_lines(process.log_path.read_bytes(), estate.canaries)
    verified = await verify(estate)
    assert verified["ok"], verified


def check_log_lines(raw: bytes, canaries: set[str]) -> None:
    """Every line is one JSON record, nothing crashed, and no secret stands in it."""
    assert not [canary for canary in canaries if canary.encode() in raw]
    assert b"\x1b" not in raw
    for line in raw.split(b"\n")[:-1]:
        record = json.loads(line)
        assert {"event", "level", "timestamp"} <= record.keys(), record
        assert record["level"] not in {"error", "critical"}, record


async def verify(estate: AttackedEstate) -> Any:
    """What `estate verify` says of the logs, tables and topics."""
    command = [str(ESTATE), "verify", "--json", "--state", str(estate.local.state_dir)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    return json.loads(done.stdout) if done.stdout else {"ok": False, "said": done.stderr.decode()}
