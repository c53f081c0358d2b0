"""Owns users and access rules of a cluster that has access control (SCRAM users, ACLs).

Must be given the super user's access; must not know what the topics mean.

Spoken as wire requests: the broker's jars have had no command-line classes for this since 4.4,
and aiokafka's admin client has no calls for it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import IntEnum

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from deploy.local.config import KafkaAccess
from deploy.local.errors import LaunchError
from deploy.local.readiness import registered_nodes
from deploy.local.scram_request import UpsertScramUser

_POLL_INTERVAL_S = 0.05
_EFFECT_DEADLINE_S = 15.0
_ALLOW = 3
_LITERAL = 3
_PREFIXED = 4


class AclResource(IntEnum):
    """What a rule is about."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class AclOperation(IntEnum):
    """What a rule allows; READ, WRITE, DELETE and ALTER bring DESCRIBE with them."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


async def add_scram_user(access: KafkaAccess, username: str, password: str) -> KafkaAccess:
    """Add a user or change its password; its access, which works when this returns.

    Raises: LaunchError when the cluster refuses.
    """
    async with _client(access) as client:
        response = await client.send(_any_node(client), UpsertScramUser(username, password))
        for _, code, message, *_ in response.results:
            _check(code, message)
    user = access.as_user(username, password)

    async def _known() -> bool:
        return bool(await registered_nodes(user))

    await _until(_known, f"user {username} cannot log in")
    return user


async def grant_acl(
    access: KafkaAccess,
    *,
    username: str,
    operation: AclOperation,
    resource: str,
    resource_type: AclResource = AclResource.TOPIC,
    prefixed: bool = False,
) -> None:
    """Allow a user an operation; in force on every broker when this returns.

    Raises: LaunchError when the cluster refuses.
    """
    pattern = _PREFIXED if prefixed else _LITERAL
    rule = (resource_type, resource, pattern, f"User:{username}", "*", operation, _ALLOW)
    async with _client(access) as client:
        response = await client.send(_any_node(client), CreateAclsRequest(*rule))
        for code, message in response.creation_responses:
            _check(code, message)

        async def _everywhere() -> bool:
            return all([await _has_rule(client, node, rule) for node in _nodes(client)])

        await _until(_everywhere, f"{operation.name} on {resource} is not in force")


@asynccontextmanager
async def _client(access: KafkaAccess) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**access.client_options())
    try:
        await client.bootstrap()
        yield client
    except KafkaError as error:
        raise LaunchError(f"Kafka at {access.bootstrap} refused: {error}") from error
    finally:
        await client.close()


async def _has_rule(
    client: AIOKafkaClient, node: int, rule: tuple[int, str, int, str, str, int, int]
) -> bool:
    response = await client.send(node, DescribeAclsRequest(*rule))
    _check(response.error_code, response.error_message)
    return bool(response.resources)


def _nodes(client: AIOKafkaClient) -> list[int]:
    return [int(broker.nodeId) for broker in client.cluster.brokers()]


def _any_node(client: AIOKafkaClient) -> int:
    return _nodes(client)[0]


def _check(code: int, message: str | None) -> None:
    if code:
        raise for_code(code)(message)


async def _until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    try:
        async with asyncio.timeout(_EFFECT_DEADLINE_S):
            while not await holds():
                await asyncio.sleep(_POLL_INTERVAL_S)
    except TimeoutError as error:
        raise LaunchError(f"After {_EFFECT_DEADLINE_S:.0f} s {otherwise}.") from error
