"""Owns the names and settings of every Kafka topic.

Must not connect to Kafka.
"""

import re
from collections.abc import Iterable
from typing import Final

LOGS: Final = ("registry", "dependencies")
"""The services that have a log and take submissions."""

EVENT_TOPIC_CONFIG: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
}
SUBMISSION_TOPIC_CONFIG: Final = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * 24 * 3600 * 1000),
    "max.message.bytes": "1048588",
}
MAX_EVENT_BYTES: Final = 512 * 1024

_PUBLICATION: Final = re.compile(r"[1-9][0-9]{0,8}")
_SUBMISSIONS: Final = re.compile(
    r"estate\.(?P<service>[a-z]+)\.submissions\.(?P<organisation>org_[0-9a-f]{32})"
)


def events_topic(log: str, publication: int) -> str:
    """The topic that holds the whole log from position 1, in one partition."""
    return f"{events_prefix(log)}{publication}"


def events_prefix(log: str) -> str:
    """How the name of every publication of a log begins."""
    return f"estate.{log}.events."


def newest_publication(log: str, topics: Iterable[str]) -> int:
    """The highest number of a publication of the log among these topics; 0 when there is none."""
    prefix = events_prefix(log)
    numbers = (topic.removeprefix(prefix) for topic in topics if topic.startswith(prefix))
    return max((int(n) for n in numbers if _PUBLICATION.fullmatch(n)), default=0)


def submissions_topic(service: str, organisation: str) -> str:
    """The topic into which one organisation writes its submissions to one service."""
    return f"estate.{service}.submissions.{organisation}"


def rejections_topic(service: str, organisation: str) -> str:
    """The topic on which a service answers what it refused from one organisation."""
    return f"estate.{service}.rejections.{organisation}"


def submitting_organisation(topic: str, service: str) -> str | None:
    """The organisation that owns a submissions topic of `service`; None for any other topic."""
    match = _SUBMISSIONS.fullmatch(topic)
    return match["organisation"] if match and match["service"] == service else None
