"""What an organisation can do on Kafka with the access that it is given, and what it cannot."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from shared.auth.principals import Role
from shared.clock import new_id
from shared.contracts.topics import (
    SUBMISSION_TOPIC_CONFIG,
    events_topic,
    rejections_topic,
    submissions_topic,
)
from shared.messaging.kafka import KafkaSettings, ensure_topic
from shared.messaging.kafka_credentials import issue_user
from tests.attacks.attacked_estate import LOGS, ORGANISATIONS, AttackedEstate, kind_of
from tests.attacks.operations import (
    COMMANDS,
    CommandCase,
    described,
    expected_of_submission,
    make_target,
    submission,
)
from tests.support.demo_runs import ESTATE
from tests.support.eventually import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def accesses(estate: AttackedEstate) -> dict[str, KafkaSettings]:
    """What each organisation is given; its topics are there."""
    for service in LOGS:
        for name in ORGANISATIONS:
            topic = rejections_topic(service, estate.ids[name])
            await ensure_topic(estate.local.kafka, topic, SUBMISSION_TOPIC_CONFIG)
    return {name: await estate.writer_for(name) for name in ORGANISATIONS}


@pytest.fixture
def access(accesses: dict[str, KafkaSettings]) -> KafkaSettings:
    return accesses["a"]


@asynccontextmanager
async def producer_of(access: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(**access.client_options())
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@pytest_asyncio.fixture
async def producer(access: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    async with producer_of(access) as made:
        yield made


async def came_of(
    estate: AttackedEstate, service: str, event: dict[str, Any], sender: str = "a"
) -> str:
    """`accepted`, or the kind of problem with which a submission was rejected."""
    query, found = {"source": event["source"], "id": event["id"]}, {"status": ""}

    async def is_decided() -> bool:
        answer = await estate.ask(service, "GET", "/v1/submissions", as_=sender, query=query)
        found.update(answer.document)
        return found["status"] in {"accepted", "rejected"}

    await eventually(is_decided)
    return kind_of(found.get("rejected")) or found["status"]


@pytest.mark.parametrize("sender", ORGANISATIONS)
@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case.name)
async def test_record_is_for_the_keeper(
    estate: AttackedEstate, accesses: dict[str, KafkaSettings], case: CommandCase, sender: str
) -> None:
    service, _ = described(case.operation)
    events, expected = [], []
    for keeper in ORGANISATIONS:
        events.append(submission(case, case.attempt(await make_target(estate, keeper))))
        expected.append(expected_of_submission(case, sender, keeper))
    topic = submissions_topic(service, estate.ids[sender])
    async with producer_of(accesses[sender]) as producer:
        for event in events:
            await producer.send_and_wait(topic, json.dumps(event).encode())
    assert [await came_of(estate, service, event, sender) for event in events] == expected


@pytest.mark.parametrize("role", [Role.INTEGRATOR, Role.OPERATOR, Role.AUDITOR])
async def test_a_reader_writes_to_no_topic(estate: AttackedEstate, role: Role) -> None:
    reader = await issue_user(estate.local.kafka, {role}, None, new_id)
    topics = [submissions_topic(log, estate.ids[name]) for log in LOGS for name in ORGANISATIONS]
    before = await estate.heads()
    async with producer_of(reader) as producer:
        for topic in (*topics, *(events_topic(log, 1) for log in LOGS)):
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send_and_wait(topic, b"{}")
    assert await estate.heads() == before


@pytest.mark.parametrize("service", LOGS)
async def test_an_organisation_writes_its_own_topic_only(
    estate: AttackedEstate, producer: AIOKafkaProducer, service: str
) -> None:
    elsewhere = (
        submissions_topic(service, estate.ids["b"]),
        rejections_topic(service, estate.ids["a"]),
        rejections_topic(service, estate.ids["b"]),
        events_topic(service, 1),
        f"estate.{service}.submissions.new",
    )
    before = await estate.heads()
    for topic in elsewhere:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"{}")
    assert await estate.heads() == before


async def test_an_organisation_sees_its_own_topics_and_makes_none(
    estate: AttackedEstate, access: KafkaSettings
) -> None:
    of_a = estate.ids["a"]
    own = {of(service, of_a) for service in LOGS for of in (submissions_topic, rejections_topic)}
    admin = AIOKafkaAdminClient(**access.client_options())
    await admin.start()
    try:
        assert set(await admin.list_topics()) == own
        made = await admin.create_topics([NewTopic("estate.alien", 1, 1)])
        gone = await admin.delete_topics(sorted(own))
    finally:
        await admin.close()
    assert {code for _, code, *_ in made.topic_errors} == {TopicAuthorizationFailedError.errno}
    assert {code for _, code, *_ in gone.topic_error_codes} == {TopicAuthorizationFailedError.errno}


async def test_an_organisation_has_no_transactions(access: KafkaSettings) -> None:
    producer = AIOKafkaProducer(**access.client_options(), transactional_id="estate-registry")
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await producer.start()
    await producer.stop()


FORGED: Final = (
    [("ce_source", b"estate/registry"), ("ce_organisation", b"OTHER"), ("actor", b"admin")],
    [("organisation", b"OTHER"), ("organisation", b"OTHER")],
    [("traceparent", b"\xff\xfe"), ("", b""), ("x" * 2_000, b"\x00" * 200_000)],
)


@pytest.mark.parametrize("headers", FORGED, ids=["attributes", "doubled", "large"])
async def test_no_header_key_or_source_changes_who_speaks(
    estate: AttackedEstate, producer: AIOKafkaProducer, headers: list[tuple[str, bytes]]
) -> None:
    other = estate.ids["b"]
    case = next(one for one in COMMANDS if one.operation == "service_change_phase")
    own, alien = [
        submission(case, case.attempt(await make_target(estate, keeper)))
        for keeper in ORGANISATIONS
    ]
    own["source"] = alien["source"] = "org-b"
    topic = submissions_topic("registry", estate.ids["a"])
    sent = [(name, value.replace(b"OTHER", other.encode())) for name, value in headers]
    for event in (own, alien):
        await producer.send_and_wait(
            topic, json.dumps(event).encode(), key=other.encode(), headers=sent
        )
    assert await came_of(estate, "registry", own) == "accepted"
    assert await came_of(estate, "registry", alien) == "not-yours"
    history = await estate.ask("registry", "GET", f"/v1/services/{own['subject']}/history")
    event = history.document["items"][-1]
    shown = json.dumps(event)
    assert estate.ids["a"] in shown
    assert other not in shown
    assert "admin" not in json.dumps(event.get("actor", ""))


@pytest.mark.parametrize("member", ["organisation", "actor", "credentialid", "position", "door"])
async def test_no_attribute_of_ours_is_taken_from_a_record(
    estate: AttackedEstate, producer: AIOKafkaProducer, member: str
) -> None:
    case = next(one for one in COMMANDS if one.operation == "service_change_phase")
    event = submission(case, case.attempt(await make_target(estate, "a")))
    topic = submissions_topic("registry", estate.ids["a"])
    await producer.send_and_wait(topic, json.dumps({**event, member: "registry:1"}).encode())
    assert await came_of(estate, "registry", event) == "invalid-request"


async def test_an_empty_record_blocks_nothing(
    estate: AttackedEstate, producer: AIOKafkaProducer
) -> None:
    case = next(one for one in COMMANDS if one.operation == "service_change_phase")
    event = submission(case, case.attempt(await make_target(estate, "a")))
    topic = submissions_topic("registry", estate.ids["a"])
    await producer.send_and_wait(topic, None, key=b"tombstone")
    await producer.send_and_wait(topic, b"", key=None)
    await producer.send_and_wait(topic, json.dumps(event).encode())
    assert await came_of(estate, "registry", event) == "accepted"


async def test_issued_credentials_submit_by_the_command(
    estate: AttackedEstate, tmp_path: Path
) -> None:
    credentials, changes = tmp_path / "kafka.json", tmp_path / "changes.json"
    state = ("--state", str(estate.local.state_dir))
    issue = ("--kafka", "--role", "emitter", "--organisation", "org-a", "--out", str(credentials))
    await run_estate("keys", "issue", *issue, *state)
    case = next(one for one in COMMANDS if one.operation == "service_change_phase")
    changes.write_text(json.dumps(submission(case, case.attempt(await make_target(estate, "a")))))
    sending = ("--kafka-file", str(credentials), "--key-file", key_of(estate, "emitter-a"))
    door = ("--door", "kafka", "--organisation", "org-a")
    assert b"1 accepted of 1" in await run_estate("submit", str(changes), *door, *sending, *state)


def key_of(estate: AttackedEstate, name: str) -> str:
    return str(estate.local.key_path(name))


async def run_estate(*arguments: str) -> bytes:
    command = [str(ESTATE), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
