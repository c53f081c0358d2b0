"""What a run of the demo leaves: files that only their owner reads, and no process."""

import stat
from pathlib import Path

import pytest

from tests.support.demo_runs import Demonstrated, alive, processes_naming

pytestmark = pytest.mark.timeout(400)

SECRETS = ("addresses.json", "env", "secret", "backing/postgres.password")
KEYS = ("admin", "auditor", "emitter", "integrator", "operator", "other-emitter")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_keys_and_addresses_are_for_their_owner_only(demonstrated: Demonstrated) -> None:
    keys = {path for path in (demonstrated.state / "keys").iterdir() if path.suffix != ".lock"}
    secrets = {demonstrated.state / name for name in SECRETS}
    report = demonstrated.first.outputs / "report.json"

    assert {path.name for path in keys} == {"keys.json", *(f"{name}.key" for name in KEYS)}
    assert {path: mode(path) for path in {*keys, *secrets, report}} == dict.fromkeys(
        {*keys, *secrets, report}, 0o600
    )


async def test_no_file_of_hashes_and_no_log_holds_a_key(demonstrated: Demonstrated) -> None:
    state = demonstrated.state
    secrets = [path.read_bytes().strip() for path in (state / "keys").glob("*.key")]
    written = [state / "keys" / "keys.json", *(state / "logs").iterdir()]
    written += [demonstrated.again.outputs / name for name in ("stdout", "stderr", "report.json")]

    assert len(secrets) == len(KEYS)
    for path in written:
        content = path.read_bytes()
        assert content or path.name == "stderr"
        assert [path for secret in secrets if secret in content] == []


async def test_first_run_left_no_process(demonstrated: Demonstrated) -> None:
    """The second run is watched where it ends: in the fixture."""
    first = demonstrated.first

    assert len(first.processes) > 5
    assert not alive(first.processes - processes_of(demonstrated))
    assert processes_naming(demonstrated.state) != []


def processes_of(demonstrated: Demonstrated) -> set[int]:
    """Those of the second run, should the system have given a number again."""
    demonstrated.again.note_processes()
    return demonstrated.again.processes
