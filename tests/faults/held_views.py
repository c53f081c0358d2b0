"""Owns holding what readers see against the logs: feed, models, ends of dependencies.

Must not take part of an answer for granted because another part was right.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson

from cli.replaying import PROJECTIONS, replay_model
from cli.verifying import verify_logs
from shared.contracts.names import parse_positions
from shared.messaging.kafka import KafkaSettings
from tests.faults.held_log import Held
from tests.faults.ledger import Told
from tests.faults.world import LOGS, READS, head_of

_SETTLED_S: Final = 90.0
_RESOLVED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Views:
    """The services, asked with two keys."""

    session: aiohttp.ClientSession
    addresses: Mapping[str, Any]
    keys: Mapping[str, str]

    async def document(self, service: str, path: str) -> Any:
        """Ask until there is an answer, for a time."""
        async with asyncio.timeout(_SETTLED_S):
            while True:
                status, document, _ = await self._ask("GET", service, path)
                if status == 200:
                    return document
                await asyncio.sleep(0.2)

    async def _ask(
        self, method: str, service: str, path: str, body: Any = None, key: str = "", who: str = ""
    ) -> tuple[int, Any, bool]:
        headers = {"Authorization": f"Bearer {self.keys[who or 'admin']}"}
        if key:
            headers |= {"Idempotency-Key": key, "Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        url = self.addresses[service] + path
        try:
            async with self.session.request(method, url, headers=headers, data=data) as response:
                replayed = response.headers.get("Idempotency-Replayed") == "true"
                return response.status, orjson.loads(await response.read()), replayed
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return 0, None, False

    async def resolve(self, told: Told, violations: list[str]) -> None:
        """Send what is unknown again, twice: one outcome. Some of the accepted: the same again."""
        accepted = [one for one in told.entries.values() if one.state == "accepted"]
        for entry in [one for one in told.entries.values() if one.state == "unknown"]:
            first, second = [await self._outcome(entry.request) for _ in range(2)]
            if first is None or first != second:
                violations.append(f"does not resolve: {entry.request.key}: {first}, {second}")
            elif first[0] < 400:
                entry.state, entry.answer = "accepted", first[1]
            else:
                entry.state = "refused"
        for entry in [one for one in accepted if one.request.door == "http"][-200::4]:
            again = await self._outcome(entry.request)
            if again is None or again[0] >= 400 or again[1] != entry.answer:
                violations.append(f"lost: the same key has another outcome: {entry.request.key}")

    async def _outcome(self, request: Any) -> tuple[int, Any] | None:
        """Over HTTP in either case: the key of a submission is the same through both doors."""
        path = request.path if request.door == "http" else "/v1/submissions"
        try:
            async with asyncio.timeout(_RESOLVED_S):
                while True:
                    status, answer, _ = await self._ask(
                        "POST", request.log, path, request.body, request.name, request.sender
                    )
                    if 0 < status < 500:
                        return (status, answer if status < 400 else answer.get("type"))
                    await asyncio.sleep(0.2)
        except TimeoutError:
            return None

    async def settled(self, databases: Mapping[str, str], violations: list[str]) -> None:
        """Wait until every service shows all that the logs hold."""
        heads = {log: await head_of(databases[log]) for log in LOGS}
        for service, path in READS.items():
            try:
                async with asyncio.timeout(_SETTLED_S):
                    while not _shows(await self.document(service, path), heads):
                        await asyncio.sleep(0.1)
            except TimeoutError:
                violations.append(f"{service} does not come to {heads}")

    async def changes(self) -> list[Any]:
        """The whole change feed, from its start."""
        items, path = [], "/v1/changes?limit=200"
        while (page := await self.document("notifications", path))["items"]:
            items += page["items"]
            path = f"/v1/changes?limit=200&after={quote(page['next'])}"
        return items

    async def dependencies(self) -> list[Any]:
        """All dependencies that are declared."""
        items, path = [], "/v1/dependencies?limit=200"
        while True:
            page = await self.document("dependencies", path)
            items += page["items"]
            if not page.get("next"):
                return items
            path = f"/v1/dependencies?limit=200&cursor={quote(page['next'])}"


def faults_of_feed(items: Sequence[Any], logs: Mapping[str, Held]) -> list[str]:
    """The feed has every position of both logs once, in the log's bytes."""
    faults: list[str] = []
    reached = dict.fromkeys(logs, 0)
    for item in items:
        log, held = item["log"], logs[item["log"]]
        position = int(item["event"]["position"])
        if position != reached[log] + 1:
            faults.append(f"the feed goes from {log}:{reached[log]} to {position}")
        elif item["event"] != held.events[position - 1].document:
            faults.append(f"the feed changes {log}:{position}")
        reached[log] = position
    for log, held in logs.items():
        if reached[log] != held.head:
            faults.append(f"the feed ends at {log}:{reached[log]} of {held.head}")
    return faults


