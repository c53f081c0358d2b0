"""Owns the tests of the compose files' import.

The expected edges come from the file's own lines, read here by other code than the import's.
"""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest

from cli.importing.figures import figures
from cli.importing.govuk_docker import Row, plan, read_rows
from cli.importing.source_rows import RowContradictsHistoryError, SourceLineError
from cli.importing.submission import PlannedRow
from shared.contracts.names import is_alias
from tests.support.picked_days import days

HISTORY = Path(__file__).parents[3] / "data" / "govuk-docker" / "dependencies-history.ndjson"
LINES: list[dict[str, Any]] = [json.loads(text) for text in HISTORY.read_bytes().splitlines()]
FIRST_DAY, LAST_DAY = (date.fromisoformat(LINES[place]["date"][:10]) for place in (0, -1))
SOME_DAYS = days(FIRST_DAY, LAST_DAY, 50, Random(50))  # noqa: S311 - the same days every time.
Edges = set[tuple[str, str, str]]


def take(services: dict[str, dict[str, Any]], line: dict[str, Any]) -> None:
    match line["change"]:
        case "added":
            services[line["key"]] = dict(line["row"])
        case "removed":
            del services[line["key"]]
        case _:
            services[line["key"]].update({name: new for name, (_, new) in line["fields"].items()})


def raw_edges(services: dict[str, dict[str, Any]]) -> Edges:
    edges: Edges = set()
    for service in services.values():
        origin = service["project"]
        for needed in service["depends_on"] if origin != "(root)" else ():
            project = services[needed]["project"] if needed in services else None
            if project is None:
                edges.add((origin, "other", needed))
            elif project == "(root)":
                edges.add((origin, "infrastructure", needed))
            elif project != origin:
                edges.add((origin, "service", project))
    return edges


class Interpreter:
    """The dependencies that a service would hold after the submissions."""

    def __init__(self) -> None:
        self.current: dict[str, tuple[str, str, str]] = {}
        self.first_meaning: dict[str, tuple[str, str, str]] = {}

    def take(self, event: dict[str, Any]) -> None:
        subject, data = event["subject"], event["data"]
        if event["type"] == "estate.dependency.withdraw.v1":
            assert set(data) == {"reason"}
            del self.current[subject]
            return
        assert event["type"] == "estate.dependency.declare.v1"
        assert subject not in self.current
        meaning = self._meaning(data)
        assert self.first_meaning.setdefault(subject, meaning) == meaning
        self.current[subject] = meaning

    @staticmethod
    def _meaning(data: dict[str, Any]) -> tuple[str, str, str]:
        origin = data["from"].removeprefix("govuk-repos:")
        match data["to"]:
            case {"service": target}:
                assert data["kind"] == "uses-api"
                return origin, "service", target.removeprefix("govuk-repos:")
            case {"external": name, "kind": kind}:
                assert data["kind"] == ("hosting" if kind == "infrastructure" else "uses-api")
                return origin, kind, name
        raise AssertionError(data)

    @property
    def edges(self) -> Edges:
        assert len(set(self.current.values())) == len(self.current)
        return set(self.current.values())


@pytest.fixture(scope="module")
def planned() -> list[PlannedRow]:
    return list(plan(read_rows(HISTORY)))


class PlanOf(Protocol):
    def __call__(self, *lines: dict[str, Any]) -> list[PlannedRow]: ...


@pytest.fixture
def plan_of(tmp_path: Path) -> PlanOf:
    def write_and_plan(*lines: dict[str, Any]) -> list[PlannedRow]:
        path = tmp_path / "history.ndjson"
        numbered = [{"seq": seq, **line} for seq, line in enumerate(lines, start=1)]
        path.write_text("\n".join(map(json.dumps, numbered)), encoding="utf-8")
        return list(plan(read_rows(path)))

    return write_and_plan


def line(commit: int, key: str, change: str, **more: Any) -> dict[str, Any]:
    when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=commit)
    common = {"date": when.isoformat().replace("+00:00", "Z"), "commit": f"{commit:010x}"}
    return {**common, "change": change, "key": key, "subject": "Merge", **more}


def added(commit: int, key: str, project: str, *needed: str) -> dict[str, Any]:
    row = {"service": key, "project": project, "depends_on": list(needed), "image": "i"}
    return line(commit, key, "added", row=row)


