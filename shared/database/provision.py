"""Owns making a service's database and its two roles on a Postgres server.

Must be run by an administrator; services never hold these rights. The owner shapes the schema,
the application's role can only do what migrations grant it.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

_ROLE_EXISTS: Final = "SELECT true FROM pg_roles WHERE rolname = $1"
_DATABASE_EXISTS: Final = "SELECT true FROM pg_database WHERE datname = $1"


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """The addresses of one service's database: for migrations, and for the running service."""

    owner_dsn: str
    app_dsn: str


async def provision(admin_dsn: str, database: str, password: str) -> DatabaseAccess:
    """Make the database and the roles `<database>_owner` and `<database>_app`; repeatable.

    Both roles get `password`; a repeated call sets it anew. Names must be plain identifiers.
    """
    owner, app = f"{database}_owner", f"{database}_app"
    connection = await asyncpg.connect(admin_dsn, timeout=10)
    try:
        for role in (owner, app):
            await _ensure_role(connection, role, password)
        if not await connection.fetchval(_DATABASE_EXISTS, database):
            await connection.execute(
                await _quoted(
                    connection,
                    "CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING 'UTF8'",
                    database,
                    owner,
                )
            )
        await connection.execute(
            await _quoted(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
        )
        await connection.execute(
            await _quoted(connection, "GRANT CONNECT, CREATE ON DATABASE %I TO %I", database, app)
        )
    finally:
        await connection.close(timeout=5)
    return DatabaseAccess(
        owner_dsn=_dsn(admin_dsn, owner, password, database),
        app_dsn=_dsn(admin_dsn, app, password, database),
    )


async def _ensure_role(
    connection: "asyncpg.Connection[asyncpg.Record]", role: str, password: str
) -> None:
    verb = "ALTER" if await connection.fetchval(_ROLE_EXISTS, role) else "CREATE"
    statement = f"{verb} ROLE %I LOGIN PASSWORD %L"
    await connection.execute(await _quoted(connection, statement, role, password))


async def _quoted(
    connection: "asyncpg.Connection[asyncpg.Record]", template: str, *names: str
) -> str:
    """Let the server quote names into a statement, since DDL takes no parameters."""
    return str(await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, names))


def _dsn(admin_dsn: str, user: str, password: str, database: str) -> str:
    parts = urlsplit(admin_dsn)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{user}:{quote(password, safe='')}@{host}"
    return urlunsplit((parts.scheme, netloc, f"/{database}", parts.query, ""))
