"""What the demo does with servers that are slow, or given but not there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.demo.sending import Pace, send_over_kafka
from cli.importing.submission import Submission
from cli.local_estate import EstateStartError, local_estate
from deploy.local.launcher import KafkaAccess
from shared.clock import new_id
from shared.messaging.kafka import KafkaSettings, ensure_topic


async def test_a_slow_import_may_take_longer_than_one_standstill(kafka: KafkaAccess) -> None:
    settings, topic = KafkaSettings(kafka.bootstrap), new_id("paced_")
    await ensure_topic(settings, topic, {})
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    submissions = [
        Submission("first-steps", str(n), "service.delist", "a:b", moment, "c", {}, "kafka")
        for n in range(12)
    ]
    sent: list[int] = []
    await send_over_kafka(settings, topic, submissions, Pace(4.0), sent.append, patience_s=2.0)
    assert sum(sent) == len(submissions)


async def test_a_given_database_server_that_does_not_answer_is_told(
    kafka: KafkaAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESTATE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("ESTATE_POSTGRES_DSN", "postgresql://somebody:hidden@127.0.0.1:9/postgres")
    with pytest.raises(EstateStartError, match=r"PostgreSQL at 127\.0\.0\.1:9 .*unset") as told:
        async with local_estate(tmp_path):
            pass
    assert "hidden" not in str(told.value)