def changed(commit: int, key: str, **fields: list[Any]) -> dict[str, Any]:
    return line(commit, key, "changed", fields=fields)


def brief(planned: list[PlannedRow]) -> list[Any]:
    """Per row its submissions as signed subjects, or else its reason."""
    signs = {"dependency.declare": "+", "dependency.withdraw": "-"}
    return [
        row.reason_without_event
        or [signs[one.verb] + one.subject.removeprefix("govuk-docker:") for one in row.submissions]
        for row in planned
    ]


@pytest.mark.parametrize("day", [*SOME_DAYS, FIRST_DAY, LAST_DAY], ids=str)
def test_replayed_submissions_hold_the_edges_of_that_day(day: date) -> None:
    services: dict[str, dict[str, Any]] = {}
    for one in LINES:
        if one["date"][:10] <= day.isoformat():
            take(services, one)
    interpreter = Interpreter()
    for row in plan(read_rows(HISTORY, day)):
        for submission in row.submissions:
            interpreter.take(submission.to_cloudevent())
    assert interpreter.edges == raw_edges(services)


def test_replay_also_holds_after_every_commit(planned: list[PlannedRow]) -> None:
    services: dict[str, dict[str, Any]] = {}
    interpreter = Interpreter()
    pairs = zip(planned, LINES, strict=True)
    for commit, group in groupby(pairs, key=lambda pair: pair[0].commit):
        for row, one in group:
            take(services, one)
            for submission in row.submissions:
                interpreter.take(submission.to_cloudevent())
        assert interpreter.edges == raw_edges(services), commit


def test_whole_source_gives_the_known_figures(planned: list[PlannedRow]) -> None:
    counted = figures(planned)
    assert counted.rows == 1025
    assert counted.submissions == 648
    assert counted.submissions_by_type == {
        "estate.dependency.declare.v1": 398,
        "estate.dependency.withdraw.v1": 250,
    }
    assert counted.rows_without_event == {
        "already declared": 98,
        "another member of the same application": 89,
        "declared by another row of its commit": 167,
        "image only": 9,
        "inside one project": 25,
        "needed by infrastructure": 1,
        "no dependency in it": 163,
        "still declared": 71,
        "withdrawn by another row of its commit": 72,
    }


def test_whole_source_ends_in_the_known_edges(planned: list[PlannedRow]) -> None:
    interpreter = Interpreter()
    for row in planned:
        for submission in row.submissions:
            interpreter.take(submission.to_cloudevent())
    kinds = Counter(kind for _, kind, _ in interpreter.edges)
    assert kinds == {"service": 62, "infrastructure": 86}


def test_a_row_has_either_submissions_or_a_reason(planned: list[PlannedRow]) -> None:
    assert all(bool(row.submissions) != bool(row.reason_without_event) for row in planned)


def test_subjects_are_printable_and_ids_unique(planned: list[PlannedRow]) -> None:
    submissions = [one for row in planned for one in row.submissions]
    assert len({one.id for one in submissions}) == len(submissions)
    assert all(is_alias(one.subject) and one.subject.isascii() for one in submissions)


@pytest.mark.parametrize("day", [FIRST_DAY, *SOME_DAYS[:12]], ids=str)
def test_cut_source_gives_the_beginning_of_the_whole(day: date, planned: list[PlannedRow]) -> None:
    cut: list[Row] = list(read_rows(HISTORY, day))
    assert list(plan(cut)) == planned[: len(cut)]


def test_all_of_an_application_goes_through_one_door(planned: list[PlannedRow]) -> None:
    doors: dict[str, set[str]] = {}
    for row in planned:
        for one in row.submissions:
            origin = one.subject.removeprefix("govuk-docker:").split("->")[0]
            doors.setdefault(origin, set()).add(one.door)
    assert all(len(used) == 1 for used in doors.values())
    counted = Counter(door for used in doors.values() for door in used)
    assert abs(counted["http"] - counted["kafka"]) <= 1


def test_target_that_comes_later_in_the_commit_is_known(plan_of: PlanOf) -> None:
    planned = plan_of(added(1, "a-app", "a", "z-app"), added(1, "z-app", "z"))
    assert brief(planned) == [["+a->z"], "no dependency in it"]