def faults_of_ends(items: Sequence[Any], logs: Mapping[str, Held]) -> list[str]:
    """What is declared is listed once, and each end is what the registry's log says it means."""
    names = _names(logs["registry"])
    declared = _declared(logs["dependencies"])
    listed = Counter(item["id"] for item in items)
    faults = [
        f"{dependency} is listed {listed[dependency]} times, and declared {int(is_declared)}"
        for dependency in sorted(listed.keys() | declared.keys())
        if listed[dependency] != (is_declared := dependency in declared)
    ]
    for item in items:
        for end, name in declared.get(item["id"], {}).items():
            expected = names.get(name)
            if item[end]["service"] != expected:
                faults.append(f"{item['id']} {end} {name}: not {expected}")
    return faults


def _shows(document: Any, heads: Mapping[str, int]) -> bool:
    return all(p.position >= heads[p.log] for p in parse_positions(document["positions"]))


def _names(registry: Held) -> dict[str, str]:
    """Which service each id, slug and alias means, by the log alone."""
    names: dict[str, str] = {}
    for event in registry.events:
        data, subject = event.document["data"], event.document["subject"]
        if event.document["type"] == "estate.service.registered.v1":
            names |= dict.fromkeys([subject, data["slug"], *data.get("aliases", ())], subject)
        elif event.document["type"] == "estate.service.alias_added.v1":
            names[data["alias"]] = subject
    return names


def _declared(dependencies: Held) -> dict[str, dict[str, str]]:
    """The ends that are services, in the words of its declaration, of each that still stands."""
    ends: dict[str, dict[str, str]] = {}
    for event in dependencies.events:
        data, subject = event.document["data"], event.document["subject"]
        if event.document["type"] == "estate.dependency.declared.v1":
            found = {"from": data["from"], "to": data["to"].get("service")}
            ends[subject] = {k: v for k, v in found.items() if v is not None}
        elif event.document["type"] == "estate.dependency.withdrawn.v1":
            ends.pop(subject, None)
    return ends


def faults_of_follower(path: Path, logs: Mapping[str, Held]) -> list[str]:
    """Who followed the feed through all faults got 1, 2, 3, ... of each log, nothing twice.

    And had everything, whenever nothing more was written for a time.
    """
    reached = dict.fromkeys(logs, 0)
    lines = path.read_bytes().splitlines() if path.exists() else []
    faults = [] if lines else [f"a follower was sent nothing: {path.name}"]
    for line in map(orjson.loads, lines):
        for text in line["positions"]:
            (at,) = parse_positions(text)
            if at.position != reached[at.log] + 1:
                faults.append(f"a follower was sent {text} behind {reached[at.log]}")
            reached[at.log] = at.position
        faults += [
            f"a follower was not sent {log}:{end}: {path.name} ends at {reached[log]}"
            for log, end in line.get("ends", {}).items()
            if reached[log] < end
        ]
    return faults


async def faults_of_models(
    databases: Mapping[str, str], kafka: KafkaSettings, models: Iterable[str] = PROJECTIONS
) -> list[str]:
    """Every read model is the fold of its sources, from the logs and from the topics."""
    faults = []
    for model in models:
        for source in ("log", "topic"):
            report = await replay_model(model, source, databases, kafka, None, lambda *_: None)
            if not report.same:
                shown = orjson.dumps(report.differences[:1], default=str).decode()
                faults.append(f"{model} is not the fold of its {source}: {shown}")
    return faults


async def faults_of_trees(databases: Mapping[str, str], kafka: KafkaSettings) -> list[str]:
    """The verifier, which shares no code with the writer, finds nothing."""
    reports = await verify_logs({log: databases[log] for log in LOGS}, kafka)
    return [
        f"verify {report.log}: {report.first_fault}" for report in reports if report.first_fault
    ]
