"""Owns finding the services and the key to call them with: option, environment, local run.

Must not print a key, nor take one from an argument.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.config import CliConfig, from_environment
from cli.failures import WrongConfiguration, WrongUse
from cli.local_state import (
    Addresses,
    KafkaAddress,
    key_path,
    keys_path,
    read_addresses,
    read_kafka_file,
)
from shared.configuration.forms import http_address
from shared.configuration.reading import WrongSettingsError

READER_ROLES: Final = ("auditor", "integrator", "operator", "admin", "emitter")
SENDER_ROLES: Final = ("emitter",)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,8192}")
_START: Final = (
    "Start a local run with `make demo`, or name a running estate with ESTATE_URL_REGISTRY, "
    "ESTATE_URL_DEPENDENCIES and ESTATE_URL_NOTIFICATIONS."
)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the services are. `state` is the folder of a local run, whether or not it exists."""

    state: Path
    config: CliConfig
    addresses: Addresses
    key_file: Path | None
    kafka_file: Path | None = None

    def url(self, service: str) -> str:
        """The base address of a service.

        Raises: WrongUse when none is known.
        """
        url = self.config.urls.get(service) or getattr(self.addresses, service)
        if not url:
            raise WrongUse(f"No address of the service {service} is known.", _START)
        try:
            return http_address(url)
        except ValueError as error:
            advice = "Write it such as http://127.0.0.1:8081"
            message = f"The address of the service {service} {error}."
            raise WrongUse(message, advice) from None

    def kafka(self) -> KafkaAddress:
        """How to reach Kafka as whoever runs the estate.

        Raises: WrongUse when that is not known.
        """
        if self.config.kafka:
            return KafkaAddress(**self.config.kafka)
        if self.addresses.kafka is None:
            advice = "Start a local run with `make demo`, or set ESTATE_KAFKA_BOOTSTRAP."
            raise WrongUse("No address of Kafka is known.", advice)
        return self.addresses.kafka

    def kafka_to_send(self) -> KafkaAddress:
        """How to reach Kafka as a sender: by the credentials named, else as `kafka`.

        Raises: WrongUse.
        """
        named = self.kafka_file or self.config.kafka_file
        return self.kafka() if named is None else read_kafka_file(named)

    def keys_file(self) -> Path:
        """The file of hashes that the services read."""
        return self.config.keys_file or keys_path(self.state)

    def key(self, roles: Sequence[str]) -> str | None:
        """The key to call with: the one named, else the local run's of the first role it has.

        Raises: WrongUse when a key file does not hold a key.
        """
        named = self.key_file or self.config.key_file
        if named is not None:
            return _read_key(named)
        local = (key_path(self.state, role) for role in roles)
        found = next((path for path in local if path.is_file()), None)
        return None if found is None else _read_key(found)

    def required_key(self, roles: Sequence[str]) -> str:
        """As `key`, where there must be one. Raises: WrongUse."""
        key = self.key(roles)
        if key is None:
            advice = "Name the file that holds it with --key-file or ESTATE_KEY_FILE."
            raise WrongUse(f"This needs a key of the role {' or '.join(roles)}.", advice)
        return key


def connect(
    state: Path, key_file: Path | None = None, kafka_file: Path | None = None
) -> Connection:
    """Find the services; nothing is called yet.

    Raises: WrongUse.
    """
    try:
        config = from_environment()
    except WrongSettingsError as error:
        raise WrongConfiguration(error.faults) from None
    return Connection(state, config, read_addresses(state), key_file, kafka_file)


def _read_key(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise WrongUse(f"The key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if not _KEY.fullmatch(text):
        raise WrongUse(f"{path} does not hold a key.", "It holds the key alone, on one line.")
    return text
