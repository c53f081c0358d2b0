"""Owns what the history of GOV.UK's application list means as submissions to the registry.

Must not send anything, nor let a row's meaning depend on the rows after it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, TypeAdapter

from cli.importing.slugs import Slugs
from cli.importing.source_rows import (
    Name,
    RowContradictsHistoryError,
    SourceRow,
    Strict,
    read_lines,
)
from cli.importing.submission import MAX_REASON_LENGTH, Door, PlannedRow, Submission, door

SOURCE: Final = "govuk-repos"
TEAM_SOURCE: Final = "govuk-teams"
HOME_ORGANISATION: Final = "govuk:government-digital-service"
OWNING_TEAM: Final = "owning-team"
PRODUCT_MANAGER: Final = "product-manager"

# A masked person: an opaque token. Anything else might be a name, and is refused.
Person = Annotated[str, StringConstraints(pattern=r"^person-[0-9a-f]{6}$")]
RepoName = Annotated[str, StringConstraints(min_length=1)]
Intent = tuple[str, dict[str, Any]]


class Application(Strict):
    """One application as the list describes it; fields without a rule stay as they are."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    team: Name | None = None
    product_manager: Person | None = None
    retired: Literal[True] | None = None
    description: str | None = None
    github_repo_name: RepoName | None = None
    repo_name: RepoName | None = None


class ApplicationChange(Strict):
    """Fields as (old, new); None is absent."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, tuple[JsonValue, JsonValue]]

    team: tuple[Name | None, Name | None] = (None, None)
    product_manager: tuple[Person | None, Person | None] = (None, None)
    retired: tuple[Literal[True] | None, Literal[True] | None] = (None, None)
    description: tuple[str | None, str | None] = (None, None)
    github_repo_name: tuple[RepoName | None, RepoName | None] = (None, None)
    repo_name: tuple[RepoName | None, RepoName | None] = (None, None)


class Added(SourceRow):
    """The list names the application, for the first time or again."""

    change: Literal["added"]
    row: Application


class Changed(SourceRow):
    """The list says something else about the application."""

    change: Literal["changed"]
    fields: ApplicationChange


class Removed(SourceRow):
    """The list names the application no longer."""

    change: Literal["removed"]


Row = Added | Changed | Removed
_FORM: Final[TypeAdapter[Row]] = TypeAdapter(Annotated[Row, Field(discriminator="change")])


def read_rows(path: Path, until: date | None = None) -> Iterator[Row]:
    """Yield the rows up to the end of the UTC day `until`.

    Raises: SourceLineError naming the file, the line and what is wrong with it.
    """
    return read_lines(path, _FORM, until)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a row says, in the registry's terms."""

    owning_team: str | None
    product_manager: str | None
    phase: str | None
    description: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Known:
    """An application after the rows so far; it keeps its last row while it is not listed."""

    fields: Mapping[str, Any]
    facts: _Facts
    door: Door
    listed: bool


_NOTHING: Final = _Facts(None, None, None, None, {})
_HOME_SLUG: Final = "government-digital-service"


def team_alias(team: str) -> str:
    """The alias of a team's organisation."""
    return f"{TEAM_SOURCE}:{team}"


def home_organisation(rows: Iterable[Row]) -> tuple[Submission, ...]:
    """The body that all applications and teams belong to, since the first row; empty without one.

    `other`, for it is a part of a department, and the registry has no kind for that.
    """
    for row in rows:
        data = {
            "name": "Government Digital Service",
            "kind": "other",
            "slug": _HOME_SLUG,
        }
        return (_registration(row, f"organisation/{_HOME_SLUG}", HOME_ORGANISATION, data),)
    return ()


def teams(rows: Iterable[Row], taken_slugs: Iterable[str] = ()) -> tuple[Submission, ...]:
    """Every team that is named as an owner, since the first row that names it, in that order."""
    slugs = Slugs((_HOME_SLUG, *taken_slugs))
    named: dict[str, Submission] = {}
    for row in rows:
        for team in _teams_named(row):
            if team not in named:
                data = {
                    "name": team,
                    "kind": "team",
                    "slug": slugs.give(team),
                    "parent": HOME_ORGANISATION,
                }
                named[team] = _registration(row, f"team/{quote(team)}", team_alias(team), data)
    return tuple(named.values())


def _teams_named(row: Row) -> Iterator[str]:
    match row:
        case Added(row=application):
            candidates: tuple[str | None, ...] = (application.team,)
        case Changed(fields=fields):
            candidates = fields.team
        case Removed():
            candidates = ()
    yield from (team for team in candidates if team is not None)


def _registration(row: Row, submission_id: str, alias: str, data: dict[str, Any]) -> Submission:
    return Submission(
        source=SOURCE,
        id=submission_id,
        verb="organisation.register",
        subject=alias,
        effective_at=row.date,
        correlation_id=row.commit,
        data={**data, "reason": row.subject[:MAX_REASON_LENGTH]},
        door="http",
    )


def plan(rows: Iterable[Row]) -> Iterator[PlannedRow]:
    """Yield what each row means, in order; a cut source gives the beginning of the same answer.

    The organisations of `home_organisation` and `teams` are taken to be registered before.

    Raises: RowContradictsHistoryError naming the row that does not fit those before it.
    """
    applications: dict[str, _Known] = {}
    slugs = Slugs()
    for row in rows:
        before = applications.get(row.key)
        if before is None:
            after, intents = _first_listing(row, slugs, door(len(applications)))
        else:
            after, intents = _next_row(row, before)
        applications[row.key] = after
        yield _planned(row, intents, after.door)


