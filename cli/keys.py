"""Owns the commands on credentials: keys of the key file here, users of Kafka beside it.

Must not show a key again, nor write it anywhere but where it was asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.asking import run
from cli.connection import connect
from cli.failures import Failure, WrongUse, ended_by
from cli.kafka_keys import (
    check_issue,
    issue_for_kafka,
    listed_users,
    revoke_for_kafka,
    show_users,
    user_document,
)
from cli.local_state import write_private
from cli.options import DEFAULT_STATE, Json, State
from cli.submit import organisation_id
from cli.terminal import caption, cell, keep_whole, moment, say, show, show_json, table
from shared.auth.keys import (
    IssuedKey,
    KeyRecord,
    KeysUnavailable,
    issue_key,
    list_keys,
    revoke_key,
)
from shared.auth.principals import Role
from shared.clock import SystemClock, format_instant, new_id
from shared.messaging.kafka_credentials import is_user

app = typer.Typer(no_args_is_help=True, help="Issue, list and revoke keys, for Kafka too.")
KeysFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The key file of the services; else ESTATE_KEYS_FILE."),
]


@app.command()
def issue(
    role: Annotated[list[Role], typer.Option(help="What it is for; may be given again.")],
    organisation: Annotated[
        str | None, typer.Option(metavar="REF", help="Whom it acts for; an emitter needs one.")
    ] = None,
    principal: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose it is, opaque; else somebody new.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here, readable to you alone.")
    ] = None,
    kafka: Annotated[
        bool,
        typer.Option(
            "--kafka", metavar="", help="A user of Kafka instead; FILE as .properties, else JSON."
        ),
    ] = False,
    keys_file: KeysFile = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Issue a key, or a user of Kafka. It is shown once, and kept nowhere."""
    with _failures():
        if out is not None and out.exists():
            raise WrongUse(f"{out} is there already.", "Name a file that is not there yet.")
        if kafka:
            if principal or keys_file:
                raise WrongUse("--principal and --keys-file are not for users of Kafka.")
            check_issue(set(role), for_organisation=organisation is not None)
            acts_for = run(_organisation(state, organisation)) if organisation else None
            issue_for_kafka(connect(state), set(role), acts_for, out, as_json=as_json)
            return
        path = _path(keys_file, state)
        acts_for = run(_organisation(state, organisation)) if organisation else None
        issued = issue_key(
            path,
            principal=principal or new_id("prn_"),
            roles=frozenset(role),
            organisation=acts_for,
            clock=SystemClock(),
            new_id=new_id,
        )
        if out is not None:
            _write_out(out, issued, path)
    _tell(issued, out, as_json=as_json)


async def _organisation(state: Path, reference: str) -> str:
    return await organisation_id(connect(state), reference)


def _write_out(out: Path, issued: IssuedKey, path: Path) -> None:
    try:
        write_private(out, issued.secret + "\n")
    except OSError as error:
        # A key that nobody holds must not stay valid.
        revoke_key(path, issued.record.id, clock=SystemClock())
        raise WrongUse(f"{out} cannot be written: {error.strerror}") from None


def _tell(issued: IssuedKey, out: Path | None, *, as_json: bool) -> None:
    shown = {} if out is not None else {"key": issued.secret}
    if as_json:
        show_json({**_document(issued.record), **shown})
    elif out is None:
        print(issued.secret)
    where = "is shown this once" if out is None else f"is in {out}"
    say(f"Key {issued.record.id} {where}. Services take it within five seconds.")


@app.command("list")
def list_(keys_file: KeysFile = None, as_json: Json = False, state: State = DEFAULT_STATE) -> None:
    """List every key ever issued, revoked ones too, and the users of Kafka that there are."""
    with _failures():
        records = list_keys(_path(keys_file, state))
        users = listed_users(connect(state))
    if as_json:
        items = [_document(record) for record in records]
        kafka = None if users is None else [user_document(user) for user in users]
        show_json({"items": items, "kafka": kafka})
        return
    rows = table("Key", "Whose", "Roles", "Acts for", "Issued (UTC)", "Revoked (UTC)")
    for record in records:
        document = _document(record)
        rows.add_row(
            cell(record.prefix, "strike" if record.revoked else "cyan"),
            cell(record.principal),
            cell(", ".join(document["roles"])),
            cell(record.organisation),
            cell(moment(document["created"])),
            cell(moment(document["revoked"])),
        )
    keep_whole(rows, 0, (record.prefix for record in records))
    if records:
        show(rows)
    show_users(users or ())
    told = f"{len(records) or 'no'} key{'' if len(records) == 1 else 's'}"
    if users is not None:
        told += f", {len(users) or 'no'} Kafka user{'' if len(users) == 1 else 's'}"
    caption({}, told)


@app.command()
def revoke(
    key: Annotated[
        str, typer.Argument(metavar="ID", help="Its id, or its prefix as listed; not the key.")
    ],
    keys_file: KeysFile = None,
    as_json: Json = False,
    state: State = DEFAULT_STATE,
) -> None:
    """Revoke a key for good; services refuse it within five seconds. Or a user of Kafka."""
    with _failures():
        if is_user(key):
            revoke_for_kafka(connect(state), key, as_json=as_json)
            return
        try:
            record = revoke_key(_path(keys_file, state), key, clock=SystemClock())
        except KeyError:
            raise Failure("There is no such key.", "`estate keys list` lists them.") from None
    if as_json:
        show_json(_document(record))
    else:
        say(f"Key {record.id} is revoked.")


def _path(keys_file: Path | None, state: Path) -> Path:
    return keys_file or connect(state).keys_file()


def _document(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "prefix": record.prefix,
        "principal": record.principal,
        "roles": sorted(role.value for role in record.roles),
        "organisation": record.organisation,
        "created": format_instant(record.created),
        "revoked": None if record.revoked is None else format_instant(record.revoked),
    }


@contextmanager
def _failures() -> Iterator[None]:
    """Say what failed with the key file in words."""
    try:
        yield
    except Failure as failure:
        raise ended_by(failure) from None
    except KeysUnavailable as error:
        raise ended_by(Failure(f"The key file cannot be used: {error}.")) from None
    except ValueError as error:
        raise ended_by(WrongUse(f"{error}.")) from None
    except OSError as error:
        raise ended_by(Failure(f"The key file cannot be used: {error.strerror}.")) from None
