"""Owns what the command line reads from the environment.

Must not be read anywhere else. Keys come in files, never in a variable or an argument; addresses of
databases are those by which the services themselves are configured.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.configuration.forms import Dsn, HttpAddress, KafkaVariables, LaterFile, ReadableFile
from shared.configuration.reading import SECRETS_DIR, Settings, read

SERVICES: Final = ("registry", "dependencies", "notifications")


class EstateVariables(KafkaVariables):
    """Where the estate is, and what to call it with."""

    url_registry: HttpAddress | None = None
    url_dependencies: HttpAddress | None = None
    url_notifications: HttpAddress | None = None
    key_file: ReadableFile | None = None
    keys_file: LaterFile | None = None
    kafka_file: ReadableFile | None = None


class DatabaseVariables(Settings):
    """Databases of the services."""

    registry_database_dsn: Dsn | None = None
    dependencies_database_dsn: Dsn | None = None
    notifications_database_dsn: Dsn | None = None


@dataclass(frozen=True, slots=True)
class CliConfig:
    """What was given; `kafka` holds members of KafkaSettings, empty without a bootstrap address."""

    urls: Mapping[str, str]
    key_file: Path | None
    keys_file: Path | None
    kafka: Mapping[str, Any] = field(repr=False)
    kafka_file: Path | None
    databases: Mapping[str, str] = field(repr=False)


def from_environment(
    environ: Mapping[str, str] = os.environ, secrets: Path = SECRETS_DIR
) -> CliConfig:
    """Read `ESTATE_*` and `<SERVICE>_DATABASE_DSN`; an empty value counts as not given.

    Raises: WrongSettingsError.
    """
    estate, databases = read(environ, EstateVariables, DatabaseVariables, secrets=secrets)
    urls = {service: getattr(estate, f"url_{service}") for service in SERVICES}
    dsns = {service: getattr(databases, f"{service}_database_dsn") for service in SERVICES}
    return CliConfig(
        urls={service: url for service, url in urls.items() if url},
        key_file=estate.key_file,
        keys_file=estate.keys_file,
        kafka=estate.kafka_members() if estate.kafka_bootstrap else {},
        kafka_file=estate.kafka_file,
        databases={name: dsn.get_secret_value() for name, dsn in dsns.items() if dsn},
    )
