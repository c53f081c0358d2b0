"""Owns the tests of the application list's import.

The expected states come from the file's own lines, read here by other code than the import's.
"""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Protocol

import pytest

from cli.importing.figures import figures
from cli.importing.govuk_repos import Row, home_organisation, plan, read_rows, teams
from cli.importing.source_rows import RowContradictsHistoryError
from cli.importing.submission import PlannedRow, Submission, door
from shared.contracts.names import CONTACT_PATTERN, is_alias, is_slug
from tests.support.picked_days import days

HISTORY = Path(__file__).parents[3] / "data" / "govuk-repos" / "repos-history.ndjson"
LINES: list[dict[str, Any]] = [json.loads(text) for text in HISTORY.read_bytes().splitlines()]
FIRST_DAY, LAST_DAY = (date.fromisoformat(LINES[place]["date"][:10]) for place in (0, -1))
SOME_DAYS = days(FIRST_DAY, LAST_DAY, 50, Random(50))  # noqa: S311 - the same days every time.


def bodies(planned: list[PlannedRow]) -> list[dict[str, Any]]:
    return [submission.to_cloudevent() for row in planned for submission in row.submissions]


def text_of(seq: int, key: str, change: str, **more: Any) -> str:
    when = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=seq)
    common = {
        "seq": seq,
        "date": when.isoformat().replace("+00:00", "Z"),
        "commit": f"{seq:010x}",
        "change": change,
        "key": key,
        "subject": "Merge",
    }
    return json.dumps({**common, **more})


def added(seq: int, key: str, row: dict[str, Any], **more: Any) -> str:
    return text_of(seq, key, "added", row=row, **more)


def changed(seq: int, key: str, **fields: list[Any]) -> str:
    return text_of(seq, key, "changed", fields=fields)


def removed(seq: int, key: str) -> str:
    return text_of(seq, key, "removed")


class PlanOf(Protocol):
    def __call__(self, *lines: str) -> list[PlannedRow]: ...


@pytest.fixture
def plan_of(tmp_path: Path) -> PlanOf:
    def write_and_plan(*lines: str) -> list[PlannedRow]:
        path = tmp_path / "history.ndjson"
        path.write_text("\n".join(lines), encoding="utf-8")
        return list(plan(read_rows(path)))

    return write_and_plan


def without_reason(submission: Submission) -> dict[str, Any]:
    return {name: value for name, value in submission.data.items() if name != "reason"}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(read_rows(HISTORY))


@pytest.fixture(scope="module")
def planned(rows: list[Row]) -> list[PlannedRow]:
    return list(plan(rows))


