import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.containers.compose_estate import ComposeEstate, running_estate

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A plain run of all tests is not to build an image."""
    if os.environ.get("ESTATE_TEST_CONTAINERS"):
        return
    skip = pytest.mark.skip(reason="takes containers: make test-containers")
    for item in items:
        if "estate" in getattr(item, "fixturenames", ()) and item.path.is_relative_to(_HERE):
            item.add_marker(skip)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def estate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ComposeEstate]:
    async with running_estate(tmp_path_factory.mktemp("compose")) as running:
        yield running
