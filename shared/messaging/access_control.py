"""Owns users and access rules of a cluster that has access control (SCRAM users, ACLs).

Must be given the super user's access; must not know what the topics mean.

Spoken as wire requests: the broker's jars have had no command-line classes for this since 4.4,
and aiokafka's admin client has no calls for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request

from shared.messaging.kafka import (
    START_DEADLINE_S,
    STOP_DEADLINE_S,
    KafkaSettings,
    KafkaUnreachableError,
    kafka_admin,
    reaching_kafka,
)
from shared.messaging.scram_requests import SCRAM, DeleteUser, DescribeUsers, UpsertUser

_POLL_S: Final = 0.05
_EFFECT_DEADLINE_S: Final = 15.0
_ANY: Final = 1
_ALLOW: Final = 3
_LITERAL: Final = 3
_PREFIXED: Final = 4
_SECURITY_DISABLED: Final = 54
_NO_SUCH_USER: Final = 91
_EVERY_HOST: Final = "*"


class AccessControlOffError(Exception):
    """The cluster lets everybody do everything: a user would bind nobody."""


class AccessChangeRefusedError(Exception):
    """The cluster refuses what was asked of it; the text names its error."""


class AclResource(IntEnum):
    """What a rule is about."""

    TOPIC = 2
    GROUP = 3


class AclOperation(IntEnum):
    """What a rule allows; READ and WRITE bring DESCRIBE with them."""

    READ = 3
    WRITE = 4


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """One thing that a user may do: to a resource, or to all whose names begin so."""

    operation: AclOperation
    name: str
    resource: AclResource = AclResource.TOPIC
    prefixed: bool = False

    def request(self, username: str) -> CreateAclsRequest:
        """The request that makes the rule."""
        pattern = _PREFIXED if self.prefixed else _LITERAL
        about = (self.resource, self.name, pattern)
        return CreateAclsRequest(*about, _principal(username), _EVERY_HOST, self.operation, _ALLOW)


class AccessControl:
    """Looks at users and rules and changes them; a change is in force everywhere on return.

    Every call raises KafkaUnreachableError, AccessChangeRefusedError and AccessControlOffError.
    """

    def __init__(self, client: AIOKafkaClient, settings: KafkaSettings) -> None:
        self._client = client
        self._settings = settings

    async def users(self) -> set[str]:
        """Every user that has a SCRAM-SHA-512 password."""
        return await self._users_on(self._nodes()[0])

    async def rules(self, username: str | None = None) -> Mapping[str, set[AccessRule]]:
        """What each user may do, or one only; rules of a kind that is not ours are left out."""
        return await self._rules_on(self._nodes()[0], username)

    async def put_user(self, username: str, password: str) -> KafkaSettings:
        """Add a user or change its password; return its access, which works."""
        await self._alter(UpsertUser(username, password))
        named = {"sasl_mechanism": SCRAM, "username": username, "password": password}
        user = replace(self._settings, **named)
        await self._until(lambda: _can_log_in(user), f"{username} cannot log in")
        return user

    async def remove_user(self, username: str) -> None:
        """Take a user's password away; nothing to do where there is none."""
        await self._alter(DeleteUser(username))

        async def is_gone() -> bool:
            return not any([username in await self._users_on(node) for node in self._nodes()])

        await self._until(is_gone, f"{username} can still log in")

    async def grant(self, username: str, rules: Iterable[AccessRule]) -> None:
        """Allow a user these things, besides what it may do already."""
        wanted = set(rules)
        for rule in wanted:
            answer = await self._send(self._nodes()[0], rule.request(username))
            for code, _message in answer.creation_responses:
                _check(code)

        async def is_allowed() -> bool:
            return all([wanted <= await self._of(username, node) for node in self._nodes()])

        await self._until(is_allowed, f"the rules of {username} are not in force")

    async def withdraw(self, username: str) -> None:
        """Take away everything that a user may do; open connections feel it too."""
        every = (_ANY, None, _ANY, _principal(username), None, _ANY, _ANY)
        answer = await self._send(self._nodes()[0], DeleteAclsRequest(*every))
        for code, *_rest in answer.filter_responses:
            _check(code)

        async def is_withdrawn() -> bool:
            return not any([await self._of(username, node) for node in self._nodes()])

        await self._until(is_withdrawn, f"the rules of {username} are still in force")

    async def _of(self, username: str, node: int) -> set[AccessRule]:
        return (await self._rules_on(node, username)).get(username, set())

    async def _users_on(self, node: int) -> set[str]:
        answer = await self._send(node, DescribeUsers())
        _check(answer.error_code)
        return {result[0] for result in answer.results}

    async def _rules_on(self, node: int, username: str | None) -> dict[str, set[AccessRule]]:
        principal = None if username is None else _principal(username)
        every = DescribeAclsRequest(_ANY, None, _ANY, principal, None, _ANY, _ANY)
        answer = await self._send(node, every)
        _check(answer.error_code)
        found: dict[str, set[AccessRule]] = {}
        for resource, name, pattern, rules in answer.resources:
            for owner, _host, operation, permission in rules:
                with contextlib.suppress(ValueError):
                    kinds = AclOperation(operation), AclResource(resource)
                    rule = AccessRule(kinds[0], name, kinds[1], pattern == _PREFIXED)
                    if permission == _ALLOW:
                        found.setdefault(owner.removeprefix("User:"), set()).add(rule)
        return found

    async def _alter(self, request: UpsertUser | DeleteUser) -> None:
        answer = await self._send(self._nodes()[0], request)
        for _user, code, *_rest in answer.results:
            if code != _NO_SUCH_USER:
                _check(code)

    async def _send(self, node: int, request: Request[Any]) -> Any:
        async with reaching_kafka(START_DEADLINE_S):
            return await self._client.send(node, request)

    def _nodes(self) -> list[int]:
        return [int(broker.nodeId) for broker in self._client.cluster.brokers()]

    async def _until(self, holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        try:
            async with asyncio.timeout(_EFFECT_DEADLINE_S):
                while not await holds():
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            detail = f"after {_EFFECT_DEADLINE_S:g} s {otherwise}"
            raise AccessChangeRefusedError(detail) from error


@asynccontextmanager
async def access_control(settings: KafkaSettings) -> AsyncIterator[AccessControl]:
    """Open a connection of the super user for the block.

    Raises: AccessControlOffError; AccessChangeRefusedError; KafkaUnreachableError.
    """
    client = AIOKafkaClient(**settings.client_options())
    try:
        async with reaching_kafka(START_DEADLINE_S):
            await client.bootstrap()
        control = AccessControl(client, settings)
        await control.rules("")
        yield control
    finally:
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(STOP_DEADLINE_S):
                await client.close()


async def _can_log_in(user: KafkaSettings) -> bool:
    with contextlib.suppress(KafkaUnreachableError):
        async with kafka_admin(user):
            return True
    return False


def _principal(username: str) -> str:
    return f"User:{username}"


def _check(code: int) -> None:
    if code == _SECURITY_DISABLED:
        raise AccessControlOffError
    if code:
        raise AccessChangeRefusedError(for_code(code).__name__)
