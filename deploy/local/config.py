"""Owns what the launcher reads from the environment.

Must not be read anywhere else: addresses that are given win over servers of our own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from shared.configuration.forms import Dsn, HttpAddress, KafkaVariables
from shared.configuration.reading import SECRETS_DIR, Settings, read


class KafkaClientOptions(TypedDict):
    """The keyword arguments every aiokafka client takes."""

    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: NotRequired[str]
    sasl_plain_username: NotRequired[str]
    sasl_plain_password: NotRequired[str]


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """What a client needs to reach the cluster."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: str | None = None

    def client_options(self) -> KafkaClientOptions:
        """Keyword arguments for an aiokafka producer, consumer or admin client."""
        options = KafkaClientOptions(
            bootstrap_servers=self.bootstrap, security_protocol=self.security_protocol
        )
        if self.sasl_mechanism and self.username and self.password:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def as_user(self, username: str, password: str) -> "KafkaAccess":
        """The same cluster for somebody else."""
        mechanism = self.sasl_mechanism or "SCRAM-SHA-512"
        return KafkaAccess(self.bootstrap, self.security_protocol, mechanism, username, password)


class LauncherVariables(KafkaVariables):
    """Servers that run already, and where downloads come from and go to."""

    postgres_dsn: Dsn | None = None
    cache_dir: Path | None = None
    maven_repository: HttpAddress | None = None


class SystemVariables(Settings):
    """What the machine's user has set for every program."""

    xdg_cache_home: Path | None = None


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """Addresses of servers that run already, and where downloads are kept."""

    postgres_dsn: str | None
    kafka: KafkaAccess | None
    cache_dir: Path
    maven_repository: str | None


def from_environment(
    environ: Mapping[str, str] = os.environ, secrets: Path = SECRETS_DIR
) -> LaunchConfig:
    """Read `ESTATE_*`; an empty value counts as not given.

    Raises: WrongSettingsError.
    """
    given, system = read(environ, LauncherVariables, SystemVariables, secrets=secrets)
    home_cache = system.xdg_cache_home or Path.home() / ".cache"
    dsn = given.postgres_dsn
    return LaunchConfig(
        postgres_dsn=None if dsn is None else dsn.get_secret_value(),
        kafka=KafkaAccess(**given.kafka_members()) if given.kafka_bootstrap else None,
        cache_dir=given.cache_dir or home_cache / "estate-registry",
        maven_repository=given.maven_repository,
    )
