import asyncio
import secrets
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.api import Request

from deploy.local.launcher import BackingServices
from shared.messaging.kafka import KafkaSettings
from tests.integration.messaging.log_under_test import settings_for
from tests.simulation.kafka_contract import KafkaContract, Lose

_PRODUCE = 0
"""What Kafka calls the request that holds batches."""


@pytest.fixture
def kafka(backing: BackingServices) -> KafkaSettings:
    return settings_for(backing.kafka)


@pytest.fixture
def name() -> str:
    return f"contract-{secrets.token_hex(6)}"


@pytest.fixture
def lose_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> Lose:
    """The broker answers; all that the producer learns is that its connection is gone."""

    def lose(producer: AIOKafkaProducer) -> asyncio.Event:
        send, lost = producer.client.send, asyncio.Event()

        async def send_and_lose(node: int, request: Request[Any], **options: Any) -> Any:
            answer = await send(node, request, **options)
            if request.API_KEY == _PRODUCE and not lost.is_set():
                lost.set()
                raise KafkaConnectionError("lost")
            return answer

        monkeypatch.setattr(producer.client, "send", send_and_lose)
        return lost

    return lose


class TestRealKafka(KafkaContract):
    """Kafka does what the fake is held to."""
