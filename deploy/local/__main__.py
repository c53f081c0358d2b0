"""Owns the command line: `python -m deploy.local up` and `python -m deploy.local fetch`.

Must not do what the launcher does.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path

from deploy.local.config import from_environment
from deploy.local.java_training import make_java_cache
from deploy.local.kafka_jars import class_path
from deploy.local.launcher import BackingServices, LaunchError, backing_services
from shared.configuration.reading import WrongSettingsError, refuse


def main() -> int:
    """Run the command; the exit code."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "fetch":
            asyncio.run(_fetch(arguments.cache))
        else:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(_up(arguments))
    except WrongSettingsError as error:
        refuse(error.faults)
    except LaunchError as error:
        _tell(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser(
        "fetch", help="fetch and verify the Kafka jars, prepare fast starts"
    )
    up = commands.add_parser("up", help="start PostgreSQL and Kafka until Ctrl-C")
    up.add_argument("--state", type=Path, required=True, help="folder for data, logs, passwords")
    up.add_argument("--kafka-nodes", type=int, default=1, choices=(1, 3))
    up.add_argument("--kafka-secure", action="store_true", help="SCRAM and access control")
    up.add_argument("--no-postgres", action="store_true")
    up.add_argument("--no-kafka", action="store_true")
    for command in (fetch, up):
        command.add_argument("--cache", type=Path, help="folder for the jars")
    return parser


async def _fetch(cache: Path | None) -> None:
    config = from_environment()
    config = replace(config, cache_dir=cache or config.cache_dir)
    jars = await asyncio.to_thread(class_path, config.cache_dir, config.maven_repository, _tell)
    _tell(f"{len(jars)} jars are there and as locked.")
    await make_java_cache(config, _tell)


async def _up(arguments: argparse.Namespace) -> None:
    this = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        # By cancellation, so that it works in the middle of a start as well.
        asyncio.get_running_loop().add_signal_handler(number, _stop, this)
    async with backing_services(
        arguments.state,
        postgres=not arguments.no_postgres,
        kafka=not arguments.no_kafka,
        kafka_nodes=arguments.kafka_nodes,
        kafka_secure=arguments.kafka_secure,
        cache_dir=arguments.cache,
        on_progress=_tell,
    ) as services:
        _print_addresses(services, arguments)
        await asyncio.Event().wait()


def _stop(task: asyncio.Task[None] | None) -> None:
    _tell("Stopping.")
    if task is not None:
        task.cancel()


def _print_addresses(services: BackingServices, arguments: argparse.Namespace) -> None:
    lines = {}
    if not arguments.no_postgres:
        lines["ESTATE_POSTGRES_DSN"] = services.postgres_dsn
    if not arguments.no_kafka:
        access = services.kafka
        lines["ESTATE_KAFKA_BOOTSTRAP"] = access.bootstrap
        if access.username and access.password and access.sasl_mechanism:
            lines["ESTATE_KAFKA_SECURITY_PROTOCOL"] = access.security_protocol
            lines["ESTATE_KAFKA_SASL_MECHANISM"] = access.sasl_mechanism
            lines["ESTATE_KAFKA_USERNAME"] = access.username
            lines["ESTATE_KAFKA_PASSWORD"] = access.password
    sys.stdout.write("".join(f"{key}={value}\n" for key, value in lines.items()))
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
