"""Owns the forms of settings: addresses, ports, files; the settings that Kafka is reached by.

Must not connect to anything, nor say what a wrong value was: it may be a secret.
"""

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from shared.configuration.reading import Settings

_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Za-z:.%]+\]|[\w.%-]+)(?P<given>:(?P<port>[0-9]{1,5}))?")
_HOST: Final = re.compile(r"[0-9A-Fa-f:.]+(?:%[\w.-]+)?|[\w.-]+")
_MAX_PORT: Final = 65535
_TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DSN_FORM: Final = "is not of the form postgresql://user:password@host:port/database"
_HTTP_FORM: Final = "is not of the form http://host:port"
_BOOTSTRAP_FORM: Final = "is not of the form host:port,host:port"


def _is_address(text: str, *, needs_port: bool = False) -> bool:
    found = _ADDRESS.fullmatch(text)
    if found is None or found["given"] is None:
        return found is not None and not needs_port
    return 1 <= int(found["port"]) <= _MAX_PORT


def _database_address(dsn: SecretStr) -> SecretStr:
    """As the driver reads it: several hosts, or a socket's folder as the parameter `host`."""
    try:
        parts = urlsplit(dsn.get_secret_value())
        parameters = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        raise ValueError(_DSN_FORM) from None
    before, at, after = parts.netloc.partition("@")
    hosts = [host for host in (after if at else before).split(",") if host]
    names_host = bool(hosts) or "host" in parameters
    names_database = parts.path.strip("/") or parameters.keys() & {"database", "dbname"}
    known = parts.scheme in {"postgresql", "postgres"}
    if not (known and names_host and names_database and all(map(_is_address, hosts))):
        raise ValueError(_DSN_FORM)
    if not set(_TLS_MODES).issuperset(parameters.get("sslmode", ())):
        raise ValueError(f"its sslmode is none of {', '.join(_TLS_MODES)}")
    return dsn


def http_address(text: str) -> str:
    """The same address. Raises: ValueError unless it can be called, without a user in it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(_HTTP_FORM) from None
    if parts.scheme not in {"http", "https"} or not _is_address(parts.netloc):
        raise ValueError(_HTTP_FORM)
    return text


def _bootstrap_addresses(text: str) -> str:
    if not all(_is_address(part.strip(), needs_port=True) for part in text.split(",")):
        raise ValueError(_BOOTSTRAP_FORM)
    return text


def _readable(path: Path) -> Path:
    try:
        found = path.stat()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("is a folder, not a file")
    if not os.access(path, os.R_OK):
        raise ValueError("the file cannot be read: Permission denied")
    return path


def _readable_if_there(path: Path) -> Path:
    try:
        path.lstat()
    except FileNotFoundError:
        return path
    except OSError:
        pass
    return _readable(path)


def _listening_host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("is neither an address nor the name of a host")
    return text


ListenHost = Annotated[str, AfterValidator(_listening_host)]
Port = Annotated[int, Field(ge=0, le=_MAX_PORT)]
Dsn = Annotated[SecretStr, AfterValidator(_database_address)]
HttpAddress = Annotated[str, AfterValidator(http_address)]
Bootstrap = Annotated[str, AfterValidator(_bootstrap_addresses)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
LaterFile = Annotated[Path, AfterValidator(_readable_if_there)]
"""A file that may be made while the process runs."""
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaVariables(Settings):
    """How Kafka is reached. The order of fields matters: a check sees those before its own."""

    prefix = "ESTATE_"

    kafka_bootstrap: Bootstrap | None = None
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    kafka_sasl_mechanism: SaslMechanism | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None

    @field_validator("kafka_sasl_mechanism", "kafka_username", "kafka_password")
    @classmethod
    def _goes_with_the_protocol(cls, value: object, info: ValidationInfo) -> object:
        protocol = info.data.get("kafka_security_protocol")
        if protocol is None:
            return value
        if protocol.startswith("SASL_") and value is None:
            raise ValueError(f"is needed where {cls.variable('kafka_security_protocol')} is SASL")
        if not protocol.startswith("SASL_") and value is not None:
            raise ValueError(
                f"is of no use unless {cls.variable('kafka_security_protocol')} is "
                "SASL_PLAINTEXT or SASL_SSL"
            )
        return value

    def kafka_members(self) -> dict[str, Any]:
        """Members of KafkaSettings."""
        password = self.kafka_password
        return {
            "bootstrap": self.kafka_bootstrap,
            "security_protocol": self.kafka_security_protocol,
            "sasl_mechanism": self.kafka_sasl_mechanism,
            "username": self.kafka_username,
            "password": None if password is None else password.get_secret_value(),
        }
