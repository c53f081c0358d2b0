"""Owns what the history of GOV.UK's compose files means as submissions about dependencies.

Must not send anything, nor let a commit's meaning depend on the commits after it.

Compose services are members of projects. A project is an application; a member of `(root)` is a
piece of infrastructure. An application needs another while any member of the one needs any member
of the other. Compose says only *needs*: that an application is used through its API, and that
infrastructure hosts, is our reading (`uses-api`, `hosting`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from cli.importing.source_rows import (
    Name,
    RowContradictsHistoryError,
    SourceRow,
    Strict,
    read_lines,
)
from cli.importing.submission import MAX_REASON_LENGTH, Door, PlannedRow, Submission, door

SOURCE: Final = "govuk-docker"
APPLICATION_SOURCE: Final = "govuk-repos"
ROOT: Final = "(root)"
MISSING: Final = "(missing)"


class ComposeService(Strict):
    """One compose service as its file describes it."""

    service: Name
    project: Name
    depends_on: tuple[Name, ...]
    image: str | None


class ComposeChange(Strict):
    """Fields as (old, new); only an image may be absent, as None."""

    project: tuple[Name, Name] | None = None
    depends_on: tuple[tuple[Name, ...], tuple[Name, ...]] | None = None
    image: tuple[str | None, str | None] | None = None


class Added(SourceRow):
    """The compose files name the service, for the first time or again."""

    change: Literal["added"]
    row: ComposeService

    @model_validator(mode="after")
    def _key_is_the_service(self) -> Self:
        if self.key != self.row.service:
            raise ValueError("key and row.service differ")
        return self


class Changed(SourceRow):
    """The compose files say something else about the service."""

    change: Literal["changed"]
    fields: ComposeChange


class Removed(SourceRow):
    """The compose files name the service no longer."""

    change: Literal["removed"]


Row = Added | Changed | Removed
_FORM: Final[TypeAdapter[Row]] = TypeAdapter(Annotated[Row, Field(discriminator="change")])


def read_rows(path: Path, until: date | None = None) -> Iterator[Row]:
    """Yield the rows up to the end of the UTC day `until`.

    Raises: SourceLineError naming the file, the line and what is wrong with it.
    """
    return read_lines(path, _FORM, until)


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """One application needs something: the unit that is declared and withdrawn.

    `project` is the needed one's: of an application the application itself, of infrastructure
    `(root)`, and `(missing)` for a name that no compose file has.
    """

    origin: str
    project: str
    name: str

    @property
    def alias(self) -> str:
        """The dependency's subject: `govuk-docker:a->b`, or `a->(root)/redis` and the like.

        The place is written out because one name can be both: `nginx-proxy` was a project first,
        and moved into `(root)` later. Those are two dependencies, not one that came back.
        """
        applies = self.project == self.name
        return f"{SOURCE}:{self.origin}->{self.name if applies else f'{self.project}/{self.name}'}"

    def declaration(self) -> dict[str, Any]:
        """The data of `estate.dependency.declare.v1`."""
        match self.project:
            case "(root)":
                target = {"external": self.name, "kind": "infrastructure"}
                kind = "hosting"
            case "(missing)":
                target = {"external": self.name, "kind": "other"}
                kind = "uses-api"
            case _:
                target = {"service": f"{APPLICATION_SOURCE}:{self.name}"}
                kind = "uses-api"
        return {"from": f"{APPLICATION_SOURCE}:{self.origin}", "to": target, "kind": kind}


State = Mapping[str, ComposeService]
# What a compose service needs, and as part of which edge.
Links = Mapping[tuple[str, str], Edge]


def links(state: State) -> dict[tuple[str, str], Edge]:
    """Every `depends_on` that crosses from an application to something else.

    What a member of `(root)` needs is left out: infrastructure is no service of the registry that
    a dependency could come from. (The one such case needs another member of `(root)`.)
    """
    found: dict[tuple[str, str], Edge] = {}
    for service in state.values():
        for needed in service.depends_on:
            edge = _edge(service.project, needed, state.get(needed))
            if ROOT != service.project != edge.project:
                found[service.service, needed] = edge
    return found


def _edge(origin: str, needed: str, target: ComposeService | None) -> Edge:
    if target is None:
        return Edge(origin, MISSING, needed)
    name = needed if target.project == ROOT else target.project
    return Edge(origin, target.project, name)


@dataclass(frozen=True, slots=True)
class _Commit:
    """The compose files before and after one commit, whose rows are simultaneous."""

    rows: tuple[Row, ...]
    services_before: State
    services_after: State
    links_before: Links
    links_after: Links
    declared: frozenset[Edge]
    withdrawn: frozenset[Edge]


def plan(rows: Iterable[Row]) -> Iterator[PlannedRow]:
    """Yield what each row means, in order; a cut source gives the beginning of the same answer.

    Raises: RowContradictsHistoryError naming the row that does not fit those before it.
    """
    services: State = {}
    links_before: Links = {}
    doors: dict[str, Door] = {}
    for _, group in groupby(rows, key=lambda row: row.commit):
        commit = _commit(tuple(group), services, links_before)
        for edge in sorted(commit.declared):
            doors.setdefault(edge.origin, door(len(doors)))
        yield from _planned(commit, doors)
        services, links_before = commit.services_after, commit.links_after


def _commit(rows: tuple[Row, ...], before: State, links_before: Links) -> _Commit:
    after = dict(before)
    for row in rows:
        _apply(row, after)
    links_after = links(after)
    edges_before, edges_after = frozenset(links_before.values()), frozenset(links_after.values())
    return _Commit(
        rows=rows,
        services_before=before,
        services_after=after,
        links_before=links_before,
        links_after=links_after,
        declared=edges_after - edges_before,
        withdrawn=edges_before - edges_after,
    )


def _apply(row: Row, services: dict[str, ComposeService]) -> None:
    known = services.get(row.key)
    if (known is None) != isinstance(row, Added):
        state = "not there" if known is None else "there already"
        raise RowContradictsHistoryError(row, f"{row.change}, but {state}")
    match row:
        case Added():
            services[row.key] = row.row
        case Removed():
            del services[row.key]
        case Changed():
            services[row.key] = _changed(row, services[row.key])


def _changed(row: Changed, before: ComposeService) -> ComposeService:
    pairs: dict[str, Any] = row.fields.model_dump(exclude_unset=True)
    for name, (old, _) in pairs.items():
        if getattr(before, name) != old:
            raise RowContradictsHistoryError(row, f"{name} did not have the old value of the row")
    return before.model_copy(update={name: new for name, (_, new) in pairs.items()})


def _planned(commit: _Commit, doors: Mapping[str, Door]) -> Iterator[PlannedRow]:
    edges_by_seq = _attributed(commit)
    for row in commit.rows:
        # What ends comes first, so that a need which only moved is not held twice in between.
        edges = sorted(
            edges_by_seq.get(row.seq, ()), key=lambda edge: (edge in commit.declared, edge)
        )
        submissions = tuple(
            _submission(row, number, edge, commit, doors[edge.origin])
            for number, edge in enumerate(edges, start=1)
        )
        reason = None if submissions else _reason_without_event(row, commit)
        yield PlannedRow(row.seq, row.key, row.commit, row.date, submissions, reason)


def _submission(row: Row, number: int, edge: Edge, commit: _Commit, through: Door) -> Submission:
    declares = edge in commit.declared
    return Submission(
        source=SOURCE,
        id=f"{row.seq}/{number}",
        verb="dependency.declare" if declares else "dependency.withdraw",
        subject=edge.alias,
        effective_at=row.date,
        correlation_id=row.commit,
        data={
            **(edge.declaration() if declares else {}),
            "reason": row.subject[:MAX_REASON_LENGTH],
        },
        door=through,
    )


def _attributed(commit: _Commit) -> dict[int, list[Edge]]:
    """Give each edge that appears or disappears to the one row that explains it best.

    That is the first row of a compose service that gained or lost the edge; else the first row of
    a compose service that was needed, and moved to another project, came or went.
    """
    needing: dict[Edge, set[str]] = {}
    needed: dict[Edge, set[str]] = {}
    for having, lacking, edges in (
        (commit.links_after, commit.links_before, commit.declared),
        (commit.links_before, commit.links_after, commit.withdrawn),
    ):
        for (service, target), edge in having.items():
            if edge in edges and lacking.get((service, target)) != edge:
                needing.setdefault(edge, set()).add(service)
                needed.setdefault(edge, set()).add(target)
    attributed: dict[int, list[Edge]] = {}
    for edge in commit.declared | commit.withdrawn:
        row = _first_of(commit.rows, needing[edge]) or _first_of(commit.rows, needed[edge])
        if row is None:
            raise AssertionError(f"no row explains {edge.alias}")
        attributed.setdefault(row.seq, []).append(edge)
    return attributed


def _first_of(rows: Iterable[Row], services: set[str]) -> Row | None:
    return next((row for row in rows if row.key in services), None)


def _reason_without_event(row: Row, commit: _Commit) -> str:
    before = commit.services_before.get(row.key)
    after = commit.services_after.get(row.key)
    sides = [service for service in (before, after) if service is not None]
    if isinstance(row, Changed) and row.fields.model_fields_set == {"image"}:
        return "image only"
    if not any(service.depends_on for service in sides):
        return "no dependency in it"
    lost = _own(row.key, commit.links_before, commit.links_after)
    gained = _own(row.key, commit.links_after, commit.links_before)
    if not lost and not gained:
        infrastructure = any(service.project == ROOT for service in sides)
        return "needed by infrastructure" if infrastructure else "inside one project"
    return _covered(lost, gained, commit)


def _own(service: str, links_of: Links, other: Links) -> set[Edge]:
    return {
        edge for pair, edge in links_of.items() if pair[0] == service and other.get(pair) != edge
    }


def _covered(lost: set[Edge], gained: set[Edge], commit: _Commit) -> str:
    if gained & commit.declared:
        return "declared by another row of its commit"
    if lost & commit.withdrawn:
        return "withdrawn by another row of its commit"
    if lost == gained:
        return "another member of the same application"
    return "already declared" if gained else "still declared"
