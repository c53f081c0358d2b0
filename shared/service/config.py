"""Owns the settings of services: those of the estate, of each service, of a database's owner.

Must be the only place, with each service's config.py, that looks at the environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from shared.configuration.forms import (
    Bootstrap,
    Dsn,
    HttpAddress,
    KafkaVariables,
    LaterFile,
    ListenHost,
    Port,
    ReadableFile,
)
from shared.configuration.reading import SECRETS_DIR, Settings, read
from shared.failpoints import points
from shared.messaging.kafka import KafkaSettings
from shared.observability.logs import Level

_SECRET_MIN_CHARS: Final = 16
_TOGETHER: Final = "ESTATE_JWT_ISSUER and ESTATE_JWT_AUDIENCE need each other"
_KEYS: Final = "ESTATE_JWT_ISSUER needs this or ESTATE_JWKS_URL"
_NO_USE: Final = "is of no use without ESTATE_JWT_ISSUER"


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret) < _SECRET_MIN_CHARS:
        raise ValueError(f"has fewer than {_SECRET_MIN_CHARS} characters")
    return secret


def _known_points(specification: str) -> str:
    points(specification)
    return specification


class EstateSettings(KafkaVariables):
    """What every service of an estate shares; variables begin with ESTATE_."""

    kafka_bootstrap: Bootstrap
    keys_file: LaterFile
    cursor_secret: Annotated[SecretStr, AfterValidator(_long_enough)]
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: HttpAddress | None = None
    jwks_file: ReadableFile | None = None
    public_reads: bool = False
    log_level: Annotated[Level, BeforeValidator(str.upper)] = "INFO"
    failpoints: Annotated[str, AfterValidator(_known_points)] = ""

    @field_validator("jwt_audience")
    @classmethod
    def _names_issuer_and_audience(cls, audience: str | None, info: ValidationInfo) -> str | None:
        if "jwt_issuer" in info.data and (audience is None) != (info.data["jwt_issuer"] is None):
            raise ValueError(_TOGETHER)
        return audience

    @field_validator("jwks_url", "jwks_file")
    @classmethod
    def _keys_are_of_an_issuer(cls, value: object, info: ValidationInfo) -> object:
        given = info.data.get
        if value is not None and "jwt_issuer" in info.data and given("jwt_issuer") is None:
            raise ValueError(_NO_USE)
        is_last = info.field_name == "jwks_file" and "jwks_url" in info.data
        if is_last and value is None and given("jwt_issuer") and given("jwks_url") is None:
            raise ValueError(_KEYS)
        return value

    def kafka(self) -> KafkaSettings:
        """How to reach Kafka."""
        return KafkaSettings(**self.kafka_members())


class ServiceSettings(Settings):
    """What one service has of its own; each sets its prefix."""

    database_dsn: Dsn
    http_host: ListenHost = "127.0.0.1"
    http_port: Port = 8080


class OwnerSettings(Settings):
    """What applying migrations needs, and nothing else does."""

    owner_dsn: Dsn


S = TypeVar("S", bound=ServiceSettings)


def read_service(
    own: type[S], environ: Mapping[str, str] = os.environ, secrets: Path = SECRETS_DIR
) -> tuple[S, EstateSettings]:
    """What `serve` and `rebuild` need. Raises: WrongSettingsError."""
    return read(environ, own, EstateSettings, secrets=secrets)


def read_owner_dsn(
    owner: type[OwnerSettings],
    environ: Mapping[str, str] = os.environ,
    secrets: Path = SECRETS_DIR,
) -> str:
    """What `migrate` and `log` need. Raises: WrongSettingsError."""
    (settings,) = read(environ, owner, secrets=secrets)
    return settings.owner_dsn.get_secret_value()