def test_target_that_no_file_has_is_kept_by_name_until_it_comes(plan_of: PlanOf) -> None:
    planned = plan_of(added(1, "a-app", "a", "z-app"), added(2, "z-app", "z"))
    assert brief(planned) == [["+a->(missing)/z-app"], ["-a->(missing)/z-app", "+a->z"]]
    assert planned[0].submissions[0].data["to"] == {"external": "z-app", "kind": "other"}


def test_edge_lasts_from_its_first_member_to_its_last(plan_of: PlanOf) -> None:
    planned = plan_of(
        added(1, "db", "(root)"),
        added(2, "a-app", "a", "db"),
        added(3, "a-worker", "a", "db"),
        line(4, "a-app", "removed"),
        changed(5, "a-worker", depends_on=[["db"], []]),
        changed(6, "a-worker", depends_on=[[], ["db"]]),
    )
    assert brief(planned) == [
        "no dependency in it",
        ["+a->(root)/db"],
        "already declared",
        "still declared",
        ["-a->(root)/db"],
        ["+a->(root)/db"],
    ]


def test_edges_move_with_the_project_of_what_is_needed(plan_of: PlanOf) -> None:
    planned = plan_of(
        added(1, "proxy", "proxy"),
        added(2, "a-app", "a", "proxy"),
        changed(3, "proxy", project=["proxy", "(root)"]),
    )
    assert brief(planned)[1:] == [["+a->proxy"], ["-a->proxy", "+a->(root)/proxy"]]


def test_edges_move_with_the_project_of_what_needs(plan_of: PlanOf) -> None:
    planned = plan_of(
        added(1, "db", "(root)"),
        added(2, "a-lite", "a", "db"),
        changed(3, "a-lite", project=["a", "b"]),
    )
    assert brief(planned)[2] == ["-a->(root)/db", "+b->(root)/db"]


def test_event_goes_to_the_row_that_gained_it_not_to_a_bystander(plan_of: PlanOf) -> None:
    planned = plan_of(
        added(1, "db", "(root)"),
        added(1, "a-app", "a"),
        added(1, "a-worker", "a"),
        changed(2, "a-app", image=["i", "j"]),
        changed(2, "a-worker", depends_on=[[], ["db"]]),
    )
    assert brief(planned)[3:] == ["image only", ["+a->(root)/db"]]


def test_rows_without_event_say_why(plan_of: PlanOf) -> None:
    planned = plan_of(
        added(1, "es", "(root)", "es-init"),
        added(1, "es-init", "(root)"),
        added(1, "b-app", "b"),
        added(1, "b-lite", "b"),
        added(2, "a-app", "a", "a-lite"),
        added(2, "a-lite", "a", "b-app"),
        added(2, "a-worker", "a", "b-app"),
        changed(3, "a-lite", depends_on=[["b-app"], ["b-lite"]]),
        line(4, "a-app", "removed"),
        line(5, "a-lite", "removed"),
        line(5, "a-worker", "removed"),
    )
    assert brief(planned) == [
        "needed by infrastructure",
        *["no dependency in it"] * 3,
        "inside one project",
        ["+a->b"],
        "declared by another row of its commit",
        "another member of the same application",
        "inside one project",
        ["-a->b"],
        "withdrawn by another row of its commit",
    ]


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (added(2, "a", "p"), r"row 2 \(a, commit 0000000002\): added, but there already"),
        (line(2, "b", "removed"), "row 2 .*removed, but not there"),
        (changed(2, "a", depends_on=[["db"], []]), "row 2 .*depends_on did not"),
    ],
    ids=["added-twice", "removed-unknown", "other-old-value"],
)
def test_row_that_contradicts_those_before_is_named(
    second: dict[str, Any], fault: str, plan_of: PlanOf
) -> None:
    with pytest.raises(RowContradictsHistoryError, match=fault):
        plan_of(added(1, "a", "p"), second)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({**added(1, "a", "p"), "key": "b"}, "key and row.service differ"),
        (changed(1, "a", ports=[[], ["80"]]), "ports: Extra inputs"),
        (changed(1, "a", depends_on=[[], [7]]), "depends_on.1.0"),
    ],
)
def test_line_of_the_wrong_form_is_named(bad: dict[str, Any], fault: str, plan_of: PlanOf) -> None:
    with pytest.raises(SourceLineError, match=f"history.ndjson, line 1: .*{fault}"):
        plan_of(bad)
