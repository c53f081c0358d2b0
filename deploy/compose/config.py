"""Owns what the provisioning reads from the environment.

Must not be read anywhere else.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from deploy.compose.names import SERVICES, app_password, owner_password
from shared.configuration.forms import Dsn, LaterFile
from shared.configuration.reading import SECRETS_DIR, Settings, read


class ProvisionSettings(Settings):
    """The administrator's address, where the key file is to be, the passwords to set."""

    estate_admin_dsn: Dsn
    estate_keys_file: LaterFile
    registry_owner_password: SecretStr
    registry_app_password: SecretStr
    dependencies_owner_password: SecretStr
    dependencies_app_password: SecretStr
    notifications_owner_password: SecretStr
    notifications_app_password: SecretStr

    def passwords(self) -> Mapping[str, tuple[str, str]]:
        """Those of each service's owner and of its running service."""
        given = {self.variable(name): getattr(self, name) for name in type(self).model_fields}
        return {
            service: (
                given[owner_password(service)].get_secret_value(),
                given[app_password(service)].get_secret_value(),
            )
            for service in SERVICES
        }


def from_environment(
    environ: Mapping[str, str] = os.environ, secrets: Path = SECRETS_DIR
) -> ProvisionSettings:
    """Read all of it; an empty value counts as not given.

    Raises: WrongSettingsError.
    """
    (settings,) = read(environ, ProvisionSettings, secrets=secrets)
    return settings
