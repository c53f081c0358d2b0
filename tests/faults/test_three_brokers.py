"""Owns the loss of one of three brokers, the one that leads what is written, under a whole estate.

Must not grow long; `make faults` repeats it as often as is wished.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.readiness import registered_nodes
from shared.contracts.topics import SUBMISSION_TOPIC_CONFIG
from shared.messaging.kafka import KafkaUnreachableError, ensure_topic
from tests.faults.kafka_faults import partition_of
from tests.faults.running import Trial, ask_oracle, run_trial
from tests.faults.world import World, running_world
from tests.support.eventually import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clustered() -> AsyncIterator[World]:
    with (
        pytest.MonkeyPatch.context() as patch,
        # Not below pytest's own folder: the server's user may not enter that.
        tempfile.TemporaryDirectory(prefix="estate-faults-", ignore_cleanup_errors=True) as folder,
    ):
        for given in ("ESTATE_POSTGRES_DSN", "ESTATE_KAFKA_BOOTSTRAP"):
            patch.delenv(given, raising=False)
        async with running_world(Path(folder), brokers=3) as world:
            yield world


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("led", ["events", "submissions"])
async def test_nothing_is_lost_doubled_or_reordered_when_a_leader_is_killed(
    led: str, clustered: World
) -> None:
    fault = f"leader of {led} killed, three brokers"
    result = await run_trial(clustered, Trial(1, fault, 0), quick=True, judged=False)
    assert result.ok, result
    assert not result.not_reached, result
    assert result.accepted > 0
    verdict = await ask_oracle(clustered, quick=True)
    assert verdict["ok"], verdict


@pytest.mark.slow
async def test_a_topic_made_while_a_broker_is_away_gets_all_its_copies(clustered: World) -> None:
    backing, kafka = clustered.estate.backing, clustered.estate.kafka

    async def two_are_left() -> bool:
        return await registered_nodes(backing.kafka) == {1, 2}

    async def is_made() -> bool:
        with contextlib.suppress(KafkaUnreachableError):
            await ensure_topic(kafka, "made-meanwhile", SUBMISSION_TOPIC_CONFIG)
            return True
        return False

    await backing.kill_kafka(3)
    try:
        await eventually(two_are_left, 60)
        await eventually(is_made, 60)
    finally:
        await backing.start_kafka(3)
    _leader, replicas = await partition_of(kafka, "made-meanwhile")
    assert replicas == 3
