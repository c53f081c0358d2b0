"""Submissions of a small service: each adds one event to a stream, at the version it expects."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import TopicPartition

from shared.contracts.envelope import Origin
from shared.contracts.events.organisations import OrganisationRenamed
from shared.contracts.topics import submissions_topic
from shared.eventstore.types import (
    CommandRefusedError,
    Decision,
    NewEvent,
    PendingCommand,
    View,
)
from shared.messaging.intake import Intake, IntakeLimits
from shared.messaging.kafka import KafkaSettings
from shared.messaging.submissions import Headers, Refusal, digest_of, submission_key
from tests.integration.messaging.log_under_test import CLOCK, ORGANISATIONS, LogUnderTest

EFFECTIVE = datetime(2026, 1, 1, tzinfo=UTC)
ORGANISATION = "org_" + "0" * 31 + "1"
OTHER = "org_" + "0" * 31 + "2"
SUBJECT = "org_" + "a" * 32
QUICK = IntakeLimits(lease_ttl_s=1.0, lease_renew_s=0.3, refresh_s=0.2, standby_poll_s=0.2)


class Unsealable(OrganisationRenamed):
    """An event that fails in the writer, outside the decision."""

    def to_json(self) -> dict[str, Any]:
        raise ArithmeticError


class OutOfOrderError(CommandRefusedError):
    """The stream is not at the version that the submission expects."""


def submission(number: int, *, expects: int | None = None, subject: str = SUBJECT) -> bytes:
    return orjson.dumps(
        {"source": "test", "id": f"s-{number}", "subject": subject, "expects": expects}
    )


def to_command(raw: bytes, organisation: str, _headers: Headers) -> PendingCommand | Refusal:
    document = orjson.loads(raw)
    if document.get("type") == "other":
        return Refusal({"type": "/problems/unknown-type", "title": "Not ours."})
    subject, expects = document["subject"], document["expects"]

    def decide(view: View) -> Decision:
        if subject == "broken":
            raise ZeroDivisionError
        version = view.load(ORGANISATIONS, subject).version
        if expects is not None and version != expects:
            raise OutOfOrderError(f"version is {version}, not {expects}")
        if subject == "unsealable":
            return Decision(subject, (NewEvent(subject, Unsealable(name="x"), EFFECTIVE),))
        event = NewEvent(subject, OrganisationRenamed(name=document["id"]), EFFECTIVE)
        return Decision(subject, (event,))

    key = submission_key(organisation, document["source"], document["id"])
    origin = Origin("act_test", "key_test", organisation, "kafka", key, key)
    return PendingCommand(key, digest_of(raw), origin, decide)


async def organisations() -> Sequence[str]:
    return [ORGANISATION]


def make_intake(
    log: LogUnderTest, kafka: KafkaSettings, holder: str = "test", **options: Any
) -> Intake:
    chosen = {"limits": QUICK, **options}
    source = chosen.pop("organisations", organisations)
    return Intake(
        log.name, log.writer, log.pool, kafka, CLOCK, to_command, source, holder=holder, **chosen
    )


def topic_of(log: LogUnderTest, organisation: str = ORGANISATION) -> str:
    return submissions_topic(log.name, organisation)


async def mark_of(log: LogUnderTest, organisation: str = ORGANISATION) -> int:
    place = TopicPartition(topic_of(log, organisation), 0)
    found = await log.pool.fetchval(
        "SELECT next_offset FROM messaging.intake_offsets WHERE topic = $1 AND partition = 0",
        place.topic,
    )
    return found or 0


async def names_in(log: LogUnderTest) -> list[str]:
    """The ids of the submissions that took effect, in the order of the log."""
    events = await log.reader.after(0, 100_000)
    return [event.data["name"] for event in events if event.data]