def _planned(row: Row, intents: Iterable[Intent], through: Door) -> PlannedRow:
    submissions = tuple(
        Submission(
            source=SOURCE,
            id=f"{row.seq}/{number}",
            verb=f"service.{verb}",
            subject=f"{SOURCE}:{row.key}",
            effective_at=row.date,
            correlation_id=row.commit,
            data={**data, "reason": row.subject[:MAX_REASON_LENGTH]},
            door=through,
        )
        for number, (verb, data) in enumerate(intents, start=1)
    )
    reason = None if submissions else _reason_without_event(row)
    return PlannedRow(row.seq, row.key, row.commit, row.date, submissions, reason)


def _reason_without_event(row: Row) -> str:
    """The two names of the repository's field are one to us; a row may also hold no field at all.

    The latter is a null that was written out before, such as `team:` with nothing behind it.
    """
    renamed = isinstance(row, Changed) and "repo_name" in row.fields.model_fields_set
    return "field renamed" if renamed else "nothing changed"


def _first_listing(row: Row, slugs: Slugs, through: Door) -> tuple[_Known, list[Intent]]:
    if not isinstance(row, Added):
        raise RowContradictsHistoryError(row, f"{row.change}, but never added")
    fields = row.row.model_dump(exclude_unset=True)
    facts = _facts(row, fields)
    optional = {"phase": facts.phase, "description": facts.description}
    registration: dict[str, Any] = {
        "name": row.key,
        "kind": "component",
        "organisation": HOME_ORGANISATION,
        "slug": slugs.give(row.key),
        **{name: value for name, value in optional.items() if value is not None},
        "attributes": {"source": SOURCE, "set": dict(facts.attributes)},
    }
    intents = [("register", registration), *_roles(_NOTHING, facts)]
    return _Known(fields, facts, through, listed=True), intents


def _next_row(row: Row, before: _Known) -> tuple[_Known, list[Intent]]:
    if before.listed == isinstance(row, Added):
        state = "listed already" if before.listed else "not listed"
        raise RowContradictsHistoryError(row, f"{row.change}, but {state}")
    match row:
        case Removed():
            return _Known(before.fields, before.facts, before.door, listed=False), [("delist", {})]
        case Added():
            fields = row.row.model_dump(exclude_unset=True)
            opening: list[Intent] = [("reinstate", {})]
        case Changed():
            fields = _changed_fields(row, before.fields)
            opening = []
    facts = _facts(row, fields)
    after = _Known(fields, facts, before.door, listed=True)
    return after, [*opening, *_changes(before.facts, facts)]


def _changed_fields(row: Changed, before: Mapping[str, Any]) -> dict[str, Any]:
    after = dict(before)
    for name, (old, new) in row.fields.model_dump(exclude_unset=True).items():
        if before.get(name) != old:
            raise RowContradictsHistoryError(row, f"{name} did not have the old value of the row")
        after[name] = new
    return after


def _facts(row: Row, fields: Mapping[str, Any]) -> _Facts:
    attributes = {name: value for name, value in fields.items() if value is not None}
    names = [attributes.pop(name, None) for name in ("github_repo_name", "repo_name")]
    repo_names = {name for name in names if name is not None}
    if len(repo_names) > 1:
        raise RowContradictsHistoryError(row, "github_repo_name and repo_name differ")
    if repo_names:
        attributes["repo_name"] = repo_names.pop()
    return _Facts(
        owning_team=attributes.pop("team", None),
        product_manager=attributes.pop("product_manager", None),
        phase="retired" if attributes.pop("retired", None) else None,
        description=attributes.pop("description", None),
        attributes=dict(sorted(attributes.items())),
    )


def _changes(before: _Facts, after: _Facts) -> Iterator[Intent]:
    details = _details(before, after)
    if details:
        yield "change_details", details
    yield from _roles(before, after)
    if before.phase != after.phase:
        yield "change_phase", {"phase": after.phase}


def _details(before: _Facts, after: _Facts) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if before.description != after.description:
        details["description"] = after.description
    changed = {
        name: value
        for name, value in after.attributes.items()
        if name not in before.attributes or before.attributes[name] != value
    }
    unset = [name for name in before.attributes if name not in after.attributes]
    if changed or unset:
        parts = {"set": changed, "unset": unset}
        used = {name: part for name, part in parts.items() if part}
        details["attributes"] = {"source": SOURCE, **used}
    return details


def _roles(before: _Facts, after: _Facts) -> Iterator[Intent]:
    yield from _role(OWNING_TEAM, TEAM_SOURCE, before.owning_team, after.owning_team)
    yield from _role(PRODUCT_MANAGER, "contact", before.product_manager, after.product_manager)


def _role(role: str, prefix: str, before: str | None, after: str | None) -> Iterator[Intent]:
    previous = None if before is None else f"{prefix}:{before}"
    if after is not None and after != before:
        holder = f"{prefix}:{after}"
        yield "assign_role", {"role": role, "holder": holder, "previous_holder": previous}
    elif after is None and previous is not None:
        yield "vacate_role", {"role": role, "holder": previous}
