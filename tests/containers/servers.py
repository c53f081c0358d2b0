"""Owns a PostgreSQL and a Kafka in containers for one run of the tests.

Must name the same images as docker-compose.yml, and set them up as deploy/local does its servers.
"""

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.4.0"
_KAFKA_SETTINGS: Final = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_LOG_RETENTION_MS": "-1",
    "KAFKA_MESSAGE_MAX_BYTES": str(2 * 1024**2),
    "KAFKA_REPLICA_FETCH_MAX_BYTES": str(2 * 1024**2),
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
}


@contextmanager
def servers() -> Iterator[Mapping[str, str]]:
    """Run both; the variables by which deploy/local finds servers that are given."""
    postgres = PostgresContainer(
        POSTGRES_IMAGE,
        username="postgres",
        password=secrets.token_hex(16),
        dbname="postgres",
        driver=None,
    ).with_command(["postgres", "-c", "max_connections=300"])
    kafka = _kafka(port := free_port())
    with postgres, kafka:
        yield {
            "ESTATE_POSTGRES_DSN": postgres.get_connection_url(),
            "ESTATE_KAFKA_BOOTSTRAP": f"localhost:{port}",
        }


def _kafka(port: int) -> DockerContainer:
    """A broker tells its clients where it is, so its published port is chosen before it starts."""
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
    container.with_envs(**_KAFKA_SETTINGS)
    container.with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://localhost:{port}")
    return container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
