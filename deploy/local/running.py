"""Owns the servers of one launch while they run: start, stop, kill, freeze and thaw of each.

Must not outlive its keeper, and must not touch servers that came from the environment.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.local.config import KafkaAccess
from deploy.local.errors import LaunchError, last_lines
from deploy.local.kafka_cluster import KafkaCluster
from deploy.local.kafka_properties import KafkaNode
from deploy.local.keeper_link import KeeperLink
from deploy.local.postgres_server import NAME as POSTGRES
from deploy.local.postgres_server import PostgresServer
from deploy.local.readiness import NotUsableError, kafka_usable, postgres_usable
from deploy.local.state_folder import is_port_free

_POSTGRES_DEADLINE_S = 60.0
_KAFKA_DEADLINE_S = 90.0


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that was started here, to be watched."""

    name: str
    log_path: Path
    _ended: Callable[[], Awaitable[int | None]]
    _start: Callable[[], Awaitable[None]]

    async def ended(self) -> int | None:
        """Wait until its last process has gone; the exit code if that is known."""
        return await self._ended()

    async def start(self) -> None:
        """Start it again on the same port and data. Raises: LaunchError."""
        await self._start()


class RunningPostgres:
    """A PostgreSQL server of ours; the same port and data for as long as this object lives."""

    def __init__(self, postgres: PostgresServer, keeper: KeeperLink) -> None:
        self._postgres = postgres
        self._keeper = keeper

    @property
    def dsn(self) -> str:
        """How to reach it."""
        return self._postgres.dsn

    async def start(self) -> None:
        """Start it and return when it answers a query.

        Raises: LaunchError with the end of its log.
        """
        server = self._postgres.server()
        _check_port(self._postgres.port, "PostgreSQL")
        await self._postgres.initialise(self._keeper)
        self._postgres.forget_dead_postmaster()
        await self._keeper.start(server)
        try:
            await postgres_usable(self.dsn, self._has_ended, _POSTGRES_DEADLINE_S)
        except NotUsableError as error:
            raise _not_started("PostgreSQL", error, server.log) from error

    @property
    def server(self) -> OwnServer:
        """It, to be watched."""
        log = Path(self._postgres.server().log)
        return OwnServer("PostgreSQL", log, partial(self._keeper.ended, POSTGRES), self.start)

    async def stop(self, number: int) -> None:
        """Stop it by a signal of its own; returns when its last process has gone."""
        await self._keeper.stop(POSTGRES, number)

    async def signal(self, number: int) -> None:
        """Signal it; SIGSTOP and SIGCONT reach every one of its processes."""
        await self._keeper.signal(POSTGRES, number)

    def _has_ended(self) -> bool:
        return self._keeper.has_exited(POSTGRES)


class RunningKafka:
    """The Kafka nodes of ours; the same ports and data for as long as this object lives."""

    def __init__(self, cluster: KafkaCluster, keeper: KeeperLink) -> None:
        self._cluster = cluster
        self._keeper = keeper

    @property
    def access(self) -> KafkaAccess:
        """How to reach the cluster."""
        return self._cluster.access

    @property
    def servers(self) -> list[OwnServer]:
        """Its nodes, to be watched."""
        return [
            OwnServer(
                f"Kafka ({node.name})",
                Path(self._cluster.server(node).log),
                partial(self._keeper.ended, node.name),
                partial(self.start, node.number),
            )
            for node in self._cluster.nodes
        ]

    async def start_all(self) -> None:
        """Format what is new, start every node; return when each of them counts all of them."""
        nodes = self._cluster.nodes
        await asyncio.gather(*(self._cluster.format(node, self._keeper) for node in nodes))
        for node in nodes:
            await self._launch(node)
        everyone = {node.number for node in nodes}
        await asyncio.gather(*(self._usable(node, everyone) for node in nodes))

    async def start(self, number: int) -> None:
        """Start one node and return when the cluster counts it.

        A node that was killed is let in again when its old session has run out (9 s).

        Raises: LaunchError with the end of its log.
        """
        node = self._cluster.node(number)
        await self._launch(node)
        await self._usable(node, {number})

    async def stop(self, number: int, how: int | None = None) -> None:
        """Stop one node, cleanly unless a signal is given; returns when it has gone."""
        await self._keeper.stop(self._cluster.node(number).name, how)

    async def signal(self, number: int, how: int) -> None:
        """Signal one node."""
        await self._keeper.signal(self._cluster.node(number).name, how)

    async def _launch(self, node: KafkaNode) -> None:
        _check_port(node.client_port, node.name)
        _check_port(node.controller_port, node.name)
        await self._keeper.start(self._cluster.server(node))

    async def _usable(self, node: KafkaNode, expected: set[int]) -> None:
        try:
            await kafka_usable(
                self._cluster.access_through(node),
                expected,
                lambda: self._keeper.has_exited(node.name),
                _KAFKA_DEADLINE_S,
            )
        except NotUsableError as error:
            raise _not_started(node.name, error, self._cluster.server(node).log) from error


def _check_port(port: int, whose: str) -> None:
    if not is_port_free(port):
        raise LaunchError(
            f"Port {port} of 127.0.0.1, chosen for {whose}, is taken by another program. "
            "Start again: free ports are chosen at each start."
        )


def _not_started(what: str, error: NotUsableError, log: str) -> LaunchError:
    return LaunchError(f"{what} did not start. {error} {last_lines(Path(log))}")


FREEZE = signal.SIGSTOP
THAW = signal.SIGCONT
KILL = signal.SIGKILL
