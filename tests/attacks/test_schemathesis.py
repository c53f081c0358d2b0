"""Requests made from the document that each service serves: it keeps to what it says of itself.

A longer run, with its stateful phase, is in docs/attacks.md.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from cli.local_estate import SERVICES
from tests.attacks.attacked_estate import AttackedEstate
from tests.attacks.attacks_config import from_environment

CONFIG: Final = from_environment()
SETTINGS: Final = Path(__file__).with_name("schemathesis.toml")
EXCLUDED: Final = (
    "positive_data_acceptance",  # Rules behind the form may refuse what has the right form.
)
"""Every other check is on, those of later versions too."""
WITHOUT_END: Final = "/v1/changes/stream"
"""An answer without end is never whole; test_access_matrix.py and test_slow_clients.py read it."""
CALLERS: Final = {"registry": "a", "dependencies": "b", "notifications": "auditor"}

_OPERATIONS: Final = re.compile(r"Selected: (\d+)/\d+\s+Tested: (\d+)")
_COVERED: Final = re.compile(r"✅ Coverage\b")

Runs = Mapping[str, "asyncio.Task[tuple[int | None, str]]"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runs(
    estate: AttackedEstate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Runs]:
    """One for each service, all at once: much of their time is waiting."""
    async with asyncio.TaskGroup() as group:
        yield {
            service: group.create_task(_run(estate, service, tmp_path_factory.mktemp(service)))
            for service in SERVICES
        }


async def _run(estate: AttackedEstate, service: str, folder: Path) -> tuple[int | None, str]:
    # One worker: threads that parse Python at once can trip CPython 3.11 into a SystemError,
    # "AST constructor recursion depth mismatch" (gh-106905).
    url = estate.local.urls[service]
    authorization = estate.authorization(CALLERS[service])["Authorization"]
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "schemathesis", "--config-file", SETTINGS, "--no-color"),
        *("run", f"{url}/openapi.json", "--checks", "all"),
        *("--exclude-checks", ",".join(EXCLUDED), "--exclude-path", WITHOUT_END),
        *("--header", f"Authorization: {authorization}"),
        *("--phases", CONFIG.phases, "--seed", str(CONFIG.seed), "--workers", "1"),
        *("--max-examples", str(CONFIG.examples), "--max-time", str(CONFIG.seconds)),
        *("--warnings", "off", "--request-timeout", "20", "--max-response-time", "20"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    shown, _ = await process.communicate()
    return process.returncode, shown.decode()


@pytest.mark.timeout(CONFIG.seconds + 120)
@pytest.mark.parametrize("service", SERVICES)
async def test_service_keeps_to_its_own_document(runs: Runs, service: str) -> None:
    code, shown = await runs[service]
    assert code == 0, shown
    selected, tested = _OPERATIONS.findall(shown)[-1]
    assert selected == tested != "0", shown
    if "coverage" in CONFIG.phases:
        assert _COVERED.search(shown), shown
