"""Owns what the provisioning reads from the environment.

Must not be read anywhere else.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.compose.names import SERVICES, app_password, owner_password


class SettingsError(Exception):
    """A setting is missing; the text names all that are."""


@dataclass(frozen=True, slots=True)
class Passwords:
    """Those of a service's two roles."""

    owner: str = field(repr=False)
    app: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProvisionSettings:
    """The administrator's address, the passwords to set, where the key file is to be."""

    admin_dsn: str = field(repr=False)
    passwords: Mapping[str, Passwords]
    keys_file: Path


def from_environment(environ: Mapping[str, str] = os.environ) -> ProvisionSettings:
    """Read all of it; an empty value counts as not given.

    Raises: SettingsError.
    """
    names = ["ESTATE_ADMIN_DSN", "ESTATE_KEYS_FILE"]
    names += [name(service) for service in SERVICES for name in (owner_password, app_password)]
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise SettingsError(f"Not set: {', '.join(missing)}")
    return ProvisionSettings(
        admin_dsn=environ["ESTATE_ADMIN_DSN"],
        passwords={
            service: Passwords(environ[owner_password(service)], environ[app_password(service)])
            for service in SERVICES
        },
        keys_file=Path(environ["ESTATE_KEYS_FILE"]),
    )
