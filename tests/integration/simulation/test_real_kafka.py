import secrets

import pytest

from deploy.local.launcher import BackingServices
from shared.messaging.kafka import KafkaSettings
from tests.integration.messaging.log_under_test import settings_for
from tests.simulation.kafka_contract import KafkaContract


@pytest.fixture
def kafka(backing: BackingServices) -> KafkaSettings:
    return settings_for(backing.kafka)


@pytest.fixture
def name() -> str:
    return f"contract-{secrets.token_hex(6)}"


class TestRealKafka(KafkaContract):
    """Kafka does what the fake is held to."""
