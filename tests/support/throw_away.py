"""Owns servers that nobody needs after a test: in a folder that goes with them.

Must not stop them politely at the end, which takes seconds and keeps nothing.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.launcher import BackingServices, LaunchError, backing_services


@asynccontextmanager
async def throw_away_servers(*, kafka: bool = True) -> AsyncIterator[BackingServices]:
    """Have them inside the block; addresses in the environment win, as ever."""
    # Not below pytest's own folder: a run beside this one would close it to the server's user.
    with tempfile.TemporaryDirectory(prefix="estate-", ignore_cleanup_errors=True) as folder:
        async with backing_services(Path(folder), kafka=kafka) as services:
            yield services
            for kill in (services.kill_postgres, services.kill_kafka):
                with contextlib.suppress(LaunchError):
                    await kill()
