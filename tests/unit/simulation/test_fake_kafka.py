import random

import pytest

from tests.simulation.fake_broker import FakeBroker
from tests.simulation.fake_kafka import FakeKafka
from tests.simulation.kafka_contract import KafkaContract
from tests.simulation.network import Network


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka(FakeBroker(Network(random.Random(1))))  # noqa: S311 - chance, no secret.


@pytest.fixture
def name() -> str:
    return "topic"


class TestFakeKafka(KafkaContract):
    """The fake does what Kafka does."""
