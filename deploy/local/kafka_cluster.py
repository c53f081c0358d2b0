"""Owns the brokers of a state folder: their folders, ports, formatting and commands.

Must not decide when they run.
"""

import asyncio
import base64
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.config import KafkaAccess, LaunchConfig
from deploy.local.errors import LaunchError
from deploy.local.java import java_command
from deploy.local.java_cache import java_cache, starting_from
from deploy.local.kafka_jars import class_path
from deploy.local.kafka_properties import ADMIN_USER, SCRAM, Credentials, KafkaNode, render
from deploy.local.keeper_link import KeeperLink
from deploy.local.server_process import ServerProcess
from deploy.local.state_folder import choice, free_ports, log_file, secret

_HEAP = ["-Xms256m", "-Xmx512m", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
_SHORT_LIVED = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_PORTS_PER_NODE = 2


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """One or more nodes on this machine, with what clients and operators need."""

    state_dir: Path
    cluster_id: str
    nodes: list[KafkaNode]
    credentials: Credentials | None
    jars: list[Path]
    java_options: list[str]

    @property
    def access(self) -> KafkaAccess:
        """How to reach it; as the super user where there is access control."""
        return self._access(",".join(node.address for node in self.nodes))

    def access_through(self, node: KafkaNode) -> KafkaAccess:
        """The same by one node only."""
        return self._access(node.address)

    def node(self, number: int) -> KafkaNode:
        """A node by number, from 1.

        Raises: LaunchError when the cluster has no such node.
        """
        for node in self.nodes:
            if node.number == number:
                return node
        raise LaunchError(f"There is no Kafka node {number}; there are {len(self.nodes)}.")

    def server(self, node: KafkaNode) -> ServerProcess:
        """The broker process of a node."""
        options = [*_HEAP, *self.java_options]
        command = java_command(self.jars, options, ["kafka.Kafka", str(node.properties_file)])
        log = log_file(self.state_dir, node.name)
        return ServerProcess(name=node.name, argv=command, cwd=str(node.folder), log=str(log))

    async def format(self, node: KafkaNode, keeper: KeeperLink) -> None:
        """Write the node's properties; make its data folder usable if it is new."""
        _write_properties(node, self.nodes, self.credentials)
        if (node.folder / "data" / "meta.properties").exists():
            return
        arguments = ["format", "-t", self.cluster_id, "-c", str(node.properties_file)]
        if self.credentials:
            password = self.credentials.admin_password
            arguments += ["-S", f"{SCRAM}=[name={ADMIN_USER},password={password}]"]
        options = [*_SHORT_LIVED, *self.java_options]
        command = java_command(self.jars, options, ["kafka.tools.StorageTool", *arguments])
        name = f"{node.name}-format"
        log = log_file(self.state_dir, name)
        await keeper.run(ServerProcess(name=name, argv=command, cwd=str(node.folder), log=str(log)))

    def _access(self, bootstrap: str) -> KafkaAccess:
        if self.credentials is None:
            return KafkaAccess(bootstrap)
        password = self.credentials.admin_password
        return KafkaAccess(bootstrap, "SASL_PLAINTEXT", SCRAM, ADMIN_USER, password)


async def prepare_cluster(
    state_dir: Path,
    config: LaunchConfig,
    *,
    count: int,
    secure: bool,
    on_progress: Callable[[str], None],
) -> KafkaCluster:
    """Fetch or verify the jars, and settle the nodes' folders and ports.

    Raises: LaunchError when the folder holds a cluster of another shape.
    """
    jars = await asyncio.to_thread(
        class_path, config.cache_dir, config.maven_repository, on_progress
    )
    options = starting_from(java_cache(config.cache_dir))
    return await asyncio.to_thread(_settle, state_dir, jars, options, count, secure=secure)


def _settle(
    state_dir: Path, jars: list[Path], java_options: list[str], count: int, *, secure: bool
) -> KafkaCluster:
    folder = state_dir / "kafka"
    folder.mkdir(exist_ok=True)
    wanted: dict[str, object] = {"nodes": count, "secure": secure}
    chosen = choice(folder / "cluster.json", {"cluster_id": _new_cluster_id()} | wanted)
    found = {key: chosen.get(key) for key in wanted}
    if found != wanted:
        raise LaunchError(
            f"{state_dir} holds a Kafka cluster with {found}, and {wanted} was asked for. "
            "Start it as it was made, or give another state folder."
        )
    credentials = _credentials(folder) if secure else None
    nodes = _nodes(folder, count)
    cluster_id = str(chosen["cluster_id"])
    return KafkaCluster(state_dir, cluster_id, nodes, credentials, jars, java_options)


def _nodes(folder: Path, count: int) -> list[KafkaNode]:
    ports = free_ports(_PORTS_PER_NODE * count)
    nodes = []
    for number in range(1, count + 1):
        node_folder = folder / f"node-{number}"
        node_folder.mkdir(exist_ok=True)
        nodes.append(KafkaNode(number, ports.pop(), ports.pop(), node_folder))
    return nodes


def _credentials(folder: Path) -> Credentials:
    return Credentials(secret(folder, "admin"), secret(folder, "controller"))


def _write_properties(
    node: KafkaNode, nodes: list[KafkaNode], credentials: Credentials | None
) -> None:
    node.properties_file.unlink(missing_ok=True)
    fd = os.open(node.properties_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(render(node, nodes, credentials))


def _new_cluster_id() -> str:
    """A random id in Kafka's form, which no command line takes for an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()).startswith("-"):
        continue
    return text.rstrip("=")
