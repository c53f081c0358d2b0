"""Owns the one run of the demo that tests of the whole system share.

Must not let a test change its past: what they add is effective now.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import pytest_asyncio

from cli.local_state import read_addresses
from tests.support.asking import Asker, asking
from tests.support.demo_runs import (
    GIVEN_SERVERS,
    ROOT,
    DemoRun,
    finished_demo,
    running_demo,
    state_folder,
)
from tests.support.e2e_config import E2eConfig, from_environment
from tests.support.source_reading import Reading, read_sources


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """The demo ran to its end, and then again on the same state, where it stays."""

    first: DemoRun
    again: DemoRun

    @property
    def state(self) -> Path:
        return self.again.state

    def superuser_dsn(self, service: str) -> str:
        """The service's database, as whoever runs the database server."""
        address = read_addresses(self.state).databases[service]
        password = (self.state / "backing" / "postgres.password").read_text()
        return f"postgresql://postgres:{password}@{address.rpartition('@')[2]}"


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


@pytest.fixture(scope="session")
def last_day(reading: Reading) -> date:
    last: date = max(reading.repos.rows[-1]["date"], reading.docker.rows[-1]["date"]).date()
    return last


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def demonstrated() -> AsyncIterator[Demonstrated]:
    with state_folder() as state:
        async with finished_demo(state) as first, running_demo(state) as again:
            yield Demonstrated(first, again)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asker(demonstrated: Demonstrated) -> AsyncIterator[Asker]:
    async with asking_run(demonstrated.again) as asker:
        yield asker


def asking_run(run: DemoRun) -> "AbstractAsyncContextManager[Asker]":
    """Ask a run that is there, as its operator."""
    addresses = read_addresses(run.state).model_dump()
    return asking(addresses, (run.state / "keys" / "operator.key").read_text().strip())
