"""Owns running a local estate for somebody at a terminal: progress while it starts, until Ctrl-C.

Must not decide what the estate is used for.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from cli.failures import Failure, WrongConfiguration, tell_of_kafka_once
from cli.keeping_running import Kept, kept_running
from cli.local_estate import EstateStartError, LocalEstate, local_estate
from cli.terminal import cell
from deploy.local.errors import LaunchError
from shared.configuration.reading import WrongSettingsError
from shared.observability.logs import configure_logging


@asynccontextmanager
async def shown_estate(
    state: Path, console: Console, *, kafka_secure: bool = False
) -> AsyncIterator[LocalEstate]:
    """Run an estate, saying on the console what is being started.

    Raises: Failure saying what to do.
    """
    configure_logging("estate", "WARNING")
    tell_of_kafka_once()
    try:
        with console.status("Starting") as status:

            def say(text: str) -> None:
                status.update(text)

            estate = local_estate(state, on_progress=say, kafka_secure=kafka_secure)
            running = await estate.__aenter__()
    except WrongSettingsError as error:
        raise WrongConfiguration(error.faults) from None
    except (LaunchError, EstateStartError) as error:
        raise Failure(str(error)) from error

    def tell(text: str) -> None:
        console.print(cell(text), soft_wrap=True)

    try:
        processes: list[Kept] = [*running.backing.own_servers, *running.services.values()]
        async with kept_running(processes, tell):
            yield running
    finally:
        with console.status("Stopping"):
            await estate.__aexit__(None, None, None)


async def until_interrupted() -> None:
    """Return at Ctrl-C or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
