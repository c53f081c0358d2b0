"""The estate of docker-compose.yml from nothing, and what it keeps when its parts are killed."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.containers.compose_estate import SERVICES, ComposeError, ComposeEstate
from tests.containers.departments import Department, found_department
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(600)

_HEALED_WITHIN_S = 90.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def department(estate: ComposeEstate) -> Department:
    return await found_department(estate)


async def test_submission_over_either_door_is_read_in_every_service(
    department: Department,
) -> None:
    await department.send_over_kafka()
    await department.send_over_http()

    await eventually(department.everything_arrived, deadline_s=30)


@pytest.mark.parametrize("victim", [*SERVICES, "postgres"])
async def test_killed_container_heals_and_nothing_sent_is_lost(
    estate: ComposeEstate, department: Department, victim: str
) -> None:
    await department.send_over_kafka()
    await estate.compose("kill", "--signal", "SIGKILL", victim)
    await department.send_over_kafka()
    await estate.compose("start", victim)

    await eventually(department.everything_arrived, deadline_s=_HEALED_WITHIN_S)
    await eventually(estate.all_healthy, deadline_s=_HEALED_WITHIN_S)


async def test_killed_kafka_stops_no_command_and_loses_nothing(
    estate: ComposeEstate, department: Department
) -> None:
    await department.send_over_kafka()
    await estate.compose("kill", "--signal", "SIGKILL", "kafka")
    await department.send_over_http()
    await estate.compose("start", "kafka")

    await eventually(department.everything_arrived, deadline_s=_HEALED_WITHIN_S)
    await eventually(estate.all_healthy, deadline_s=_HEALED_WITHIN_S)


@pytest.mark.parametrize("service", SERVICES)
async def test_service_that_ended_by_itself_is_started_again(
    estate: ComposeEstate, department: Department, service: str
) -> None:
    before = (await estate.compose("logs", "--no-color", service)).count("service_started")
    await estate.compose("exec", "-T", service, "python", "-c", "import os; os.kill(1, 15)")

    async def started_again() -> bool:
        logs = await estate.compose("logs", "--no-color", service)
        return logs.count("service_started") > before

    await eventually(started_again, deadline_s=_HEALED_WITHIN_S)
    await eventually(estate.all_healthy, deadline_s=_HEALED_WITHIN_S)
    logs = await estate.compose("logs", "--no-color", service)
    assert logs.count("service_stopped") >= 1, "it was asked to end, and did so in good order"
    await eventually(department.everything_arrived, deadline_s=_HEALED_WITHIN_S)


async def test_down_and_up_again_keeps_everything(
    estate: ComposeEstate, department: Department
) -> None:
    await department.send_over_kafka()
    await estate.compose("down")
    await estate.compose("up", "--wait", "--wait-timeout", "300")

    await eventually(department.everything_arrived, deadline_s=_HEALED_WITHIN_S)


@pytest.mark.parametrize("service", SERVICES)
async def test_service_is_nobody_and_can_change_nothing(
    estate: ComposeEstate, service: str
) -> None:
    look = "import os; print(os.getuid(), open('/proc/self/status').read())"
    found = await estate.compose("exec", "-T", service, "python", "-c", look)
    assert found.startswith("10001 ")
    assert re.search(r"^CapEff:\s0+$", found, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", found, re.MULTILINE)
    for path in ("/app/.venv/new", "/var/lib/estate/keys/keys.json"):
        with pytest.raises(ComposeError, match="Read-only file system"):
            await estate.compose(
                *("exec", "-T", service, "python", "-c", f"open('{path}', 'a')"),
            )


async def test_only_this_machine_can_connect(estate: ComposeEstate) -> None:
    containers = await estate.state()
    published = {
        name: {port["URL"] for port in one["Publishers"] if port["PublishedPort"]}
        for name, one in containers.items()
    }

    assert published.pop("postgres") == set()
    assert published == {name: {"127.0.0.1"} for name in (*SERVICES, "kafka")}


async def test_password_of_a_running_service_does_not_open_the_owners_role(
    estate: ComposeEstate,
) -> None:
    app = re.search(r"^REGISTRY_APP_PASSWORD=(.+)$", estate.env_file.read_text(), re.MULTILINE)
    assert app
    ask = (
        *("exec", "-T", "--env", f"PGPASSWORD={app[1]}", "postgres", "psql", "--no-psqlrc"),
        *("--host=postgres", "--dbname=registry", "--command=SELECT 1"),
    )

    assert "1 row" in await estate.compose(*ask, "--username=registry_app")
    with pytest.raises(ComposeError, match="password authentication failed"):
        await estate.compose(*ask, "--username=registry_owner")


async def test_estate_does_not_start_without_secrets(estate: ComposeEstate, tmp_path: Path) -> None:
    nothing = tmp_path / "empty.env"
    nothing.touch()

    with pytest.raises(ComposeError, match="make_env"):
        await replace(estate, env_file=nothing).compose("config", "--quiet")
