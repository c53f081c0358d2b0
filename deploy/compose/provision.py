"""Owns the step before the services' first start: databases, their roles, an empty key file.

Must be repeatable, and must not touch a key file that is there.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import asyncpg

from deploy.compose.config import ProvisionSettings, from_environment
from shared.configuration.reading import WrongSettingsError, refuse
from shared.database.errors import UNREACHABLE
from shared.database.provision import provision

_FAILED: Final = 1
_NO_KEYS: Final = '{"keys": []}\n'
_ALTER_ROLE: Final = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"


async def _provision_all(settings: ProvisionSettings) -> None:
    admin_dsn = settings.estate_admin_dsn.get_secret_value()
    for service, (owner, app) in settings.passwords().items():
        await _provision_one(admin_dsn, service, owner, app)


async def _provision_one(admin_dsn: str, service: str, owner: str, app: str) -> None:
    """Make a service's database; whoever takes the running service's password is not its owner."""
    await provision(admin_dsn, service, owner)
    connection = await asyncpg.connect(admin_dsn, timeout=10)
    try:
        await connection.execute(await connection.fetchval(_ALTER_ROLE, f"{service}_app", app))
    finally:
        await connection.close(timeout=5)


def _ensure_key_file(path: Path) -> bool:
    """Without a key file nobody is let in and no service is ready; with an empty one, only that."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(_NO_KEYS)
    return True


def main() -> int:
    """Provision, and say what is there."""
    try:
        settings = from_environment()
        asyncio.run(_provision_all(settings))
        state = "made" if _ensure_key_file(settings.estate_keys_file) else "kept"
    except WrongSettingsError as error:
        refuse(error.faults)
    except (*UNREACHABLE, asyncpg.InvalidAuthorizationSpecificationError) as error:
        sys.stderr.write(f"Not provisioned: {error!r}\n")
        return _FAILED
    sys.stderr.write(f"Databases: {', '.join(settings.passwords())}. Key file: {state}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
