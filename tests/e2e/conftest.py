"""Owns the one run of the demo that tests of the whole system share.

Must not let a test change its past: what they add is effective now.
"""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from xdist.scheduler import LoadFileScheduling

from tests.support.asking import Asker
from tests.support.demo_runs import (
    GIVEN_SERVERS,
    ROOT,
    Demonstrated,
    asking_run,
    finished_demo,
    running_demo,
    state_folder,
)
from tests.support.e2e_config import E2eConfig, from_environment
from tests.support.source_reading import Reading, read_sources

pytest.register_assert_rewrite("tests.support.held_against")

_OF_THE_SHARED_RUN: Final = frozenset(
    f"tests/e2e/test_{name}.py" for name in ("demo_truth", "readme", "tampering", "what_is_left")
)


class _RunOnce(LoadFileScheduling):
    """Keeps the files that share a run on one worker: it takes half a minute to make."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "the shared run" if file in _OF_THE_SHARED_RUN else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    return _RunOnce(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def chosen() -> E2eConfig:
    return from_environment()


@pytest.fixture(autouse=True)
def _own_servers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GIVEN_SERVERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def reading() -> Reading:
    return read_sources(ROOT / "data")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demonstrated() -> AsyncIterator[Demonstrated]:
    with state_folder() as state:
        async with finished_demo(state) as first, running_demo(state) as again:
            yield Demonstrated(first, again)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asker(demonstrated: Demonstrated) -> AsyncIterator[Asker]:
    async with asking_run(demonstrated.again) as asker:
        yield asker
