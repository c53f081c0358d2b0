"""Owns what the command line reads from the environment.

Must not be read anywhere else. Keys come in files, never in a variable or an argument; addresses of
databases are those by which the services themselves are configured.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SERVICES: Final = ("registry", "dependencies", "notifications")
_KAFKA_FIELDS: Final = (
    "bootstrap",
    "security_protocol",
    "sasl_mechanism",
    "username",
    "password",
)


@dataclass(frozen=True, slots=True)
class CliConfig:
    """What was given; `kafka` holds members of KafkaSettings, empty without a bootstrap address."""

    urls: Mapping[str, str]
    key_file: Path | None
    keys_file: Path | None
    kafka: Mapping[str, str]
    kafka_file: Path | None
    databases: Mapping[str, str] = field(repr=False)


def from_environment(environ: Mapping[str, str] = os.environ) -> CliConfig:
    """Read `ESTATE_*` and `<SERVICE>_DATABASE_DSN`; an empty value counts as not given."""
    named = {service: environ.get(f"ESTATE_URL_{service.upper()}") for service in SERVICES}
    databases = {service: environ.get(f"{service.upper()}_DATABASE_DSN") for service in SERVICES}
    kafka = {name: environ.get(f"ESTATE_KAFKA_{name.upper()}") for name in _KAFKA_FIELDS}
    return CliConfig(
        urls={service: url for service, url in named.items() if url},
        key_file=_path(environ.get("ESTATE_KEY_FILE")),
        keys_file=_path(environ.get("ESTATE_KEYS_FILE")),
        kafka={n: v for n, v in kafka.items() if v} if kafka["bootstrap"] else {},
        kafka_file=_path(environ.get("ESTATE_KAFKA_FILE")),
        databases={service: dsn for service, dsn in databases.items() if dsn},
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
