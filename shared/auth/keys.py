"""Owns API keys: how they are made and kept, and looking one up in the key file.

Must not keep or log a key itself; the file holds hashes only.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.auth.principals import Principal, Role
from shared.clock import Clock, format_instant, parse_instant

KEY_PATTERN = re.compile(r"estate_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
STAT_PERIOD_S = 1.0
READ_PERIOD_S = 5.0
MAX_FILE_BYTES = 16 * 1024 * 1024
_SECRET_BYTES = 32
_NOBODY = "0" * 64
_log = structlog.get_logger(__name__)


class KeysUnavailable(Exception):  # noqa: N818 - says what is true.
    """The key file is missing or cannot be read: nobody can be let in."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key."""

    id: str
    prefix: str
    sha256: str
    principal: str
    roles: frozenset[Role]
    organisation: str | None
    created: datetime
    revoked: datetime | None = None

    def as_principal(self) -> Principal:
        """Who the holder of the key is."""
        return Principal(self.principal, self.id, self.roles, self.organisation)


class _KeyEntry(BaseModel):
    """One key in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1, max_length=100)
    prefix: str = Field(pattern=r"^[0-9a-f]{8}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    principal: str = Field(min_length=1, max_length=200)
    roles: list[Role] = Field(min_length=1)
    organisation: str | None = None
    created: str
    revoked: str | None = None

    def record(self) -> KeyRecord:
        return KeyRecord(
            self.id,
            self.prefix,
            self.sha256,
            self.principal,
            frozenset(self.roles),
            self.organisation,
            parse_instant(self.created),
            None if self.revoked is None else parse_instant(self.revoked),
        )


class _KeyTable(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[_KeyEntry]


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. `secret` is shown to its holder once and kept nowhere."""

    secret: str
    record: KeyRecord


def issue_key(
    path: Path,
    *,
    principal: str,
    roles: frozenset[Role],
    organisation: str | None,
    clock: Clock,
    new_id: Callable[[str], str],
) -> IssuedKey:
    """Make a key and add it to the file, which is made when it is not there.

    Safe with concurrent writers; readers see the old file or the new one.

    Raises: ValueError without a role, or for an emitter without an organisation.
    """
    if not roles:
        raise ValueError("a key needs a role")
    if Role.EMITTER in roles and organisation is None:
        raise ValueError("an emitter acts for an organisation, so its key must name one")
    with _locked(path):
        records = list_keys(path)
        taken = {record.prefix for record in records}
        prefix = next(p for p in iter(lambda: secrets.token_hex(4), "") if p not in taken)
        secret = f"estate_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        record = KeyRecord(
            new_id("key_"), prefix, hash_key(secret), principal, roles, organisation, clock.now()
        )
        _write(path, (*records, record))
    return IssuedKey(secret, record)


def list_keys(path: Path) -> tuple[KeyRecord, ...]:
    """Every key ever issued, revoked ones too; none when there is no file.

    Raises: KeysUnavailable when the file cannot be understood.
    """
    try:
        return _parse(_read_bytes(path))
    except FileNotFoundError:
        return ()


def revoke_key(path: Path, id_or_prefix: str, *, clock: Clock) -> KeyRecord:
    """Revoke a key for good; services notice within five seconds. Revoking again changes nothing.

    Raises: KeyError when there is no such key.
    """
    with _locked(path):
        records = list_keys(path)
        found = next((r for r in records if id_or_prefix in {r.id, r.prefix}), None)
        if found is None:
            raise KeyError(id_or_prefix)
        if found.revoked is not None:
            return found
        revoked = replace(found, revoked=clock.now())
        _write(path, tuple(revoked if r is found else r for r in records))
    return revoked


def hash_key(secret: str) -> str:
    """The SHA-256 of a key: enough for a secret of 256 random bits."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file; the file itself is replaced, so it cannot carry one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(
        path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(path: Path, records: tuple[KeyRecord, ...]) -> None:
    text = json.dumps({"keys": [_entry(record) for record in records]}, indent=2) + "\n"
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _entry(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "prefix": record.prefix,
        "sha256": record.sha256,
        "principal": record.principal,
        "roles": sorted(role.value for role in record.roles),
        "organisation": record.organisation,
        "created": format_instant(record.created),
        "revoked": None if record.revoked is None else format_instant(record.revoked),
    }


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _parse(raw: bytes) -> tuple[KeyRecord, ...]:
    if len(raw) > MAX_FILE_BYTES:
        raise KeysUnavailable("the key file is too large")
    try:
        records = tuple(entry.record() for entry in _KeyTable.model_validate_json(raw).keys)
    except (ValidationError, ValueError) as error:
        # The text of the fault could hold the input, so only its kind is told.
        raise KeysUnavailable(f"the key file is not valid ({type(error).__name__})") from None
    if len({record.prefix for record in records}) != len(records):
        raise KeysUnavailable("the key file has one prefix twice")
    return records


class KeyFile:
    """The key file as a running service sees it: read again within five seconds of a change.

    A file that is missing or not valid lets nobody in, whatever it held before: an older state
    could hold a key that has been revoked since.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._signature: tuple[int, int, int] | None = None
        self._keys: Mapping[str, KeyRecord] | None = None
        self._looked_at = float("-inf")
        self._read_at = float("-inf")

    def find(self, secret: str) -> KeyRecord | None:
        """The record of a key that is valid now, else None; takes the same time either way.

        Raises: KeysUnavailable.
        """
        match = KEY_PATTERN.fullmatch(secret)
        record = self.current().get(match[1]) if match else None
        if match and record is None:
            # It may have been issued since the file was looked at; a look costs a few microseconds.
            record = self._current(0).get(match[1])
        expected = _NOBODY if record is None else record.sha256
        digest = hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()
        same = hmac.compare_digest(digest, expected)
        return record if record is not None and same and record.revoked is None else None

    def current(self) -> Mapping[str, KeyRecord]:
        """The keys by prefix. Raises: KeysUnavailable."""
        return self._current(STAT_PERIOD_S)

    def _current(self, stat_period_s: float) -> Mapping[str, KeyRecord]:
        now = self._clock.monotonic()
        if now - self._looked_at >= stat_period_s:
            self._looked_at = now
            self._look(now)
        if self._keys is None:
            raise KeysUnavailable("no keys")
        return self._keys

    def _look(self, now: float) -> None:
        try:
            status = self._path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            if signature == self._signature and now - self._read_at < READ_PERIOD_S:
                return
            self._keys = {record.prefix: record for record in _parse(_read_bytes(self._path))}
            self._signature, self._read_at = signature, now
        except (OSError, KeysUnavailable) as error:
            if self._keys is not None or self._signature is not None:
                _log.error("keys_unavailable", error=type(error).__name__)
            self._keys, self._signature = None, None
