"""Owns credentials for Kafka: what each role may do there, and issuing, listing, revoking them.

Must not touch a user that it has not made: its users are named by opaque principal ids.
"""

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from shared.auth.principals import Role
from shared.clock import IdSource
from shared.contracts.names import is_id
from shared.contracts.topics import (
    LOGS,
    events_prefix,
    rejections_topic,
    submissions_topic,
    submitting_organisation,
)
from shared.messaging.access_control import (
    AccessControl,
    AccessControlOffError,
    AccessRule,
    AclOperation,
    AclResource,
    access_control,
)
from shared.messaging.kafka import KafkaSettings

_PREFIX = "prn"
_SECRET_BYTES = 32
_SASL = "SASL_"


@dataclass(frozen=True, slots=True)
class KafkaUser:
    """A user as the cluster has it: who it is, and what it may do."""

    name: str
    rules: Sequence[AccessRule]

    @property
    def organisations(self) -> list[str]:
        """For whom it may submit."""
        writes = [rule.name for rule in self.rules if rule.operation is AclOperation.WRITE]
        found = (submitting_organisation(topic, log) for topic in writes for log in LOGS)
        return sorted({organisation for organisation in found if organisation})

    @property
    def reads_events(self) -> bool:
        """Whether it may read a log."""
        return any(rule.name == events_prefix(log) for rule in self.rules for log in LOGS)


def rules_for(
    username: str, roles: Collection[Role], organisation: str | None
) -> Iterator[AccessRule]:
    """What a user of these roles may do, and nothing else.

    Raises: ValueError when a role cannot be had on Kafka in that way.
    """
    if Role.ADMIN in roles:
        raise ValueError("there is no role admin, since services make the topics")
    if (Role.EMITTER in roles) != (organisation is not None):
        raise ValueError("an emitter, and nobody else, acts for an organisation")
    for log in LOGS:
        if organisation is not None:
            yield AccessRule(AclOperation.WRITE, submissions_topic(log, organisation))
            yield AccessRule(AclOperation.READ, rejections_topic(log, organisation))
        if set(roles) - {Role.EMITTER}:
            yield AccessRule(AclOperation.READ, events_prefix(log), prefixed=True)
    yield AccessRule(AclOperation.READ, username, AclResource.GROUP, prefixed=True)


async def issue_user(
    settings: KafkaSettings,
    roles: Collection[Role],
    organisation: str | None,
    new_id: IdSource,
) -> KafkaSettings:
    """Make a user with a random password and the rules of its roles; return its access.

    Raises: ValueError as `rules_for`; AccessControlOffError; AccessChangeRefusedError;
    KafkaUnreachableError. What was made until then is taken back.
    """
    username = new_id(f"{_PREFIX}_")
    rules = list(rules_for(username, roles, organisation))
    _require_sasl(settings)
    async with access_control(settings) as control:
        try:
            user = await control.put_user(username, secrets.token_urlsafe(_SECRET_BYTES))
            await control.grant(username, rules)
        except BaseException:
            await _remove(control, username)
            raise
    return user


async def list_users(settings: KafkaSettings) -> list[KafkaUser]:
    """Every user that was issued and not revoked, the oldest first.

    Raises: AccessControlOffError; AccessChangeRefusedError; KafkaUnreachableError.
    """
    _require_sasl(settings)
    async with access_control(settings) as control:
        names, rules = await control.users(), await control.rules()
    issued = sorted(name for name in names if is_user(name))
    return [KafkaUser(name, sorted(rules.get(name, ()))) for name in issued]


async def revoke_user(settings: KafkaSettings, username: str) -> None:
    """Take a user's rules and password away.

    Raises: KeyError when there is no such user of ours; as `list_users`.
    """
    _require_sasl(settings)
    async with access_control(settings) as control:
        if not is_user(username) or username not in await control.users():
            raise KeyError(username)
        await _remove(control, username)


def is_user(reference: str) -> bool:
    """Whether a reference has the form of a user's name."""
    return is_id(reference, _PREFIX)


async def _remove(control: AccessControl, username: str) -> None:
    # Rules first: connections that are open outlive the password, but not the rules.
    await control.withdraw(username)
    await control.remove_user(username)


def _require_sasl(settings: KafkaSettings) -> None:
    """Users log in by SASL; a cluster that is reached without it knows none."""
    if not settings.security_protocol.startswith(_SASL):
        raise AccessControlOffError
