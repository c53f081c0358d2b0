"""Measures the estate of docker-compose.yml, and imports the demonstration while it is killed.

Must leave nothing behind. `python -m tests.containers.measure` prints the table of
docs/containers.md.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.containers.compose_estate import ROOT, SERVICES, ComposeEstate, made_up_estate
from tests.containers.departments import Department, found_department
from tests.containers.docker_engine import NoDockerError, require_docker
from tests.containers.run import NO_CONTAINERS
from tests.support.eventually import eventually

_LASTING: Final = (*SERVICES, "postgres", "kafka")
_HEALED_WITHIN_S: Final = 120.0
_BEFORE_FIRST_KILL_S: Final = 10.0
_DOWN_S: Final = 2.0
_UP: Final = ("up", "--wait", "--wait-timeout", "300")
_RATE: Final = "25"
_IMPORTED: Final = {"registry": 3_172, "dependencies": 648}
_LISTED: Final = 136


def _row(what: str, measured: str) -> None:
    sys.stdout.write(f"| {what} | {measured} |\n")
    sys.stdout.flush()


async def _timed(what: str, act: Awaitable[object]) -> None:
    began = time.monotonic()
    await act
    _row(what, f"{time.monotonic() - began:.1f} s")


async def _docker(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "docker", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"docker {arguments[0]} ended with {process.returncode}")
    return output.decode().strip()


async def _images_and_starts(estate: ComposeEstate) -> None:
    await _timed("build, no layer cached", estate.compose("build", "--no-cache"))
    await _timed("build, nothing changed", estate.compose("build"))
    image = (await estate.compose("config", "--images", "registry")).split()[-1]
    size = int(await _docker("image", "inspect", "--format", "{{.Size}}", image))
    _row("image, unpacked", f"{size / 1e6:.0f} MB")
    await _timed("`up --wait` from no volumes, to all healthy", estate.compose(*_UP))
    await _timed("`stop` of everything, in good order", estate.compose("stop"))
    await _timed("`up --wait` again on the same data", estate.compose(*_UP))
    for name in _LASTING:
        _row(f"memory at rest, {name}", await _memory(estate, name))


async def _memory(estate: ComposeEstate, service: str) -> str:
    """What the container's processes hold for themselves, without what files lend them."""
    read = "cat /proc/[0-9]*/status 2>/dev/null || true"
    status = await estate.compose("exec", "--no-TTY", service, "sh", "-c", read)
    kib = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
    return f"{sum(kib) * 1024 / 1e6:.0f} MB"


async def _kills(estate: ComposeEstate) -> None:
    department = await found_department(estate)
    for victim in _LASTING:
        await _timed(f"{victim}, from its kill to all healthy", _killed(estate, victim, department))


async def _killed(estate: ComposeEstate, victim: str, department: Department) -> None:
    await department.send_over_kafka()
    await _kill_and_start(estate, victim)
    await department.send_over_http()
    await eventually(department.everything_arrived, deadline_s=_HEALED_WITHIN_S)


async def _kill_and_start(estate: ComposeEstate, victim: str) -> None:
    await estate.compose("kill", "--signal", "SIGKILL", victim)
    await asyncio.sleep(_DOWN_S)
    await estate.compose("start", victim)
    await eventually(estate.all_healthy, deadline_s=_HEALED_WITHIN_S)


async def _import_among_kills(estate: ComposeEstate) -> None:
    began = time.monotonic()
    importing = asyncio.create_task(estate.compose(*_import(estate)))
    try:
        await asyncio.sleep(_BEFORE_FIRST_KILL_S)
        for victim in _LASTING:
            await _timed(f"{victim}, killed in the import", _kill_and_start(estate, victim))
            if importing.done():
                raise RuntimeError(f"the import ended before {victim} was killed")
        await importing
    finally:
        importing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await importing
    spent_s = time.monotonic() - began
    _row(f"import at {_RATE}/s, each container killed once", f"{spent_s:.0f} s")
    await _check_imported(estate)


def _import(estate: ComposeEstate) -> tuple[str, ...]:
    kept = f"{estate.project}_import:/var/lib/estate"
    return (
        *("run", "--rm", "--no-deps", "--no-TTY", "-v", f"{ROOT / 'data'}:/data:ro", "-v", kept),
        *("estate", "import", "--source", "/data", "--state", "/var/lib/estate"),
        *("--rate", _RATE),
    )


async def _check_imported(estate: ComposeEstate) -> None:
    key = await estate.issue_key("--role", "admin")
    for service, events in _IMPORTED.items():
        _, head = await estate.ask(key, service, "/v1/log")
        if head["position"] != events:
            raise RuntimeError(f"the log of {service} is at {head['position']}, not at {events}")
        await estate.compose("run", "--rm", "--no-deps", "--no-TTY", service, "estate", "verify")
    _, page = await estate.ask(key, "registry", "/v1/services?limit=500")
    if len(page["items"]) != _LISTED:
        raise RuntimeError(f"{len(page['items'])} services are listed, not {_LISTED}")
    _row("logs, topics, services listed afterwards", "as after `make demo`")


async def _in_an_estate(measure: Callable[[ComposeEstate], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory(prefix="estate-compose-") as folder:
        async with made_up_estate(Path(folder)) as estate:
            await measure(estate)


async def _started_anew(estate: ComposeEstate) -> None:
    await estate.compose(*_UP)
    await _import_among_kills(estate)


async def _starts_and_kills(estate: ComposeEstate) -> None:
    await _images_and_starts(estate)
    await _kills(estate)


async def _measure() -> None:
    sys.stdout.write("| | measured |\n| --- | --- |\n")
    await _in_an_estate(_starts_and_kills)
    await _in_an_estate(_started_anew)


if __name__ == "__main__":
    try:
        require_docker()
    except NoDockerError as error:
        sys.stderr.write(str(error))
        sys.exit(NO_CONTAINERS)
    asyncio.run(_measure())
