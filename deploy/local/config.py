"""Owns what the launcher reads from the environment.

Must not be read anywhere else: addresses that are given win over servers of our own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict


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


@dataclass(frozen=True, slots=True)
class LaunchConfig:
    """Addresses of servers that run already, and where downloads are kept."""

    postgres_dsn: str | None
    kafka: KafkaAccess | None
    cache_dir: Path
    maven_repository: str | None


def from_environment(environ: Mapping[str, str] = os.environ) -> LaunchConfig:
    """Read `ESTATE_*`; an empty value counts as not given."""
    home_cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = environ.get("ESTATE_CACHE_DIR")
    return LaunchConfig(
        postgres_dsn=environ.get("ESTATE_POSTGRES_DSN") or None,
        kafka=_kafka_access(environ),
        cache_dir=Path(cache) if cache else home_cache / "estate-registry",
        maven_repository=environ.get("ESTATE_MAVEN_REPOSITORY") or None,
    )


def _kafka_access(environ: Mapping[str, str]) -> KafkaAccess | None:
    bootstrap = environ.get("ESTATE_KAFKA_BOOTSTRAP")
    if not bootstrap:
        return None
    return KafkaAccess(
        bootstrap=bootstrap,
        security_protocol=environ.get("ESTATE_KAFKA_SECURITY_PROTOCOL") or "PLAINTEXT",
        sasl_mechanism=environ.get("ESTATE_KAFKA_SASL_MECHANISM") or None,
        username=environ.get("ESTATE_KAFKA_USERNAME") or None,
        password=environ.get("ESTATE_KAFKA_PASSWORD") or None,
    )
