import asyncio
import random

import pytest
from aiokafka import AIOKafkaProducer

from tests.simulation.fake_broker import FakeBroker
from tests.simulation.fake_kafka import FakeKafka
from tests.simulation.kafka_contract import KafkaContract, Lose
from tests.simulation.network import Fate, Network


class LosingNetwork(Network):
    """Loses one answer when told to."""

    lost: asyncio.Event | None = None

    def fate(self) -> Fate:
        if self.lost is None or self.lost.is_set():
            return super().fate()
        self.lost.set()
        return Fate.ANSWER_LOST


@pytest.fixture
def network() -> LosingNetwork:
    return LosingNetwork(random.Random(1))  # noqa: S311 - chance, no secret.


@pytest.fixture
def kafka(network: Network) -> FakeKafka:
    return FakeKafka(FakeBroker(network))


@pytest.fixture
def name() -> str:
    return "topic"


@pytest.fixture
def lose_acknowledgement(network: LosingNetwork) -> Lose:
    def lose(_producer: AIOKafkaProducer) -> asyncio.Event:
        network.lost = asyncio.Event()
        return network.lost

    return lose


class TestFakeKafka(KafkaContract):
    """The fake does what Kafka does."""
