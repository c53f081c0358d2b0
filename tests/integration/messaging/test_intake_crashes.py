import signal

import pytest

from deploy.local.errors import LaunchError
from deploy.local.launcher import BackingServices
from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG
from shared.messaging.kafka import KafkaSettings, ensure_topic
from tests.integration.messaging.child import child
from tests.integration.messaging.log_under_test import LogUnderTest, eventually
from tests.integration.messaging.submissions_under_test import (
    make_intake,
    mark_of,
    names_in,
    submission,
    topic_of,
)
from tests.integration.messaging.topics import put

INTAKE = "tests.integration.messaging.intake_process"


async def until_mark(log: LogUnderTest, offset: int, deadline_s: float = 40.0) -> None:
    async def there() -> bool:
        return await mark_of(log) == offset

    await eventually(there, deadline_s)


@pytest.mark.parametrize(
    "failpoint", ["intake.read", "append.after_commit", "intake.committed", "intake.offset_stored"]
)
async def test_each_submission_has_one_effect_after_the_intake_was_killed(
    failpoint: str, log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await ensure_topic(kafka, topic_of(log), SUBMISSION_TOPIC_CONFIG)
    values = [submission(n, expects=n) for n in range(30)]
    await put(kafka, topic_of(log), [b"poison", *values])
    options = {"dsn": log.access.app_dsn, "bootstrap": kafka.bootstrap, "log": log.name}
    async with child(INTAKE, holder="first", failpoint=failpoint, **options) as it:
        await it.died()
    intake = make_intake(log, kafka, "second")
    await intake.start()
    await until_mark(log, 31)
    await intake.stop()
    assert await names_in(log) == [f"s-{n}" for n in range(30)]
    assert await log.pool.fetchval("SELECT count(*) FROM messaging.rejections") == 1


async def test_an_intake_frozen_past_its_lease_changes_nothing_when_it_wakes(
    log: LogUnderTest, kafka: KafkaSettings
) -> None:
    await ensure_topic(kafka, topic_of(log), SUBMISSION_TOPIC_CONFIG)
    options = {"dsn": log.access.app_dsn, "bootstrap": kafka.bootstrap, "log": log.name}
    async with (
        child(INTAKE, holder="one", **options) as one,
        child(INTAKE, holder="two", **options) as two,
    ):
        await eventually(
            lambda: {one.last.get("state"), two.last.get("state")} == {"working", "standby"}
        )
        worker, standby = (one, two) if one.last["state"] == "working" else (two, one)
        await put(kafka, topic_of(log), [submission(n, expects=n) for n in range(300)])
        worker.signal(signal.SIGSTOP)
        await standby.until(lambda status: status["state"] == "working")
        await until_mark(log, 300)
        worker.signal(signal.SIGCONT)
        await worker.until(lambda status: status["state"] == "standby")
        await put(kafka, topic_of(log), [submission(n, expects=n) for n in range(300, 310)])
        await until_mark(log, 310)
    assert await names_in(log) == [f"s-{n}" for n in range(310)]
    assert await log.pool.fetchval("SELECT count(*) FROM messaging.rejections") == 0


async def test_submissions_wait_out_a_lost_database(
    log: LogUnderTest, kafka: KafkaSettings, messaging_backing: BackingServices
) -> None:
    await ensure_topic(kafka, topic_of(log), SUBMISSION_TOPIC_CONFIG)
    intake = make_intake(log, kafka)
    await intake.start()
    await put(kafka, topic_of(log), [submission(n, expects=n) for n in range(50)])
    await eventually(lambda: intake.status.accepted > 0)
    try:
        await messaging_backing.kill_postgres()
    except LaunchError:
        await intake.stop()
        pytest.skip("the database server is not ours to kill")
    try:
        await put(kafka, topic_of(log), [submission(n, expects=n) for n in range(50, 100)])
        await eventually(lambda: intake.status.state != "working")
    finally:
        await messaging_backing.start_postgres()
    await until_mark(log, 100)
    assert intake.status.rejected == 0
    await intake.stop()
    assert await names_in(log) == [f"s-{n}" for n in range(100)]
