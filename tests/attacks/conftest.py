"""Owns the one estate that all attacks share.

Must not end an attack early: what went wrong shows in the answers and in the inquest.
"""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.attacks.attacked_estate import AttackedEstate, attacked_estate


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def estate() -> AsyncIterator[AttackedEstate]:
    """Not below pytest's own folder: the servers' user may not enter that."""
    with tempfile.TemporaryDirectory(prefix="estate-att-", ignore_cleanup_errors=True) as folder:
        async with attacked_estate(Path(folder)) as estate:
            yield estate
