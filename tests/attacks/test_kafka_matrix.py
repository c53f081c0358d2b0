"""Every kind of Kafka user at every topic of an estate, on three brokers with access control."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError

from deploy.local.launcher import backing_services
from shared.auth.principals import Role
from shared.clock import new_id
from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG
from shared.messaging.access_control import access_control
from shared.messaging.kafka import KafkaSettings, kafka_admin
from shared.messaging.kafka_credentials import issue_user

Users = Mapping[str, KafkaSettings]
Operation = Callable[[KafkaSettings, str], Awaitable[bool]]

A, B = new_id("org_"), new_id("org_")


def of_each_log(rest: str) -> tuple[str, str]:
    return f"estate.registry.{rest}", f"estate.dependencies.{rest}"


TOPICS: Final[Mapping[str, tuple[str, str]]] = {
    "submissions of a": of_each_log(f"submissions.{A}"),
    "submissions of b": of_each_log(f"submissions.{B}"),
    "rejections to a": of_each_log(f"rejections.{A}"),
    "rejections to b": of_each_log(f"rejections.{B}"),
    "events": of_each_log("events.1"),
    "events published anew": of_each_log("events.2"),
    "not the estate's": ("payments", "estate.registry.events"),
}
EVENTS: Final = frozenset({"events", "events published anew"})
EVERYTHING: Final = frozenset(TOPICS)
ROLES: Final[Mapping[str, tuple[set[Role], str | None]]] = {
    "emitter of a": ({Role.EMITTER}, A),
    "emitter of b": ({Role.EMITTER}, B),
    "emitter of a and integrator": ({Role.EMITTER, Role.INTEGRATOR}, A),
    "integrator": ({Role.INTEGRATOR}, None),
    "operator": ({Role.OPERATOR}, None),
    "auditor": ({Role.AUDITOR}, None),
}
OF_A: Final = frozenset({"rejections to a"})
MAY: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "emitter of a": {"write": frozenset({"submissions of a"}), "read": OF_A},
    "emitter of b": {
        "write": frozenset({"submissions of b"}),
        "read": frozenset({"rejections to b"}),
    },
    "emitter of a and integrator": {
        "write": frozenset({"submissions of a"}),
        "read": OF_A | EVENTS,
    },
    "integrator": {"read": EVENTS},
    "operator": {"read": EVENTS},
    "auditor": {"read": EVENTS},
    "user without a rule": {},
    # Each service is the cluster's super user. It comes last, since it does delete.
    "services": dict.fromkeys(("write", "read", "create", "delete"), EVERYTHING),
}
"""What each may do, and at which topics; whatever is not said here is to be refused."""


@pytest_asyncio.fixture(loop_scope="session")
async def users() -> AsyncIterator[Users]:
    """Three brokers, a record on every topic, and one user of each kind."""
    # Not below pytest's own folder: the servers' user may not enter that.
    with tempfile.TemporaryDirectory(prefix="estate-acl-", ignore_cleanup_errors=True) as folder:
        async with backing_services(
            Path(folder), postgres=False, kafka_nodes=3, kafka_secure=True
        ) as backing:
            services = KafkaSettings(**asdict(backing.kafka))
            await make_topics(services)
            made = {
                kind: await issue_user(services, roles, organisation, new_id)
                for kind, (roles, organisation) in ROLES.items()
            }
            async with access_control(services) as control:
                made["user without a rule"] = await control.put_user("stranger", "made-up")
            yield {**made, "services": services}


async def make_topics(services: KafkaSettings) -> None:
    names = [name for kind in TOPICS.values() for name in kind]
    async with kafka_admin(services) as admin:
        await admin.ensure(dict.fromkeys(names, SUBMISSION_TOPIC_CONFIG))
    for name in names:
        assert await may_write(services, name)
    async with admin_of(services) as admin:
        found = await admin.describe_topics(names)
    copies = [partition["replicas"] for topic in found for partition in topic["partitions"]]
    assert [sorted(nodes) for nodes in copies] == [[1, 2, 3]] * len(names)


async def may_write(user: KafkaSettings, topic: str) -> bool:
    producer = AIOKafkaProducer(**user.client_options(), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}")
    except TopicAuthorizationFailedError:
        return False
    finally:
        await producer.stop()
    return True


async def may_read(user: KafkaSettings, topic: str) -> bool:
    """Whoever may read a topic may know it; of one that it may not know a client asks for ever."""
    async with admin_of(user) as admin:
        (described,) = await admin.describe_topics([topic])
    if not is_allowed(described["error_code"], 0):
        return False
    consumer = AIOKafkaConsumer(**user.client_options(), auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(20):
            return (await consumer.getone()).value == b"{}"
    except TopicAuthorizationFailedError:
        return False
    finally:
        await consumer.stop()


async def may_create(user: KafkaSettings, topic: str) -> bool:
    """Rights are looked at before whether the topic is there."""
    async with admin_of(user) as admin:
        answer = await admin.create_topics([NewTopic(topic, 1, 1)], validate_only=True)
    return is_allowed(answer.topic_errors[0][1], TopicAlreadyExistsError.errno)


async def may_delete(user: KafkaSettings, topic: str) -> bool:
    async with admin_of(user) as admin:
        answer = await admin.delete_topics([topic])
    return is_allowed(answer.topic_error_codes[0][1], 0)


def is_allowed(code: int, expected: int) -> bool:
    assert code in {expected, TopicAuthorizationFailedError.errno}, code
    return code == expected


@asynccontextmanager
async def admin_of(user: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = user.admin()
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


OPERATIONS: Final[Mapping[str, Operation]] = {
    "write": may_write,
    "read": may_read,
    "create": may_create,
    "delete": may_delete,
}


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_each_kind_of_user_may_do_what_it_is_for_and_nothing_else(users: Users) -> None:
    assert users.keys() == MAY.keys()
    wrong = []
    for user, rights in MAY.items():
        for operation, is_let in OPERATIONS.items():
            allowed = rights.get(operation, frozenset())
            for kind, topics in TOPICS.items():
                found = [await is_let(users[user], topic) for topic in topics]
                if found != [kind in allowed] * len(topics):
                    wrong.append((user, operation, kind, found))
    assert wrong == []
