"""Checks that an import that nothing comes of ends with what to do, and not with a traceback."""

from datetime import UTC, datetime

import pytest

from cli.demo.questions import day_before_import
from cli.demo.sending import (
    ImportStalledError,
    Pace,
    await_settled,
    await_topic,
    send_over_kafka,
)
from cli.importing.submission import Submission
from shared.http.client import ApiClient
from shared.messaging.kafka import KafkaSettings
from tests.unit.cli.stand_in import KEY, StandIn

NOWHERE = KafkaSettings("127.0.0.1:9")


def submission(identity: str) -> Submission:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    return Submission("first-steps", identity, "service.delist", "a:b", moment, "c", {}, "kafka")


async def test_a_kafka_that_takes_nothing_is_told() -> None:
    with pytest.raises(ImportStalledError, match=r"Kafka took no submission within 0\.3 s") as told:
        await send_over_kafka(
            NOWHERE, "topic", [submission("1")], Pace(None), lambda _sent: None, patience_s=0.3
        )
    assert "run the same command again" in str(told.value.advice)


async def test_a_topic_that_is_never_made_is_told() -> None:
    with pytest.raises(ImportStalledError, match=r"The topic \S+ was not made within 0\.3 s"):
        await await_topic(NOWHERE, "registry", "org_1", patience_s=0.3)


async def test_a_submission_that_is_never_decided_is_told(stand_in: StandIn) -> None:
    async with ApiClient(stand_in.url, KEY) as client:
        await await_settled(client, [submission("never"), submission("1")], patience_s=5)
        with pytest.raises(ImportStalledError, match="first-steps never was not decided"):
            await await_settled(client, [submission("never")], patience_s=0.3)


def test_nothing_is_said_to_be_unknown_on_a_day_after_the_import_began() -> None:
    recorded = ["2026-11-03T00:00:01.000000Z", "2026-11-01T23:59:59.999999Z"]
    changes = [{"recordedtime": one, "time": "2016-01-01T00:00:00.000000Z"} for one in recorded]
    assert day_before_import(changes).isoformat() == "2026-10-31"
