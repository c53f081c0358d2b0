"""Owns the names of the secrets that docker-compose.yml asks for.

Must need nothing but the standard library: secrets are made before anything is installed.
"""

from typing import Final

SERVICES: Final = ("registry", "dependencies", "notifications")
ADMIN_PASSWORD: Final = "ESTATE_POSTGRES_PASSWORD"  # noqa: S105 - a name.
CURSOR_SECRET: Final = "ESTATE_CURSOR_SECRET"  # noqa: S105 - a name.


def owner_password(service: str) -> str:
    """The variable with the password of the role that owns a service's database."""
    return f"{service.upper()}_OWNER_PASSWORD"


def app_password(service: str) -> str:
    """The variable with the password of the role that the running service has."""
    return f"{service.upper()}_APP_PASSWORD"


def secrets_needed() -> tuple[str, ...]:
    """Every secret, in the order in which they are written."""
    roles = (name(service) for service in SERVICES for name in (owner_password, app_password))
    return (ADMIN_PASSWORD, CURSOR_SECRET, *roles)
