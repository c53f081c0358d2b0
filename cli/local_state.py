"""Owns what lies where in the state folder of a local run, and reading it.

Must not start or call anything.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.failures import WrongUse
from shared.configuration.forms import Bootstrap, SaslMechanism, SecurityProtocol


class KafkaAddress(BaseModel):
    """How to reach Kafka: the members of KafkaSettings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    bootstrap: Bootstrap
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    username: str | None = None
    password: str | None = Field(default=None, repr=False)


class Addresses(BaseModel):
    """Where a local run is reached. What a newer run adds is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    registry: str | None = None
    dependencies: str | None = None
    notifications: str | None = None
    kafka: KafkaAddress | None = None
    databases: Mapping[str, str] = Field(default_factory=dict, repr=False)


def addresses_path(state: Path) -> Path:
    """The file of addresses."""
    return state / "addresses.json"


def keys_path(state: Path) -> Path:
    """The file of hashes of every key, which the services read."""
    return state / "keys" / "keys.json"


def key_path(state: Path, role: str) -> Path:
    """The file that holds a key of a role."""
    return state / "keys" / f"{role}.key"


def read_addresses(state: Path) -> Addresses:
    """The addresses of the local run; empty when none was started.

    Raises: WrongUse.
    """
    path = addresses_path(state)
    try:
        return Addresses.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Addresses()
    except OSError as error:
        raise WrongUse(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError:
        advice = "Start the local run again: make demo"
        raise WrongUse(f"{path} is not a file of addresses", advice) from None


def read_kafka_file(path: Path) -> KafkaAddress:
    """The credentials of a user of Kafka, as `estate keys issue --kafka` writes them in JSON.

    Raises: WrongUse.
    """
    try:
        return KafkaAddress.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WrongUse(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError:
        advice = "Issue them with `estate keys issue --kafka --out FILE.json`."
        raise WrongUse(f"{path} does not hold credentials for Kafka.", advice) from None


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read.

    Raises: FileExistsError when it is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
