"""Owns `estate up`: a whole estate on this machine, until Ctrl-C.

Must not put anything into it.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import DEFAULT_STATE, State
from cli.running import shown_estate, until_interrupted
from cli.terminal import properties, show


def up(
    *,
    kafka_access_control: Annotated[
        bool,
        typer.Option(
            "--kafka-access-control",
            metavar="",
            help="Kafka with users and rules; as the state folder was begun.",
        ),
    ] = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Run PostgreSQL, Kafka and the three services here; resumes what the state folder holds."""
    asyncio.run(_up(state, kafka_secure=kafka_access_control))


async def _up(state: Path, *, kafka_secure: bool) -> None:
    console = Console(stderr=True)
    async with shown_estate(state, console, kafka_secure=kafka_secure) as estate:
        rows = [(name, process.url) for name, process in estate.services.items()]
        rows += [("Kafka", estate.backing.kafka.bootstrap)]
        rows += [("admin key", str(estate.key_path("admin")))]
        show(properties(rows))
        console.print("Press Ctrl-C to stop.")
        await until_interrupted()
