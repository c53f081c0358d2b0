"""Owns reading settings: from variables and secrets files, every fault named at once.

Must not look at the environment by itself, a config.py hands it in; nor tell a value.
"""

import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

SECRETS_DIR: Final = Path("/run/secrets")
WRONG_USE: Final = 2
_NOT_UTF_8: Final = "is not UTF-8"


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for the value of a file that is there and cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Given:
    """What was given for a variable, and the name by which a fault of it is told."""

    name: str
    value: str | _Unreadable | None


class Settings(BaseModel):
    """Settings that are read together; the names of their variables begin with `prefix`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    prefix: ClassVar[str] = ""

    @classmethod
    def variable(cls, field: str) -> str:
        """The variable by which a field is set."""
        return f"{cls.prefix}{field}".upper()

    @field_validator("*", mode="before")
    @classmethod
    def _must_be_readable(cls, value: object) -> object:
        if isinstance(value, _Unreadable):
            raise ValueError(value.reason)  # noqa: TRY004 - pydantic reports a ValueError.
        return value


class WrongSettingsError(Exception):
    """Settings are missing or wrong; `faults` names each by its variable, and its file if any."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


A = TypeVar("A", bound=Settings)
B = TypeVar("B", bound=Settings)


@overload
def read(
    environ: Mapping[str, str], one: type[A], /, *, secrets: Path = SECRETS_DIR
) -> tuple[A]: ...
@overload
def read(
    environ: Mapping[str, str], one: type[A], other: type[B], /, *, secrets: Path = SECRETS_DIR
) -> tuple[A, B]: ...
def read(
    environ: Mapping[str, str], /, *models: type[Any], secrets: Path = SECRETS_DIR
) -> tuple[Any, ...]:
    """Read these settings: a variable, else the file of its name in small letters in `secrets`.

    What is empty counts as not given.

    Raises: WrongSettingsError.
    """
    made, faults = [], []
    for model in models:
        found = {
            field: _given(model.variable(field), environ, secrets) for field in model.model_fields
        }
        given = {field: one.value for field, one in found.items() if one.value}
        try:
            made.append(model.model_validate(given))
        except ValidationError as error:
            faults += [f"{found[field].name}: {fault}" for field, fault in _faults(error)]
    if faults:
        raise WrongSettingsError(faults)
    return tuple(made)


def _given(variable: str, environ: Mapping[str, str], secrets: Path) -> _Given:
    if value := environ.get(variable):
        return _Given(variable, value if _is_unicode(value) else _Unreadable(_NOT_UTF_8))
    path = secrets / variable.lower()
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _Given(variable, None)
    except OSError:
        pass
    return _Given(f"{variable} in {path}", _held(path))


def _is_unicode(text: str) -> bool:
    """Whether a variable was UTF-8: other bytes are handed over as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _held(path: Path) -> str | _Unreadable:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return _Unreadable("is not a file")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        return _Unreadable(f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _Unreadable(_NOT_UTF_8)


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [(str(one["loc"][0]), one["msg"].removeprefix("Value error, ")) for one in found]


def refuse(faults: Sequence[str]) -> NoReturn:
    """End the process: its configuration is wrong."""
    lines = ["The configuration is wrong:", *(f"  {fault}" for fault in faults)]
    sys.stderr.write("\n".join([*lines, "See docs/configuration.md.", ""]))
    raise SystemExit(WRONG_USE)
