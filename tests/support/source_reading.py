"""Owns a second reading of the demo's source files, from data/README.md and the files alone.

Must not import anything of what it is held against: cli, services, shared.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

REPOS: Final = Path("govuk-repos") / "repos-history.ndjson"
DOCKER: Final = Path("govuk-docker") / "dependencies-history.ndjson"
_OWN_WORDS: Final = ("team", "product_manager", "retired", "description")


def _rows(path: Path, until: date | None) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        row["date"] = datetime.fromisoformat(row["date"])
    return [row for row in rows if until is None or row["date"].date() <= until]


@dataclass(frozen=True)
class Application:
    """What the list says of an application; while it is not listed, what it said last."""

    listed: bool
    first_seen: datetime
    changed_at: datetime
    fields: Mapping[str, Any]
    since: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def team(self) -> str | None:
        return self.fields.get("team")

    @property
    def product_manager(self) -> str | None:
        return self.fields.get("product_manager")

    @property
    def description(self) -> str | None:
        return self.fields.get("description")

    @property
    def phase(self) -> str | None:
        return "retired" if self.fields.get("retired") else None

    @property
    def attributes(self) -> dict[str, Any]:
        """Every field that the registry has no word of its own for."""
        return {name: value for name, value in self.fields.items() if name not in _OWN_WORDS}


class HandOver(NamedTuple):
    """The commits that handed over most applications at once, and their commonest pairs."""

    services: int
    commits: frozenset[str]
    days: frozenset[date]
    main: Mapping[str, tuple[int, frozenset[tuple[str, str]]]]
    """Of each commit how often its commonest pairs of teams occur, and which they are."""


Step = tuple[dict[str, Any], str, Application | None, Application]


def _normalised(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Null is absent, and a repository's name has one name."""
    present = {name: value for name, value in fields.items() if value is not None}
    if "github_repo_name" in present:
        present["repo_name"] = present.pop("github_repo_name")
    return present


@dataclass(frozen=True)
class RepositoryList:
    """The history of the list of applications."""

    rows: list[dict[str, Any]]

    def at(self, day: date | None = None) -> dict[str, Application]:
        """Every application the list has ever named, at the end of a day."""
        return {key: after for _row, key, _before, after in self._steps(day)}

    def listed(self, day: date | None = None) -> dict[str, Application]:
        """The applications on the list at the end of a day."""
        return {key: one for key, one in self.at(day).items() if one.listed}

    def slugs(self) -> dict[str, str]:
        """Each application's name for addresses; of two that are alike the later is numbered."""
        given: dict[str, str] = {}
        for row in self.rows:
            if row["key"] not in given:
                plain = re.sub("[^a-z0-9]+", "-", row["key"].lower()).strip("-")
                number, slug = 1, plain
                while slug in given.values():
                    number += 1
                    slug = f"{plain}-{number}"
                given[row["key"]] = slug
        return given

    def teams(self, day: date | None = None) -> set[str]:
        """Every team that was named by the end of a day, before or after a change."""
        named: set[str | None] = set()
        for row, *_ in self._steps(day):
            named.add(row.get("row", {}).get("team"))
            named.update(row.get("fields", {}).get("team", ()))
        return {team for team in named if team is not None}

    def owners(self, day: date | None = None) -> Counter[str]:
        """How many listed applications each team owns."""
        return Counter(one.team for one in self.listed(day).values() if one.team is not None)

    def events_by_row(self) -> dict[int, int]:
        """How many facts each row holds."""
        return {row["seq"]: _facts(before, after) for row, _, before, after in self._steps(None)}

    def largest_hand_over(self, day: date | None = None) -> HandOver | None:
        """The most applications that one commit took from one team and gave to another."""
        pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        days = {}
        for row, _key, before, after in self._steps(day):
            if before and before.team and after.team and before.team != after.team:
                pairs[row["commit"]].append((before.team, after.team))
                days[row["commit"]] = row["date"].date()
        if not pairs:
            return None
        most = max(map(len, pairs.values()))
        commits = frozenset(commit for commit in pairs if len(pairs[commit]) == most)
        main = {commit: _commonest(pairs[commit]) for commit in commits}
        return HandOver(most, commits, frozenset(days[commit] for commit in commits), main)

    def _steps(self, day: date | None) -> Iterator[Step]:
        for step in self._all_steps:
            if day is not None and step[0]["date"].date() > day:
                return
            yield step

    @cached_property
    def _all_steps(self) -> list[Step]:
        """Each row, its key, and the application before and after it."""
        return list(self._stepped())

    def _stepped(self) -> Iterator[Step]:
        known: dict[str, Application] = {}
        raw: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            key, before = row["key"], known.get(row["key"])
            if row["change"] == "added":
                raw[key] = row["row"]
            for name, (_old, new) in row.get("fields", {}).items():
                raw[key] = raw[key] | {name: new}
            known[key] = _step(row, before, _normalised(raw[key]))
            yield row, key, before, known[key]


def _step(
    row: Mapping[str, Any], before: Application | None, fields: dict[str, Any]
) -> Application:
    listed, now = row["change"] != "removed", row["date"]
    if before is None:
        return Application(listed, now, now, fields, dict.fromkeys(fields, now))
    names = fields.keys() | before.fields.keys()
    changed = {name: now for name in names if fields.get(name) != before.fields.get(name)}
    is_other = bool(changed) or listed != before.listed
    return replace(
        before,
        listed=listed,
        changed_at=now if is_other else before.changed_at,
        fields=fields,
        since={**before.since, **changed},
    )


