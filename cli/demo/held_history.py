"""Owns which history an estate was filled with: a mark in its state folder, held against the next.

Must not judge an estate itself: ids of submissions are those of any file of the same form.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cli.demo.sources import Plan
from cli.failures import WrongUse
from cli.importing.submission import Submission
from cli.local_estate import write_private

_NAME: Final = "imported.json"
_ADVICE: Final = "Use another folder with --state DIR, or forget the local run with `make reset`."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Part(_Strict):
    """So many submissions, and the digest of their bytes."""

    submissions: Annotated[int, Field(ge=0)]
    sha256: str


class HeldHistory(_Strict):
    """What was begun to be imported, whether or not it came to its end."""

    source: str
    last_day: str
    parts: Mapping[str, _Part]

    @classmethod
    def of(cls, plan: Plan, source: Path) -> Self:
        """The mark of a plan."""
        parts = {name: _part(submissions) for name, submissions in _submissions(plan)}
        return cls(source=str(source), last_day=plan.last_day.isoformat(), parts=parts)

    def is_beginning_of(self, plan: Plan) -> bool:
        """Whether the plan is this history, or the same up to a later day."""
        planned = dict(_submissions(plan))
        return planned.keys() == self.parts.keys() and all(
            _part(planned[name][: part.submissions]) == part for name, part in self.parts.items()
        )


def require_same_history(state: Path, plan: Plan, source: Path) -> None:
    """Make sure that a plan goes on with what the state folder holds, if it holds anything.

    Raises: WrongUse saying what it holds.
    """
    path = state / _NAME
    try:
        held = HeldHistory.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValidationError) as error:
        raise WrongUse(f"{path} does not tell what {state} holds.", _ADVICE) from error
    if not held.is_beginning_of(plan):
        raise WrongUse(
            f"{state} holds another history than was asked for: that of {held.source} up to "
            f"{held.last_day}, not that of {source} up to {plan.last_day}.",
            _ADVICE,
        )


def note_history(state: Path, plan: Plan, source: Path) -> None:
    """Keep what is going to be imported, before any of it is sent."""
    text = HeldHistory.of(plan, source).model_dump_json(indent=2)
    write_private(state / _NAME, text + "\n")


def _submissions(plan: Plan) -> Iterator[tuple[str, list[Submission]]]:
    yield "organisations", list(plan.organisations)
    for source in (plan.repos, plan.docker):
        yield source.name, [one for row in source.rows for one in row.submissions]


def _part(submissions: Sequence[Submission]) -> _Part:
    digest = hashlib.sha256()
    for one in submissions:
        digest.update(orjson.dumps(one.to_cloudevent(), option=orjson.OPT_SORT_KEYS) + b"\n")
    return _Part(submissions=len(submissions), sha256=digest.hexdigest())
