"""Only a refusal to stop a given server is excused; every other failure stays one."""

from pathlib import Path

import pytest

from deploy.local.errors import LaunchError
from deploy.local.launcher import backing_services
from tests.containers.given_servers import _is_refusal


async def test_refusal_of_the_launcher_is_told_from_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESTATE_POSTGRES_DSN", "postgresql://somewhere/else")
    monkeypatch.setenv("ESTATE_KAFKA_BOOTSTRAP", "kafka.example:9092")
    async with backing_services(tmp_path / "unused") as given:
        with pytest.raises(LaunchError) as postgres:
            await given.kill_postgres()
        with pytest.raises(LaunchError) as kafka:
            await given.freeze_kafka()

    assert _is_refusal(postgres.value)
    assert _is_refusal(ExceptionGroup("of a task group", [kafka.value, ValueError("another")]))
    assert not _is_refusal(LaunchError("Port 5432 is taken."))
    assert not _is_refusal(AssertionError("was not started here"))