def _facts(before: Application | None, after: Application) -> int:
    """A registration holds all but the roles; else one for each of: listing, details, role, phase.

    Description and attributes are the details, which change together.
    """
    if before is None:
        return 1 + (after.team is not None) + (after.product_manager is not None)
    return (
        (before.listed != after.listed)
        + ((before.description, before.attributes) != (after.description, after.attributes))
        + (before.team != after.team)
        + (before.product_manager != after.product_manager)
        + (before.phase != after.phase)
    )


def _commonest(pairs: list[tuple[str, str]]) -> tuple[int, frozenset[tuple[str, str]]]:
    counted = Counter(pairs)
    most = max(counted.values())
    return most, frozenset(pair for pair in counted if counted[pair] == most)


class Edge(NamedTuple):
    """An application needs an application, a piece of infrastructure or a name nobody has."""

    origin: str
    place: str
    name: str


Node = tuple[str, str]
Compose = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ComposeFiles:
    """The history of the compose files."""

    rows: list[dict[str, Any]]

    def edges(self, day: date | None = None) -> set[Edge]:
        """What needs what at the end of a day."""
        services: Compose = {}
        for commit, _before, after in self._commits:
            if day is None or commit[0]["date"].date() <= day:
                services = after
        return set(_needs(services).values())

    def events_by_row(self) -> dict[int, int]:
        """How many edges came or went with each row, by the first row that explains it.

        That is one whose service has or had the edge; failing that, one whose service was needed.
        """
        counts = {row["seq"]: 0 for row in self.rows}
        for rows, services_before, services_after in self._commits:
            before, after = _needs(services_before), _needs(services_after)
            for edge in set(before.values()) ^ set(after.values()):
                having, lacking = (before, after) if edge in before.values() else (after, before)
                pairs = [
                    pair
                    for pair, one in having.items()
                    if one == edge and lacking.get(pair) != edge
                ]
                counts[_explaining(rows, pairs)] += 1
        return counts

    @cached_property
    def _commits(self) -> list[tuple[list[dict[str, Any]], Compose, Compose]]:
        """The rows of each commit, and the compose services before and after it."""
        return list(self._committed())

    def _committed(self) -> Iterator[tuple[list[dict[str, Any]], Compose, Compose]]:
        services: dict[str, Mapping[str, Any]] = {}
        for _commit, group in groupby(self.rows, key=lambda row: row["commit"]):
            rows, before = list(group), services
            services = dict(before)
            for row in rows:
                if row["change"] == "removed":
                    del services[row["key"]]
                else:
                    told = row.get("row") or {n: new for n, (_, new) in row["fields"].items()}
                    services[row["key"]] = {**services.get(row["key"], {}), **told}
            yield rows, before, services


def _needs(services: Compose) -> dict[tuple[str, str], Edge]:
    """What leads from one application to something else, by compose service and what it needs."""
    needs = {}
    for name, service in services.items():
        for needed in service["depends_on"]:
            edge = _edge(service["project"], needed, services)
            if service["project"] not in {"(root)", edge.name if edge.place == "app" else None}:
                needs[name, needed] = edge
    return needs


def _edge(origin: str, needed: str, services: Compose) -> Edge:
    if needed not in services:
        return Edge(origin, "other", needed)
    project = services[needed]["project"]
    if project == "(root)":
        return Edge(origin, "infrastructure", needed)
    return Edge(origin, "app", project)


def _explaining(rows: list[dict[str, Any]], pairs: list[tuple[str, str]]) -> int:
    for side in (0, 1):
        services = {pair[side] for pair in pairs}
        for row in rows:
            if row["key"] in services:
                return int(row["seq"])
    raise AssertionError(f"no row explains {pairs}")


@dataclass(frozen=True)
class Reading:
    """Both histories of a folder, up to the end of a day."""

    repos: RepositoryList
    docker: ComposeFiles

    def links(self, day: date | None = None) -> set[tuple[Node, Node]]:
        """Every edge at the end of a day, as the nodes at its ends."""
        known = self.repos.at(day).keys()
        return {
            (_node("app", edge.origin, known), _node(edge.place, edge.name, known))
            for edge in self.docker.edges(day)
        }

    def ends(self, day: date | None = None) -> Counter[str]:
        """How many ends there are of each form."""
        return Counter(form for form, _name in {end for link in self.links(day) for end in link})

    def dependents(self, *forms: str, day: date | None = None) -> Counter[str]:
        """How many depend on each end of these forms."""
        return Counter(name for _from, (form, name) in self.links(day) if form in forms)


def _node(place: str, name: str, known: Container[str]) -> Node:
    """Form and name of an end as the map shows it: an application is resolved once listed."""
    if place != "app":
        return place, name
    return ("service", name) if name in known else ("unresolved", f"govuk-repos:{name}")


def read_sources(folder: Path, until: date | None = None) -> Reading:
    """Read both files of a folder."""
    return Reading(
        RepositoryList(_rows(folder / REPOS, until)), ComposeFiles(_rows(folder / DOCKER, until))
    )
