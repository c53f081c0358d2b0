"""Users of Kafka as `estate keys` issues them, tried on a real cluster with access control."""

import asyncio
import json
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from cli.local_state import read_kafka_file
from deploy.local.launcher import backing_services
from shared.clock import new_id
from shared.contracts.topics import (
    LOGS,
    SUBMISSION_TOPIC_CONFIG,
    events_topic,
    rejections_topic,
    submissions_topic,
)
from shared.messaging.access_control import access_control
from shared.messaging.kafka import KafkaSettings, KafkaUnreachableError, kafka_admin
from tests.support.demo_runs import ESTATE
from tests.support.eventually import eventually

MINE, OTHER = new_id("org_"), new_id("org_")
TOPICS = [
    of(log, organisation)
    for log in LOGS
    for organisation in (MINE, OTHER)
    for of in (submissions_topic, rejections_topic)
] + [events_topic(log, 1) for log in LOGS]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not below pytest's own folder: a run beside this one would close it to the server's user.
    with tempfile.TemporaryDirectory(prefix="credentials-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(folder: Path) -> AsyncIterator[KafkaSettings]:
    """The cluster as its super user, with the topics of two organisations and both logs."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("ESTATE_KAFKA_BOOTSTRAP", raising=False)
        async with backing_services(folder, postgres=False, kafka_secure=True) as backing:
            admin = KafkaSettings(**asdict(backing.kafka))
            async with kafka_admin(admin) as topics:
                await topics.ensure(dict.fromkeys(TOPICS, SUBMISSION_TOPIC_CONFIG))
            yield admin


@pytest.fixture
def state(cluster: KafkaSettings, tmp_path: Path) -> Path:
    """A state folder of a local run that names the cluster."""
    (tmp_path / "addresses.json").write_text(json.dumps({"kafka": asdict(cluster)}))
    return tmp_path


async def estate(state: Path, *arguments: str) -> tuple[int, Any, str]:
    """The exit code, the JSON and the remarks of `estate keys`."""
    command = [str(ESTATE), "keys", *arguments, "--json", "--state", str(state)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, check=False, env={}
    )
    return done.returncode, json.loads(done.stdout or b"null"), done.stderr.decode()


async def issued(state: Path, *arguments: str) -> KafkaSettings:
    code, answer, said = await estate(state, "issue", "--kafka", *arguments)
    assert code == 0, said
    assert answer["password"] not in said
    return KafkaSettings(**answer)


async def emitter(state: Path) -> KafkaSettings:
    return await issued(state, "--role", "emitter", "--organisation", MINE)


async def send(user: KafkaSettings, topic: str, *, idempotent: bool = False) -> None:
    options = user.client_options()
    producer = AIOKafkaProducer(**options, acks="all", enable_idempotence=idempotent)
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()


async def read(user: KafkaSettings, topic: str, group: str | None = None) -> bytes | None:
    consumer = AIOKafkaConsumer(
        **user.client_options(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        if group is None:
            consumer.assign([TopicPartition(topic, 0)])
        else:
            consumer.subscribe([topic])
        async with asyncio.timeout(20):
            record = await consumer.getone()
        if group is not None:
            await consumer.commit()
        return record.value
    finally:
        await consumer.stop()


async def seen_topics(user: KafkaSettings) -> set[str]:
    admin = AIOKafkaAdminClient(**user.client_options())
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def described(user: KafkaSettings, topics: Collection[str]) -> set[int]:
    """The errors with which the cluster answers about topics; whoever may read, may know them."""
    admin = AIOKafkaAdminClient(**user.client_options())
    try:
        await admin.start()
        return {one["error_code"] for one in await admin.describe_topics(list(topics))}
    finally:
        await admin.close()


async def test_emitter_writes_its_own_topics_and_reads_its_own_rejections(
    cluster: KafkaSettings, state: Path
) -> None:
    user = await emitter(state)
    for log in LOGS:
        await send(cluster, rejections_topic(log, MINE))
        await send(user, submissions_topic(log, MINE), idempotent=True)
        assert await read(user, rejections_topic(log, MINE), f"{user.username}.a") == b"{}"
    own = {of(log, MINE) for log in LOGS for of in (submissions_topic, rejections_topic)}
    assert await seen_topics(user) == own


async def test_emitter_cannot_write_elsewhere_nor_read_events_or_submissions(
    cluster: KafkaSettings, state: Path
) -> None:
    user = await emitter(state)
    for log in LOGS:
        for topic in (
            submissions_topic(log, OTHER),
            rejections_topic(log, MINE),
            events_topic(log, 1),
        ):
            with pytest.raises(TopicAuthorizationFailedError):
                await send(user, topic)
        await send(cluster, submissions_topic(log, MINE))
        with pytest.raises(TopicAuthorizationFailedError):
            await read(user, submissions_topic(log, MINE))
    hidden = {topic for topic in TOPICS if MINE not in topic}
    assert await described(user, hidden) == {TopicAuthorizationFailedError.errno}


@pytest.mark.parametrize("role", ["integrator", "operator", "auditor"])
async def test_reader_reads_events_in_groups_of_its_own_and_writes_nothing(
    cluster: KafkaSettings, state: Path, role: str
) -> None:
    user = await issued(state, "--role", role)
    for log in LOGS:
        await send(cluster, events_topic(log, 1))
        assert await read(user, events_topic(log, 1)) == b"{}"
        assert await read(user, events_topic(log, 1), f"{user.username}-first") == b"{}"
        with pytest.raises(TopicAuthorizationFailedError):
            await send(user, events_topic(log, 1))
    with pytest.raises(GroupAuthorizationFailedError):
        await read(user, events_topic("registry", 1), "estate")
    assert await seen_topics(user) == {events_topic(log, 1) for log in LOGS}


async def test_revoked_user_is_refused_even_on_a_connection_that_is_open(state: Path) -> None:
    user = await emitter(state)
    topic = submissions_topic("registry", MINE)
    producer = AIOKafkaProducer(**user.client_options(), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}")
        code, _, said = await estate(state, "revoke", str(user.username))
        assert code == 0, said
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()
    await eventually(lambda: is_refused(user))
    assert user.username not in {one["id"] for one in await listed(state)}
    assert (await estate(state, "revoke", str(user.username)))[0] == 1


async def is_refused(user: KafkaSettings) -> bool:
    try:
        async with kafka_admin(user):
            return False
    except KafkaUnreachableError:
        return True


async def listed(state: Path) -> list[dict[str, Any]]:
    code, answer, said = await estate(state, "list")
    assert code == 0, said
    found: list[dict[str, Any]] = answer["kafka"]
    return found


async def test_list_tells_what_the_cluster_allows_and_no_password(state: Path) -> None:
    sender, reader = await emitter(state), await issued(state, "--role", "auditor")
    users = {one["id"]: one for one in await listed(state)}
    assert users[sender.username]["organisations"] == [MINE]
    assert users[sender.username]["reads_events"] is False
    assert users[reader.username]["organisations"] == []
    assert users[reader.username]["reads_events"] is True
    shown = json.dumps(users)
    assert str(sender.password) not in shown
    assert "admin" not in users


async def test_out_is_private_works_and_comes_in_two_forms(state: Path) -> None:
    out, properties = state / "kafka.json", state / "client.properties"
    for path in (out, properties):
        arguments = ("--role", "integrator", "--out", str(path))
        code, answer, said = await estate(state, "issue", "--kafka", *arguments)
        assert code == 0, said
        assert answer.keys() == {"id", "roles", "organisation"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with kafka_admin(KafkaSettings(**read_kafka_file(out).model_dump())):
        pass
    lines = dict(line.split("=", 1) for line in properties.read_text().splitlines())
    assert lines["security.protocol"] == "SASL_PLAINTEXT"
    assert lines["sasl.mechanism"] == "SCRAM-SHA-512"
    assert lines["sasl.jaas.config"].endswith('";')
    assert (await estate(state, "issue", "--kafka", *arguments))[0] == 2


async def test_file_that_cannot_be_written_leaves_no_user(
    cluster: KafkaSettings, state: Path
) -> None:
    async with access_control(cluster) as control:
        before = await control.users()
        blocked = state / "addresses.json" / "kafka.json"
        arguments = ("--role", "integrator", "--out", str(blocked))
        assert (await estate(state, "issue", "--kafka", *arguments))[0] == 2
        assert await control.users() == before


async def test_super_user_is_neither_revoked_nor_issues_for_one_who_is_none(
    cluster: KafkaSettings, state: Path
) -> None:
    user = await issued(state, "--role", "operator")
    (state / "addresses.json").write_text(json.dumps({"kafka": asdict(user)}))
    code, answer, said = await estate(state, "issue", "--kafka", "--role", "operator")
    assert (code, answer) == (1, None)
    assert "ClusterAuthorizationFailed" in said
    assert (await estate(state, "revoke", str(cluster.username)))[0] == 1
    async with kafka_admin(cluster):
        pass
