"""Owns telling when a server is really usable: it answers what a client would ask.

Must not start or stop anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.config import KafkaAccess

_POLL_INTERVAL_S = 0.05
_QUESTION_TIMEOUT_S = 5.0


class NotUsableError(Exception):
    """The server ended, or did not answer before the deadline; the text says which."""


async def postgres_usable(dsn: str, has_ended: Callable[[], bool], deadline_s: float) -> None:
    """Return when the server answers a query.

    Raises: NotUsableError
    """
    async with _deadline(deadline_s):
        while not await _answers_a_query(dsn):
            await _next_try(has_ended)


async def kafka_usable(
    access: KafkaAccess, nodes: set[int], has_ended: Callable[[], bool], deadline_s: float
) -> None:
    """Return when the cluster answers through `access` and counts the nodes among its brokers.

    Raises: NotUsableError
    """
    async with _deadline(deadline_s):
        # The Kafka client logs every refused connection; a plain socket asks first.
        while not await listens(access.bootstrap):
            await _next_try(has_ended)
        while not nodes <= await registered_nodes(access):
            await _next_try(has_ended)


async def registered_nodes(access: KafkaAccess) -> set[int]:
    """The brokers that the cluster names to a client; empty when it does not answer."""
    options = access.client_options()
    admin = AIOKafkaAdminClient(request_timeout_ms=int(_QUESTION_TIMEOUT_S * 1000), **options)
    try:
        await admin.start()
        brokers = (await admin.describe_cluster())["brokers"]
    except (KafkaError, OSError, TimeoutError):
        return set()
    finally:
        await admin.close()
    return {int(broker["node_id"]) for broker in brokers}


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise NotUsableError(f"It did not answer within {seconds:.0f} s.") from error


async def _next_try(has_ended: Callable[[], bool]) -> None:
    if has_ended():
        raise NotUsableError("It ended while starting.")
    await asyncio.sleep(_POLL_INTERVAL_S)


async def _answers_a_query(dsn: str) -> bool:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        connection = await asyncpg.connect(dsn, timeout=_QUESTION_TIMEOUT_S)
        try:
            return bool(await connection.fetchval("SELECT 1", timeout=_QUESTION_TIMEOUT_S))
        finally:
            await connection.close(timeout=_QUESTION_TIMEOUT_S)
    return False


async def listens(address: str) -> bool:
    """Whether anything takes connections at `host:port`."""
    host, port = address.rsplit(":", 1)
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_QUESTION_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await writer.wait_closed()
        return True
    return False
