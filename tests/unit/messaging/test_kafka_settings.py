import pytest

from shared.contracts.topics import EVENT_TOPIC_CONFIG
from shared.messaging.kafka import KafkaSettings, TopicMisconfiguredError, check_settings


def test_a_plain_broker_needs_an_address_only() -> None:
    options = KafkaSettings("127.0.0.1:9092").client_options()
    assert options["bootstrap_servers"] == "127.0.0.1:9092"
    assert "sasl_mechanism" not in options
    assert "ssl_context" not in options


def test_credentials_and_encryption_are_passed_on() -> None:
    settings = KafkaSettings("k:9093", "SASL_SSL", "SCRAM-SHA-512", "registry", "hidden")
    options = settings.client_options()
    assert options["sasl_plain_username"] == "registry"
    assert options["ssl_context"].check_hostname
    assert "hidden" not in repr(settings)


def test_a_topic_may_hold_more_than_it_must() -> None:
    actual = {**EVENT_TOPIC_CONFIG, "max.message.bytes": "2000000"}
    check_settings("t", actual, EVENT_TOPIC_CONFIG)
    check_settings("t", {"retention.ms": "-1"}, {"retention.ms": "1000"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup.policy", "compact"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000"),
        ("max.message.bytes", "1000"),
    ],
)
def test_a_topic_that_holds_less_is_refused(name: str, value: str) -> None:
    with pytest.raises(TopicMisconfiguredError, match=name):
        check_settings("t", {**EVENT_TOPIC_CONFIG, name: value}, EVENT_TOPIC_CONFIG)
