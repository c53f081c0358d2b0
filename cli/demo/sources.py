"""Owns which source files the demo reads and what each is planned to become.

Must not send anything.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from cli.importing import govuk_docker, govuk_repos
from cli.importing.submission import Door, PlannedRow, Submission

DEFAULT_SOURCE: Final = Path(__file__).parents[2] / "data"
OTHER_SLUG: Final = "hm-land-registry"
"""Of the one organisation of the demo that is in neither history."""
REPOS_FILE: Final = Path("govuk-repos") / "repos-history.ndjson"
DOCKER_FILE: Final = Path("govuk-docker") / "dependencies-history.ndjson"


@dataclass(frozen=True, slots=True)
class Source:
    """One history: the service it goes to, and what each of its rows means."""

    name: str
    service: str
    rows: Sequence[PlannedRow]

    def through(self, door: Door) -> list[Submission]:
        """The submissions of one door, in file order."""
        return [one for row in self.rows for one in row.submissions if one.door == door]

    @property
    def submissions(self) -> int:
        """How many submissions the rows lead to."""
        return sum(len(row.submissions) for row in self.rows)

    @property
    def reasons(self) -> dict[str, int]:
        """Rows without an event, by reason."""
        counted = Counter(row.reason_without_event for row in self.rows)
        return {reason: counted[reason] for reason in sorted(filter(None, counted))}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that an import is going to do."""

    organisations: Sequence[Submission]
    repos: Source
    docker: Source

    @property
    def last_day(self) -> date:
        """The day of the last change in the sources."""
        days = [row.date.date() for source in (self.repos, self.docker) for row in source.rows]
        return max(days)


def read_plan(folder: Path, until: date | None) -> Plan:
    """Read both histories up to the end of a day.

    Raises: SourceLineError, RowContradictsHistoryError, OSError.
    """
    repo_rows = tuple(govuk_repos.read_rows(folder / REPOS_FILE, until))
    docker_rows = tuple(govuk_docker.read_rows(folder / DOCKER_FILE, until))
    teams = govuk_repos.teams(repo_rows, (OTHER_SLUG,))
    organisations = (*govuk_repos.home_organisation(repo_rows), *teams)
    return Plan(
        organisations,
        Source("govuk-repos", "registry", tuple(govuk_repos.plan(repo_rows))),
        Source("govuk-docker", "dependencies", tuple(govuk_docker.plan(docker_rows))),
    )
