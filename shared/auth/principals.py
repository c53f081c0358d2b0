"""Owns who a caller is once proven: the principal and its roles.

Must not know how the proof was made.
"""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal is for; a route names the roles it serves."""

    EMITTER = "emitter"
    INTEGRATOR = "integrator"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven caller. `id` is opaque and becomes `actor`; it may hold many credentials."""

    id: str
    credential_id: str
    roles: frozenset[Role]
    organisation: str | None = None

    def has_any(self, roles: frozenset[Role]) -> bool:
        """Whether the principal holds one of these roles at least."""
        return not self.roles.isdisjoint(roles)
