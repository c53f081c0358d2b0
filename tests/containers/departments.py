"""Owns a department's system beside the estate: what it sends, and what it was promised.

Must count something as sent only when it was acknowledged.
"""

from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from shared.contracts.topics import submissions_topic
from tests.containers.compose_estate import ComposeEstate
from tests.support.eventually import eventually

_SOURCE = "department"
_TAKERS = ("registry", "dependencies")


@dataclass(slots=True)
class Department:
    """One organisation, its key, and the external ids of all that it was acknowledged."""

    estate: ComposeEstate
    organisation: str
    admin_key: str = field(repr=False)
    key: str = field(repr=False)
    sent: list[str] = field(default_factory=list)

    async def has_topics(self) -> bool:
        """Whether both topics that it submits to are there."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.estate.kafka)
        await admin.start()
        try:
            wanted = {submissions_topic(s, self.organisation) for s in _TAKERS}
            return wanted <= set(await admin.list_topics())
        finally:
            await admin.close()

    async def send_over_kafka(self) -> None:
        """Register a service and declare what it depends on, through the external listener."""
        external_id = self._new_id()
        producer = AIOKafkaProducer(bootstrap_servers=self.estate.kafka, acks="all")
        await producer.start()
        try:
            for service, event in (
                ("registry", _registration(external_id)),
                ("dependencies", _declaration(external_id)),
            ):
                topic = submissions_topic(service, self.organisation)
                await producer.send_and_wait(topic, orjson.dumps(event), partition=0)
        finally:
            await producer.stop()
        self.sent.append(external_id)

    async def send_over_http(self) -> None:
        """The same, through the services' own doors."""
        external_id = self._new_id()
        for service, event in (
            ("registry", _registration(external_id)),
            ("dependencies", _declaration(external_id)),
        ):
            status, answer = await self.estate.ask(self.key, service, "/v1/submissions", event)
            assert status == 200, answer
        self.sent.append(external_id)

    async def everything_arrived(self) -> bool:
        """Whether all that was acknowledged is known in each of the three services."""
        return all([await self._arrived(external_id) for external_id in self.sent])

    async def _arrived(self, external_id: str) -> bool:
        alias = f"{_SOURCE}:{external_id}"
        listed, service = await self.estate.ask(self.key, "registry", f"/v1/services/{alias}")
        path = f"/v1/services/{alias}/upstream"
        mapped, upstream = await self.estate.ask(self.key, "dependencies", path)
        path = f"/v1/changes?service={alias}"
        told, changes = await self.estate.ask(self.key, "notifications", path)
        if (listed, mapped, told) != (200, 200, 200):
            return False
        kinds = {item["event"]["type"] for item in changes["items"]}
        wanted = {"estate.service.registered.v1", "estate.dependency.declared.v1"}
        return service["name"] == external_id and bool(upstream["items"]) and wanted <= kinds

    def _new_id(self) -> str:
        return f"s-{token_hex(6)}"


async def found_department(estate: ComposeEstate) -> Department:
    """Issue the first key, register the organisation, and give it a key of its own."""
    admin_key = await estate.issue_key("--role", "admin")
    body = {"name": f"Department {token_hex(4)}", "kind": "department"}
    status, answer = await estate.ask(admin_key, "registry", "/v1/organisations", body)
    assert status == 201, answer
    key = await estate.issue_key("--role", "emitter", "--organisation", answer["id"])
    department = Department(estate, answer["id"], admin_key, key)
    await eventually(department.has_topics, deadline_s=30)
    return department


def _registration(external_id: str) -> dict[str, Any]:
    data = {"name": external_id, "kind": "component"}
    return _event("estate.service.register.v1", external_id, data)


def _declaration(external_id: str) -> dict[str, Any]:
    data = {
        "from": f"{_SOURCE}:{external_id}",
        "to": {"external": "object-storage", "kind": "infrastructure"},
        "kind": "hosting",
    }
    return _event("estate.dependency.declare.v1", external_id, data)


def _event(kind: str, external_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": kind,
        "source": _SOURCE,
        "id": f"{kind.split('.')[1]}-{external_id}",
        "subject": f"{_SOURCE}:{external_id}",
        "data": data,
    }
