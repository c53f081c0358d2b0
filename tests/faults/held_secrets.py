"""Owns searching what the estate puts out for what must not be in it: logs, metrics, topics.

Must not search what only clients wrote: their submissions and their own files.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from shared.contracts.topics import LOGS
from shared.messaging.kafka import KafkaSettings, list_topics
from tests.faults.held_log import records_of
from tests.faults.ledger import Told

_SEGMENT: Final = re.compile(r"\d+")
_WRITTEN_BY_SERVICES: Final = re.compile(r"estate\.[a-z]+\.(events|rejections)\..+")


@dataclass(frozen=True, slots=True)
class Hidden:
    """What must not be seen: credentials anywhere, texts in nothing that operators read."""

    credentials: Sequence[bytes]
    texts: Sequence[bytes]

    @classmethod
    def of(cls, told: Told, secrets: Iterable[str]) -> "Hidden":
        """What clients planted, and the estate's own keys and passwords."""
        credentials = sorted({*secrets, *told.credentials})
        return cls([one.encode() for one in credentials], [t.encode() for t in sorted(told.texts)])

    def shown_to_operators(self, content: bytes, where: str) -> list[str]:
        """What is wrong with a log or with metrics."""
        texts = [f"a planted text is in {where}" for one in self.texts if one in content]
        return self.shown_to_readers(content, where) + texts[:1]

    def shown_to_readers(self, content: bytes, where: str) -> list[str]:
        """What is wrong with a record, in which text may be."""
        return [f"a secret is in {where}" for one in self.credentials if one in content][:1]


def shown_in_logs(state: Path, hidden: Hidden) -> list[str]:
    """What the log files of the estate, of PostgreSQL and of Kafka show."""
    return [
        fault
        for path in sorted(state.rglob("*.log"))
        # A segment of a topic is named by a number; its content is what was sent.
        if not _SEGMENT.fullmatch(path.stem)
        for fault in hidden.shown_to_operators(path.read_bytes(), path.name)
    ]


async def shown_in_metrics(
    session: aiohttp.ClientSession, addresses: Mapping[str, Any], key: str, hidden: Hidden
) -> list[str]:
    """What the metrics of every service show."""
    faults = []
    for service in ("registry", "dependencies", "notifications"):
        headers = {"Authorization": f"Bearer {key}"}
        async with session.get(f"{addresses[service]}/metrics", headers=headers) as response:
            content = await response.read()
        if response.status != 200 or b"estate_" not in content:
            faults.append(f"{service} shows no metrics: {response.status}")
        faults += hidden.shown_to_operators(content, f"the metrics of {service}")
    return faults


async def shown_on_topics(kafka: KafkaSettings, hidden: Hidden) -> list[str]:
    """What the services wrote to their topics shows: events and rejections."""
    topics = sorted(filter(_WRITTEN_BY_SERVICES.fullmatch, await list_topics(kafka)))
    missing = [log for log in LOGS if not any(t.startswith(f"estate.{log}.e") for t in topics)]
    faults = [f"{log} has no topic to search" for log in missing]
    for topic in topics:
        content = [record.value or b"" async for record in records_of(kafka, topic)]
        faults += hidden.shown_to_readers(b"\n".join(content), topic)
    return faults
