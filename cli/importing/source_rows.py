"""Owns reading a history file: one JSON object a line, in order, each line checked by itself.

Must not know what a row's fields mean; each source states the form of its own.
"""

from collections.abc import Iterator
from datetime import UTC, date
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PositiveInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,180}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{10}$")]
MAX_FAULTS_SHOWN: Final = 3


class SourceLineError(Exception):
    """A line of a source file does not have the form of its source."""

    def __init__(self, path: Path, line: int, fault: str) -> None:
        super().__init__(f"{path.name}, line {line}: {fault}")


class RowContradictsHistoryError(Exception):
    """A row is of the right form, but does not fit the rows before it."""

    def __init__(self, row: "SourceRow", fault: str) -> None:
        super().__init__(f"row {row.seq} ({row.key}, commit {row.commit}): {fault}")


class Strict(BaseModel):
    """The base of everything read from a source: unknown or ill-typed fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class SourceRow(Strict):
    """What every row has; `possible_rename_*` are hints of the extraction and decide nothing."""

    seq: PositiveInt
    date: AwareDatetime
    commit: Commit
    key: Name
    subject: str
    possible_rename_from: Name | None = None
    possible_rename_to: Name | None = None


RowT = TypeVar("RowT", bound=SourceRow)


def read_lines(path: Path, form: TypeAdapter[RowT], until: date | None) -> Iterator[RowT]:
    """Yield the rows of a history file up to the end of the UTC day `until`, line by line.

    Commits are never cut, for the rows of a commit share its time.

    Raises: SourceLineError naming the file, the line and what is wrong with it.
    """
    previous: RowT | None = None
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            row = _parse(path, number, line, form)
            _check_order(path, number, row, previous)
            if until is not None and row.date.astimezone(UTC).date() > until:
                return
            yield row
            previous = row


def _parse(path: Path, number: int, line: bytes, form: TypeAdapter[RowT]) -> RowT:
    try:
        return form.validate_json(line)
    except ValidationError as error:
        # Values are left out: a refused one may be a person's name that nobody masked.
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        shown = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'line'}: {fault['msg']}"
            for fault in faults[:MAX_FAULTS_SHOWN]
        )
        raise SourceLineError(path, number, shown) from None


def _check_order(path: Path, number: int, row: RowT, previous: RowT | None) -> None:
    def refuse(fault: str) -> NoReturn:
        raise SourceLineError(path, number, fault)

    if row.seq != number:
        refuse(f"seq is {row.seq}, not the number of the line")
    if previous is None:
        return
    if row.date < previous.date:
        refuse("date is before the date of the line above")
    if row.commit == previous.commit and row.date != previous.date:
        refuse("date differs from the line above, which is of the same commit")
