"""Checks what a local run leaves and prints for a shell, and that its services are kept running."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.demo.shown import lines_to_paste
from cli.keeping_running import kept_running
from cli.local_estate import LocalEstate, ServiceProcess, write_addresses
from deploy.local.config import KafkaAccess, LaunchConfig
from deploy.local.launcher import BackingServices
from shared.database.provision import DatabaseAccess
from tests.support.eventually import eventually

SERVICES = ("registry", "dependencies", "notifications")
FIGURES: dict[str, Any] = {
    "not_known_then": {"service": "whitehall"},
    "most_depended_upon": {"name": "publishing-api", "dependents": 2},
    "most_depended_upon_infrastructure": {"name": "a cache; $(false)", "dependents": 3},
}
SHOW = 'curl() { printf "[%s]" "$@"; }\n'


@pytest.fixture
def estate(tmp_path: Path) -> LocalEstate:
    """One that was never started, in a folder whose name a shell would take apart."""
    state = tmp_path / "it's $HOME; a 'place'"
    state.mkdir()
    config = LaunchConfig(
        postgres_dsn="postgresql://127.0.0.1:9/postgres",
        kafka=KafkaAccess("127.0.0.1:9"),
        cache_dir=tmp_path,
        maven_repository=None,
    )
    services = {
        name: ServiceProcess(name, 20000 + number, {}, state / f"{name}.log")
        for number, name in enumerate(SERVICES)
    }
    access = DatabaseAccess("postgresql://owner", "postgresql://app")
    estate = LocalEstate(state, BackingServices(config), {"registry": access}, services)
    for role in ("operator", "other-emitter", "integrator"):
        estate.key_path(role).parent.mkdir(exist_ok=True)
        estate.key_path(role).write_text(f"key-of-{role}\n")
    return estate


def said_by_sh(script: str, folder: Path) -> str:
    command = ["/bin/sh", "-euc", script]
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/"}
    done = subprocess.run(  # noqa: S603 - our own script.
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_addresses_are_sourced_by_a_shell(estate: LocalEstate, tmp_path: Path) -> None:
    write_addresses(estate)
    state = estate.state_dir
    script = '. "$FOLDER/env"; printf "%s|%s|%s|" "$KEYS" "$KAFKA" "$REGISTRY"; command -v estate'
    quoted = str(state).replace("'", "'\"'\"'")
    said = said_by_sh(f"FOLDER='{quoted}'\n{script}", tmp_path)
    *found, command = said.strip().split("|")
    assert found == [f"{state}/keys", "127.0.0.1:9", "http://127.0.0.1:20000"]
    assert command.endswith("/estate")


def test_each_printed_line_is_what_a_shell_takes_for_it(
    estate: LocalEstate, tmp_path: Path
) -> None:
    lines = lines_to_paste(estate, FIGURES)
    asked = [said_by_sh(_showing(line), tmp_path) for line in lines]
    state = estate.state_dir
    assert asked[0] == f"[owners][--state][{state}]"
    assert f"[depends][publishing-api][--by][--state][{state}]" in asked
    assert f"[depends][a cache; $(false)][--by][--state][{state}]" in asked
    assert f"[verify][--against][{state}/checkpoint.json][--state][{state}]" in asked
    curls = [said for said in asked if said.startswith("[-sH]")]
    keys = ["operator", "other-emitter", "integrator"]
    for role, said in zip(keys, curls, strict=True):
        assert said.startswith(f"[-sH][Authorization: Bearer key-of-{role}]")
    assert '"subject": "whitehall"' in curls[1]
    assert curls[1].endswith("[http://127.0.0.1:20000/v1/submissions]")


def _showing(line: str) -> str:
    """The line with commands that only tell what they were given."""
    before, command, rest = line.partition("bin/estate ")
    return SHOW + (f"curl {rest}" if command and "curl" not in before else line)


def test_all_lines_pasted_at_once_come_to_their_end(estate: LocalEstate, tmp_path: Path) -> None:
    lines = lines_to_paste(estate, FIGURES)
    assert said_by_sh("\n".join(map(_showing, lines)), tmp_path).count("[-sH]") == 3


async def test_a_service_that_ends_is_told_and_started_again(tmp_path: Path) -> None:
    # Without its settings a service ends by itself.
    service = ServiceProcess("registry", 20000, {}, tmp_path / "registry.log")
    told: list[str] = []
    await service.start()
    try:
        async with kept_running([service], told.append, first_pause_s=0.01):
            await eventually(lambda: len(told) == 2, 30)
    finally:
        await service.kill()
    assert service.process is not None
    assert service.process.returncode is not None
    for one in told:
        assert one.startswith("registry ended with exit code ")
        assert str(tmp_path / "registry.log") in one


async def test_a_service_that_was_killed_is_told_with_its_signal(tmp_path: Path) -> None:
    service = ServiceProcess("registry", 20000, {}, tmp_path / "registry.log")
    told: list[str] = []
    await service.start()
    await service.kill()
    async with kept_running([service], told.append, first_pause_s=0.01):
        await eventually(lambda: bool(told), 30)
    await service.kill()
    assert "registry ended by signal 9" in told[0]