class Interpreter:
    """What a registry would hold after the submissions, refusing what it would refuse."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}

    def take(self, event: dict[str, Any]) -> None:
        data = dict(event["data"])
        data.pop("reason")
        verb = event["type"].removeprefix("estate.service.").removesuffix(".v1")
        if verb == "register":
            self._register(event["subject"], data)
            return
        service = self.services[event["subject"]]
        assert service["listed"] == (verb != "reinstate")
        getattr(self, f"_{verb}")(service, **data)

    def _register(self, subject: str, data: dict[str, Any]) -> None:
        assert subject not in self.services
        assert data["slug"] not in {service["slug"] for service in self.services.values()}
        self.services[subject] = {
            "listed": True,
            "slug": data["slug"],
            "phase": data.get("phase"),
            "description": data.get("description"),
            "attributes": dict(data["attributes"]["set"]),
            "roles": {},
        }

    def _delist(self, service: dict[str, Any]) -> None:
        service["listed"] = False

    def _reinstate(self, service: dict[str, Any]) -> None:
        service["listed"] = True

    def _change_phase(self, service: dict[str, Any], phase: str | None) -> None:
        assert service["phase"] != phase
        service["phase"] = phase

    def _change_details(self, service: dict[str, Any], **details: Any) -> None:
        assert details
        attributes = details.pop("attributes", None)
        if "description" in details:
            assert service["description"] != details["description"]
            service["description"] = details.pop("description")
        assert not details
        if attributes is not None:
            self._change_attributes(service["attributes"], **attributes)

    def _change_attributes(self, held: dict[str, Any], source: str, **parts: Any) -> None:
        assert source == "govuk-repos"
        assert parts
        for name in parts.pop("unset", []):
            del held[name]
        held.update(parts.pop("set", {}))
        assert not parts

    def _assign_role(
        self, service: dict[str, Any], role: str, holder: str, previous_holder: str | None
    ) -> None:
        assert service["roles"].get(role) == previous_holder != holder
        service["roles"][role] = holder

    def _vacate_role(self, service: dict[str, Any], role: str, holder: str) -> None:
        assert service["roles"].pop(role) == holder


def raw_states(until: date) -> dict[str, tuple[bool, dict[str, Any]]]:
    states: dict[str, tuple[bool, dict[str, Any]]] = {}
    for line in LINES:
        if line["date"][:10] > until.isoformat():
            break
        key = line["key"]
        match line["change"]:
            case "added":
                states[key] = True, dict(line["row"])
            case "removed":
                states[key] = False, states[key][1]
            case _:
                new = {name: pair[1] for name, pair in line["fields"].items()}
                states[key] = True, {**states[key][1], **new}
    return states


def as_service(listed: bool, raw: dict[str, Any]) -> dict[str, Any]:
    present = {name: value for name, value in raw.items() if value is not None}
    named = present.pop("github_repo_name", None) or present.get("repo_name")
    roles = {}
    if "team" in present:
        roles["owning-team"] = "govuk-teams:" + present.pop("team")
    if "product_manager" in present:
        roles["product-manager"] = "contact:" + present.pop("product_manager")
    return {
        "listed": listed,
        "phase": "retired" if present.pop("retired", False) else None,
        "description": present.pop("description", None),
        "roles": roles,
        "attributes": {**present, "repo_name": named},
    }


def replayed(planned: list[PlannedRow]) -> dict[str, dict[str, Any]]:
    registry = Interpreter()
    for body in bodies(planned):
        registry.take(json.loads(json.dumps(body)))
    return {
        subject.removeprefix("govuk-repos:"): {
            name: value for name, value in service.items() if name != "slug"
        }
        for subject, service in registry.services.items()
    }


@pytest.mark.parametrize("day", [*SOME_DAYS, FIRST_DAY, LAST_DAY], ids=str)
def test_replayed_submissions_hold_what_the_source_says_on_that_day(day: date) -> None:
    expected = {key: as_service(*state) for key, state in raw_states(day).items()}
    assert replayed(list(plan(read_rows(HISTORY, day)))) == expected


def test_replay_also_holds_after_every_row(planned: list[PlannedRow]) -> None:
    registry, raw = Interpreter(), dict[str, tuple[bool, dict[str, Any]]]()
    for row, line in zip(planned, LINES, strict=True):
        for submission in row.submissions:
            registry.take(submission.to_cloudevent())
        held = raw.get(row.key, (False, {}))[1]
        new = {name: pair[1] for name, pair in line.get("fields", {}).items()}
        said = line.get("row", {**held, **new})
        raw[row.key] = line["change"] != "removed", said
        service = dict(registry.services[f"govuk-repos:{row.key}"])
        del service["slug"]
        assert service == as_service(*raw[row.key]), row.seq


def test_whole_source_gives_the_known_figures(planned: list[PlannedRow]) -> None:
    assert Counter(line["change"] for line in LINES) == {
        "added": 349,
        "removed": 213,
        "changed": 2053,
    }
    counted = figures(planned)
    assert (counted.rows, counted.submissions) == (2615, 3060)
    assert counted.submissions_by_type == {
        "estate.service.assign_role.v1": 1337,
        "estate.service.change_details.v1": 941,
        "estate.service.change_phase.v1": 94,
        "estate.service.delist.v1": 213,
        "estate.service.register.v1": 340,
        "estate.service.reinstate.v1": 9,
        "estate.service.vacate_role.v1": 126,
    }
    # 132 rows rename the field: 2 of them change more. One row holds no change at all.
    assert counted.rows_without_event == {"field renamed": 130, "nothing changed": 1}


def test_a_row_has_either_submissions_or_a_reason(planned: list[PlannedRow]) -> None:
    assert all(bool(row.submissions) != bool(row.reason_without_event) for row in planned)


def test_rows_called_renamed_differ_in_nothing_else(planned: list[PlannedRow]) -> None:
    for row, line in zip(planned, LINES, strict=True):
        if row.reason_without_event == "field renamed":
            name = line["fields"]["repo_name"][1]
            assert line["fields"] == {"github_repo_name": [name, None], "repo_name": [None, name]}
        elif row.reason_without_event == "nothing changed":
            assert line["fields"] == {}


def test_every_change_says_its_commit_reason_and_time(planned: list[PlannedRow]) -> None:
    for row, line in zip(planned, LINES, strict=True):
        for number, submission in enumerate(row.submissions, start=1):
            event = submission.to_cloudevent()
            assert event["id"] == f"{line['seq']}/{number}"
            assert event["time"] == line["date"]
            assert event["correlationid"] == line["commit"]
            assert event["data"]["reason"] == line["subject"]


def test_references_have_the_form_that_the_registry_takes(
    rows: list[Row], planned: list[PlannedRow]
) -> None:
    known = {team.subject for team in teams(rows)}
    for event in bodies(planned):
        assert is_alias(event["subject"])
        for name in ("holder", "previous_holder"):
            holder = event["data"].get(name)
            assert holder is None or holder in known or CONTACT_PATTERN.fullmatch(holder)
        if event["type"] == "estate.service.register.v1":
            assert is_slug(event["data"]["slug"])


@pytest.mark.parametrize("day", [FIRST_DAY, *SOME_DAYS[:12]], ids=str)
def test_cut_source_gives_the_beginning_of_the_whole(
    day: date, rows: list[Row], planned: list[PlannedRow]
) -> None:
    cut = list(read_rows(HISTORY, day))
    assert list(plan(cut)) == planned[: len(cut)]
    assert home_organisation(cut) == home_organisation(rows)
    assert teams(cut) == teams(rows)[: len(teams(cut))]


def test_until_takes_the_whole_day_in_and_nothing_after() -> None:
    day = date(2017, 4, 3)
    cut = list(read_rows(HISTORY, day))
    assert len(cut) == sum(line["date"][:10] <= "2017-04-03" for line in LINES)
    assert cut[-1].date.date() == day


def test_no_rows_before_the_first_day() -> None:
    rows = list(read_rows(HISTORY, FIRST_DAY - timedelta(days=1)))
    assert (rows, home_organisation(rows), teams(rows)) == ([], (), ())


def test_teams_are_those_of_the_source_each_once(rows: list[Row]) -> None:
    named = [
        value
        for line in LINES
        for value in (line.get("row", {}).get("team"), *line.get("fields", {}).get("team", []))
        if value is not None
    ]
    submissions = teams(rows)
    assert [team.data["name"] for team in submissions] == list(dict.fromkeys(named))
    assert len(submissions) == 110
    for unique in (
        {team.id for team in submissions},
        {team.subject for team in submissions},
        {team.data["slug"] for team in submissions},
    ):
        assert len(unique) == 110
    assert all(is_slug(team.data["slug"]) and is_alias(team.subject) for team in submissions)


def test_teams_that_differ_in_writing_only_get_different_slugs(rows: list[Row]) -> None:
    slugs = {team.data["name"]: team.data["slug"] for team in teams(rows)}
    assert slugs["Publishing Platform"] == "publishing-platform"
    assert slugs["#publishing-platform"] == "publishing-platform-2"
    assert (slugs["Content Tools"], slugs["#content-tools"]) == ("content-tools", "content-tools-2")
    assert (slugs["Benchmarking"], slugs["#benchmarking"]) == ("benchmarking", "benchmarking-2")


def test_ids_are_unique_within_the_source(rows: list[Row], planned: list[PlannedRow]) -> None:
    organisations = (*home_organisation(rows), *teams(rows))
    ids = [body["id"] for body in bodies(planned)] + [one.id for one in organisations]
    assert len(ids) == len(set(ids)) == 3060 + 110 + 1


def test_applications_alternate_between_the_doors_and_stay(planned: list[PlannedRow]) -> None:
    doors: dict[str, set[str]] = {}
    for row in planned:
        doors.setdefault(row.key, set()).update(one.door for one in row.submissions)
    assert list(doors.values()) == [{door(index)} for index in range(340)]
    assert Counter(map(door, range(340))) == {"http": 170, "kafka": 170}


def test_application_listed_again_is_the_same_service_with_the_new_row(plan_of: PlanOf) -> None:
    *_, again = plan_of(
        added(1, "a", {"type": "x", "team": "T", "dashboard_url": False, "retired": True}),
        removed(2, "a"),
        added(3, "a", {"type": "y", "team": "U", "description": "D"}),
    )
    assert [(one.verb, without_reason(one)) for one in again.submissions] == [
        ("service.reinstate", {}),
        (
            "service.change_details",
            {
                "description": "D",
                "attributes": {
                    "source": "govuk-repos",
                    "set": {"type": "y"},
                    "unset": ["dashboard_url"],
                },
            },
        ),
        (
            "service.assign_role",
            {
                "role": "owning-team",
                "holder": "govuk-teams:U",
                "previous_holder": "govuk-teams:T",
            },
        ),
        ("service.change_phase", {"phase": None}),
    ]


def test_slugs_stay_unique_when_keys_differ_in_writing_only(plan_of: PlanOf) -> None:
    keys = ["a_b", "a-b", "a#b", "A.B"]
    planned = plan_of(*(added(seq, key, {}) for seq, key in enumerate(keys, start=1)))
    slugs = [row.submissions[0].data["slug"] for row in planned]
    assert slugs == ["a-b", "a-b-2", "a-b-3", "a-b-4"]


def test_a_key_that_is_a_word_of_the_filters_gets_another_slug(plan_of: PlanOf) -> None:
    (row,) = plan_of(added(1, "None", {}))
    assert row.submissions[0].data["slug"] == "none-2"


def test_a_team_does_not_take_the_slug_of_a_body_that_was_there_before(rows: list[Row]) -> None:
    home = home_organisation(rows)[0].data["slug"]
    slugs = {team.data["name"]: team.data["slug"] for team in teams(rows, ("benchmarking",))}
    assert (home in slugs.values(), slugs["Benchmarking"]) == (False, "benchmarking-2")


def test_long_subject_is_cut_to_500_characters(plan_of: PlanOf) -> None:
    (row,) = plan_of(added(1, "a", {}, subject="s" * 600))
    assert row.submissions[0].data["reason"] == "s" * 500


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([removed(1, "a")], r"row 1 \(a, commit 0000000001\): removed, but never added"),
        ([added(1, "a", {}), added(2, "a", {})], r"row 2 \(a, .*listed already"),
        ([added(1, "a", {}), removed(2, "a"), removed(3, "a")], "row 3 .*not listed"),
        ([added(1, "a", {}), changed(2, "a", team=["T", "U"])], "row 2 .*team did not"),
        ([added(1, "a", {"github_repo_name": "b", "repo_name": "c"})], "row 1 .* differ"),
    ],
    ids=["removed-unknown", "added-twice", "removed-twice", "other-old-value", "two-repo-names"],
)
def test_row_that_contradicts_those_before_is_named(
    lines: list[str], fault: str, plan_of: PlanOf
) -> None:
    with pytest.raises(RowContradictsHistoryError, match=fault):
        plan_of(*lines)
