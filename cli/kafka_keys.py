"""Owns the part of `estate keys` that is about users of Kafka, who live in the cluster.

Must not keep a password, nor write it anywhere but where it was asked for.
"""

import asyncio
import json
from collections.abc import Collection, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from cli.connection import Connection
from cli.failures import Failure, NothingRuns, WrongUse
from cli.local_state import write_private
from cli.terminal import cell, keep_whole, say, show, show_json, table
from shared.auth.principals import Role
from shared.clock import new_id
from shared.messaging.access_control import AccessChangeRefusedError, AccessControlOffError
from shared.messaging.kafka import KafkaSettings, KafkaUnreachableError
from shared.messaging.kafka_credentials import (
    KafkaUser,
    issue_user,
    list_users,
    revoke_user,
    rules_for,
)

PROPERTIES: Final = ".properties"
_MODULE: Final = "org.apache.kafka.common.security.scram.ScramLoginModule"
_SECURE_LOCAL: Final = (
    "Use a cluster that has access control and is reached over SASL: name it with "
    "ESTATE_KAFKA_BOOTSTRAP, ESTATE_KAFKA_SECURITY_PROTOCOL and the user of an administrator, or "
    "begin a local run with `estate up --kafka-access-control --state NEW`."
)
T = TypeVar("T")


def check_issue(roles: Collection[Role], *, for_organisation: bool) -> None:
    """Refuse what cannot be issued, before anything is asked. Raises: WrongUse."""
    try:
        list(rules_for("", roles, "" if for_organisation else None))
    except ValueError as error:
        raise WrongUse(f"Not on Kafka: {error}.") from None


def issue_for_kafka(
    connection: Connection,
    roles: Collection[Role],
    organisation: str | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a user and hand over how it reaches Kafka, once. Raises: Failure."""
    admin = _settings(connection)
    user = _reach(issue_user(admin, roles, organisation, new_id))
    username = str(user.username)
    if out is not None:
        try:
            write_private(out, credentials_text(user, out))
        except OSError as error:
            # A password that nobody holds must not stay valid.
            _reach(revoke_user(admin, username))
            raise WrongUse(f"{out} cannot be written: {error.strerror}") from None
    if out is None:
        show_json(asdict(user))
    elif as_json:
        named = sorted(role.value for role in roles)
        show_json({"id": username, "roles": named, "organisation": organisation})
    where = "shown this once" if out is None else f"in {out}"
    say(f"Kafka user {username} is made, its password {where}. Its groups begin with its id.")


def credentials_text(user: KafkaSettings, out: Path) -> str:
    """What a client needs: properties for Kafka's own tools, or JSON, by the file's name."""
    if out.suffix != PROPERTIES:
        return json.dumps(asdict(user), indent=2) + "\n"
    lines = {
        "bootstrap.servers": user.bootstrap,
        "security.protocol": user.security_protocol,
        "sasl.mechanism": user.sasl_mechanism,
        "sasl.jaas.config": (
            f'{_MODULE} required username="{user.username}" password="{user.password}";'
        ),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def listed_users(connection: Connection) -> list[KafkaUser] | None:
    """Every user issued; None where that is not known, which is said unless there are none."""
    if connection.config.kafka or connection.addresses.kafka:
        try:
            return asyncio.run(list_users(_settings(connection)))
        except AccessControlOffError:
            return None
        except (KafkaUnreachableError, AccessChangeRefusedError) as error:
            say(f"Kafka's users are not shown: {error}.")
    return None


def user_document(user: KafkaUser) -> dict[str, Any]:
    """A user for programs."""
    return {
        "id": user.name,
        "organisations": user.organisations,
        "reads_events": user.reads_events,
        "rules": [
            {
                "operation": rule.operation.name.lower(),
                "resource": rule.resource.name.lower(),
                "name": rule.name,
                "prefixed": rule.prefixed,
            }
            for rule in user.rules
        ],
    }


def show_users(users: Collection[KafkaUser]) -> None:
    """Show users as a table; nothing when there are none."""
    rows = table("Kafka user", "Submits for", "Reads events")
    for user in users:
        rows.add_row(
            cell(user.name, "cyan"),
            cell(", ".join(user.organisations) or None),
            cell("yes" if user.reads_events else "no"),
        )
    keep_whole(rows, 0, (user.name for user in users))
    if users:
        show(rows)


def revoke_for_kafka(connection: Connection, username: str, *, as_json: bool) -> None:
    """Take a user's rules and password away. Raises: Failure."""
    try:
        _reach(revoke_user(_settings(connection), username))
    except KeyError:
        advice = "`estate keys list` lists them."
        raise Failure("There is no such user of Kafka.", advice) from None
    if as_json:
        show_json({"id": username})
    else:
        say(f"Kafka user {username} is revoked: its rules and its password are gone.")


def _settings(connection: Connection) -> KafkaSettings:
    return KafkaSettings(**connection.kafka().model_dump())


def _reach(asked: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(asked)
    except AccessControlOffError:
        message = "Kafka has no access control: whoever reaches it may do everything."
        raise Failure(message, _SECURE_LOCAL) from None
    except AccessChangeRefusedError as error:
        raise Failure(f"Kafka refuses: {error}.", "Call it as an administrator of Kafka.") from None
    except KafkaUnreachableError as error:
        raise NothingRuns(f"Kafka does not answer: {error}", "See `estate status`.") from None
