"""Owns what is written into a broker's server.properties.

Must not start or format anything.
"""

from dataclasses import dataclass
from pathlib import Path

ADMIN_USER = "admin"
SCRAM = "SCRAM-SHA-512"
_CONTROLLER_USER = "controller"
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"
_MIB = 1024**2

_ALWAYS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    "delete.topic.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.ms": "-1",
    "message.max.bytes": str(2 * _MIB),
    "replica.fetch.max.bytes": str(2 * _MIB),
    # Internal topics with few partitions: their creation is most of a first group's start.
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.num.partitions": "3",
    "log.cleaner.dedupe.buffer.size": str(16 * _MIB),
    # Until its session ends a broker that was killed leads in name, and is not let in again.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """One broker and controller in one process, listening on 127.0.0.1 only."""

    number: int
    client_port: int
    controller_port: int
    folder: Path

    @property
    def name(self) -> str:
        """Its name as a server process."""
        return f"kafka-{self.number}"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def properties_file(self) -> Path:
        """Written anew at each start, for ports change."""
        return self.folder / "server.properties"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The super user of a cluster with access control, and what controllers say to each other."""

    admin_password: str
    controller_password: str


def render(node: KafkaNode, nodes: list[KafkaNode], credentials: Credentials | None) -> str:
    """The text of server.properties for one node of a cluster."""
    protocol = "SASL_PLAINTEXT" if credentials else "PLAINTEXT"
    client = f"CLIENT://{node.address}"
    settings = _ALWAYS | {
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(
            f"{n.number}@127.0.0.1:{n.controller_port}" for n in nodes
        ),
        "listeners": f"{client},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": client,
        "listener.security.protocol.map": f"CLIENT:{protocol},CONTROLLER:{protocol}",
        "log.dirs": str(node.folder / "data"),
    }
    settings |= _replication(len(nodes))
    if credentials:
        settings |= _access_control(credentials)
    return "".join(f"{key}={value}\n" for key, value in sorted(settings.items()))


def _replication(nodes: int) -> dict[str, str]:
    factor, in_sync = ("3", "2") if nodes >= 3 else ("1", "1")  # noqa: PLR2004 - three copies.
    return {
        "default.replication.factor": factor,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": factor,
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": factor,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _access_control(credentials: Credentials) -> dict[str, str]:
    # Controllers authenticate before any SCRAM record is readable, hence PLAIN between them.
    admin = f'username="{ADMIN_USER}" password="{credentials.admin_password}"'
    secret = credentials.controller_password
    controller = f'username="{_CONTROLLER_USER}" password="{secret}"'
    known = f'user_{_CONTROLLER_USER}="{secret}"'
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMIN_USER};User:{_CONTROLLER_USER}",
        "sasl.enabled.mechanisms": SCRAM,
        "sasl.mechanism.inter.broker.protocol": SCRAM,
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.scram-sha-512.sasl.jaas.config": f"{_SCRAM_MODULE} required {admin};",
        "listener.name.controller.plain.sasl.jaas.config": (
            f"{_PLAIN_MODULE} required {controller} {known};"
        ),
    }
