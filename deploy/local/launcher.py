"""Owns the one way to have a PostgreSQL and a Kafka: given by the environment, else started here.

Must not leave a server running, however its process ends.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local.config import KafkaAccess, LaunchConfig, from_environment
from deploy.local.errors import LaunchError
from deploy.local.kafka_cluster import prepare_cluster
from deploy.local.keeper_link import KeeperLink
from deploy.local.postgres_server import prepare_postgres
from deploy.local.running import FREEZE, KILL, THAW, OwnServer, RunningKafka, RunningPostgres
from deploy.local.state_folder import prepare

__all__ = ["BackingServices", "KafkaAccess", "LaunchError", "backing_services"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    state_dir: Path
    config: LaunchConfig
    postgres: bool
    kafka: bool
    kafka_nodes: int
    kafka_secure: bool
    on_progress: Callable[[str], None]


class BackingServices:
    """What is running, and the faults that can be put upon it.

    Faults raise LaunchError for a service that was not started here.
    """

    def __init__(
        self,
        config: LaunchConfig,
        postgres: RunningPostgres | None = None,
        kafka: RunningKafka | None = None,
    ) -> None:
        self._config = config
        self._postgres = postgres
        self._kafka = kafka

    @property
    def postgres_dsn(self) -> str:
        """`postgresql://postgres:...@127.0.0.1:port/postgres`, or the address given."""
        dsn = self._postgres.dsn if self._postgres else self._config.postgres_dsn
        if dsn is None:
            raise LaunchError("PostgreSQL was not asked for in this launch.")
        return dsn

    @property
    def kafka(self) -> KafkaAccess:
        """How to reach Kafka; as the super user where there is access control."""
        access = self._kafka.access if self._kafka else self._config.kafka
        if access is None:
            raise LaunchError("Kafka was not asked for in this launch.")
        return access

    @property
    def own_servers(self) -> list[OwnServer]:
        """Those that were started here, to be watched."""
        postgres = [self._postgres.server] if self._postgres else []
        return postgres + (self._kafka.servers if self._kafka else [])

    async def start_postgres(self) -> None:
        """Start it again on the same port and data; returns when it answers."""
        await self._own_postgres().start()

    async def stop_postgres(self, *, signal: int = signal.SIGINT) -> None:
        """Stop it: SIGTERM waits for clients, SIGINT closes them, SIGQUIT skips the checkpoint."""
        await self._own_postgres().stop(signal)

    async def kill_postgres(self) -> None:
        """SIGKILL to every one of its processes; returns when they are gone."""
        await self._own_postgres().stop(KILL)

    async def freeze_postgres(self) -> None:
        """Every process of it stands still, its connections stay open."""
        await self._own_postgres().signal(FREEZE)

    async def thaw_postgres(self) -> None:
        """Go on after a freeze."""
        await self._own_postgres().signal(THAW)

    async def start_kafka(self, node: int = 1) -> None:
        """Start a node again on the same ports and data; returns when the cluster counts it."""
        await self._own_kafka().start(node)

    async def stop_kafka(self, node: int = 1) -> None:
        """Stop a node cleanly; returns when it has gone."""
        await self._own_kafka().stop(node)

    async def kill_kafka(self, node: int = 1) -> None:
        """SIGKILL; returns when it has gone."""
        await self._own_kafka().stop(node, KILL)

    async def freeze_kafka(self, node: int = 1) -> None:
        """The node stands still, its connections stay open."""
        await self._own_kafka().signal(node, FREEZE)

    async def thaw_kafka(self, node: int = 1) -> None:
        """Go on after a freeze."""
        await self._own_kafka().signal(node, THAW)

    def _own_postgres(self) -> RunningPostgres:
        if self._postgres is None:
            raise LaunchError("PostgreSQL was not started here: unset ESTATE_POSTGRES_DSN.")
        return self._postgres

    def _own_kafka(self) -> RunningKafka:
        if self._kafka is None:
            raise LaunchError("Kafka was not started here: unset ESTATE_KAFKA_BOOTSTRAP.")
        return self._kafka


@asynccontextmanager
async def backing_services(
    state_dir: Path,
    *,
    postgres: bool = True,
    kafka: bool = True,
    kafka_nodes: int = 1,
    kafka_secure: bool = False,
    cache_dir: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> AsyncIterator[BackingServices]:
    """Have both servers usable inside the block and none of ours running after it.

    `ESTATE_POSTGRES_DSN` and `ESTATE_KAFKA_BOOTSTRAP` win: what they name is used as it is.
    Otherwise servers are started on free ports of 127.0.0.1 with their data in `state_dir`, where
    a later launch finds it again. One launch at a time uses a state folder. Servers end with this
    process even if it is killed.

    Raises: LaunchError when a server cannot be had; the text says what to do.
    """
    config = from_environment()
    config = replace(config, cache_dir=cache_dir or config.cache_dir)
    own_postgres = postgres and config.postgres_dsn is None
    own_kafka = kafka and config.kafka is None
    if not own_postgres and not own_kafka:
        yield BackingServices(config)
        return
    folder = await asyncio.to_thread(prepare, state_dir)
    keeper = await KeeperLink.open(folder)
    tell = on_progress or _say_nothing
    wanted = _Wanted(folder, config, own_postgres, own_kafka, kafka_nodes, kafka_secure, tell)
    try:
        yield await _start(wanted, keeper)
    finally:
        await keeper.close()


async def _start(wanted: _Wanted, keeper: KeeperLink) -> BackingServices:
    try:
        async with asyncio.TaskGroup() as group:
            postgres = group.create_task(_start_postgres(wanted, keeper))
            kafka = group.create_task(_start_kafka(wanted, keeper))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return BackingServices(wanted.config, postgres.result(), kafka.result())


async def _start_postgres(wanted: _Wanted, keeper: KeeperLink) -> RunningPostgres | None:
    if not wanted.postgres:
        return None
    server = await asyncio.to_thread(prepare_postgres, wanted.state_dir)
    running = RunningPostgres(server, keeper)
    await running.start()
    wanted.on_progress(f"PostgreSQL answers on 127.0.0.1:{server.port}")
    return running


async def _start_kafka(wanted: _Wanted, keeper: KeeperLink) -> RunningKafka | None:
    if not wanted.kafka:
        return None
    cluster = await prepare_cluster(
        wanted.state_dir,
        wanted.config,
        count=wanted.kafka_nodes,
        secure=wanted.kafka_secure,
        on_progress=wanted.on_progress,
    )
    running = RunningKafka(cluster, keeper)
    await running.start_all()
    wanted.on_progress(f"Kafka answers on {running.access.bootstrap}")
    return running


def _say_nothing(_: str) -> None:
    pass
