"""Owns reading configuration: environment variables and secrets files, every fault named at once.

Must be the only place, with each service's config.py, that looks at the environment.
"""

import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.messaging.kafka import KafkaSettings

SECRETS_DIR: Final = Path("/run/secrets")
_WRONG_USE: Final = 2

Port = Annotated[int, Field(ge=0, le=65535)]
Dsn = Annotated[SecretStr, Field(min_length=12)]


class EstateSettings(BaseSettings):
    """What every service of an estate shares; variables begin with ESTATE_."""

    model_config = SettingsConfigDict(
        env_prefix="ESTATE_",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="ignore",
        frozen=True,
    )

    kafka_bootstrap: Annotated[str, Field(min_length=3)]
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    keys_file: Path
    cursor_secret: Annotated[SecretStr, Field(min_length=16)]
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: str | None = None
    jwks_file: Path | None = None
    public_reads: bool = False
    log_level: str = "INFO"
    failpoints: str = ""

    def kafka(self) -> KafkaSettings:
        """How to reach Kafka."""
        password = self.kafka_password
        return KafkaSettings(
            bootstrap=self.kafka_bootstrap,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=None if password is None else password.get_secret_value(),
        )


class ServiceSettings(BaseSettings):
    """What one service has of its own; each sets its prefix."""

    model_config = SettingsConfigDict(
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None, extra="ignore", frozen=True
    )

    database_dsn: Dsn
    http_host: str = "127.0.0.1"
    http_port: Port = 8080


class OwnerSettings(BaseSettings):
    """What applying migrations needs, and nothing else does."""

    model_config = ServiceSettings.model_config

    owner_dsn: Dsn


def load(*settings: type[BaseSettings]) -> tuple[BaseSettings, ...]:
    """Read these settings, or end the process naming everything that is wrong with them."""
    loaded, faults = [], []
    for one in settings:
        try:
            loaded.append(one())
        except ValidationError as error:
            prefix = one.model_config.get("env_prefix", "")
            found = error.errors(include_input=False, include_url=False, include_context=False)
            faults += [
                f"{prefix}{fault['loc'][0]}".upper() + f": {fault['msg']}" for fault in found
            ]
    if faults:
        refuse(faults)
    return tuple(loaded)


def refuse(faults: list[str]) -> NoReturn:
    """End the process: its configuration is wrong."""
    lines = ["The configuration is wrong:", *(f"  {fault}" for fault in faults)]
    sys.stderr.write("\n".join([*lines, "See docs/configuration.md.", ""]))
    raise SystemExit(_WRONG_USE)
