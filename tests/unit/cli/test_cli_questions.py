"""Checks the questions people ask: tables, JSON, moments, and what is said when one fails."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from shared.contracts.events.organisations import OrganisationKind
from shared.contracts.events.services import Phase, ServiceKind
from tests.unit.cli.conftest import Run
from tests.unit.cli.stand_in import CHANGES, SERVICES, TEAM, StandIn


def test_services_are_a_table_over_all_pages(run: Run) -> None:
    result = run("services")
    assert result.exit_code == 0, result.output
    for service in SERVICES:
        assert service["slug"] in result.stdout
    assert "Publishing team" in result.stdout
    assert "5 services · read at registry:7" in result.stdout


def test_services_in_json_are_one_list_with_ids(run: Run) -> None:
    answer = json.loads(run("services", "--json").stdout)
    assert answer["items"] == SERVICES
    assert answer["next"] is None
    assert answer["positions"] == "registry:7"


def test_limit_is_kept_across_pages(run: Run, stand_in: StandIn) -> None:
    answer = json.loads(run("services", "--limit", "3", "--json").stdout)
    assert [one["slug"] for one in answer["items"]] == [one["slug"] for one in SERVICES[:3]]
    assert [query["limit"] for query in stand_in.queries] == ["3", "1"]
    assert "3 services, and there are more" in run("services", "--limit", "3").stdout


def test_filters_and_moment_reach_the_service_on_every_page(run: Run, stand_in: StandIn) -> None:
    chosen = ("--owner", "none", "--phase", "unknown", "--search", "a b", "--delisted")
    run("services", *chosen, "--as-of", "2024-01-31", "--known-at", "registry:5")
    assert len(stand_in.queries) == 3
    for query in stand_in.queries:
        assert query["owner"] == "none"
        assert query["q"] == "a b"
        assert (query["phase"], query["listed"]) == ("unknown", "false")
        assert (query["as_of"], query["known_at"]) == ("2024-01-31", "registry:5")


def test_unowned_asks_for_no_owner(run: Run, stand_in: StandIn) -> None:
    assert run("unowned").exit_code == 0
    assert stand_in.queries[0]["owner"] == "none"


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal_and_cut_nothing_off(run: Run, columns: int) -> None:
    for command in (("services",), ("history", "whitehall"), ("organisations",), ("status",)):
        lines = run(*command, columns=columns).stdout.splitlines()
        assert max(len(line) for line in lines) <= columns
        assert "…" not in "".join(lines)
    assert "collections-publisher" in run("services", columns=columns).stdout


def test_hostile_text_cannot_steer_the_terminal(run: Run) -> None:
    table, document = run("services").stdout, run("services", "--json").stdout
    for hostile in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert hostile not in table
        assert hostile not in document
    assert "[red]" in table
    assert json.loads(document)["items"][2]["name"] == SERVICES[2]["name"]


def test_show_tells_what_a_service_is(run: Run) -> None:
    result = run("show", "whitehall")
    assert result.exit_code == 0
    assert "Publishing team since 2020-02-01 09:30 UTC" in result.stdout
    assert "production_hosted_on" in result.stdout
    assert json.loads(run("show", "whitehall", "--json").stdout)["slug"] == "whitehall"


def test_an_alias_is_one_segment_of_the_path(run: Run) -> None:
    assert run("show", "govuk-repos:whitehall").exit_code == 0


def test_history_shows_names_and_both_times(run: Run) -> None:
    result = run("history", "whitehall")
    assert "service role assigned" in result.stdout
    assert "Holder: Publishing team" in result.stdout
    assert "recorded 2026-02-03 04:05" in result.stdout
    assert "first mapping" in result.stdout
    assert "org_" not in result.stdout
    assert len(json.loads(run("history", "whitehall", "--json").stdout)["items"]) == 2


def test_depends_shows_steps_and_what_lies_between(run: Run, stand_in: StandIn) -> None:
    result = run("depends", "whitehall", "--depth", "2")
    assert "postgres (infrastructure)" in result.stdout
    assert stand_in.queries[0]["depth"] == "2"
    assert "dependent on whitehall: nothing" in run("depends", "whitehall", "--by").stdout
    assert run("depends", "whitehall", "--by", "--on").exit_code == 2


def test_what_depends_on_infrastructure_is_asked_for_by_its_name(run: Run) -> None:
    result = run("depends", "nginx-proxy", "--by")
    assert result.exit_code == 0, result.output
    assert [name in result.stdout for name in ("Whitehall", "Frontend")] == [True, True]
    assert "dependent on nginx-proxy: 2" in result.stdout
    answer = json.loads(run("depends", "nginx-proxy", "--by", "--json").stdout)
    assert answer["start"]["form"] == "infrastructure"
    assert [one["through"]["id"] for one in answer["items"]] == ["dep_3", "dep_4"]


def test_what_nothing_depends_on_is_not_found(run: Run) -> None:
    assert run("depends", "nothing-like-it", "--by").exit_code == 1


def test_further_steps_from_infrastructure_are_wrong_use(run: Run) -> None:
    result = run("depends", "nginx-proxy", "--by", "--depth", "2", "--json")
    assert result.exit_code == 2
    assert "only --depth 1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("services", "--phase"), [*Phase, "unknown"]),
        (("services", "--kind"), ServiceKind),
        (("organisations", "--kind"), OrganisationKind),
    ],
)
def test_a_choice_that_is_none_names_all_there_are(
    run: Run, arguments: tuple[str, ...], choices: Iterable[str]
) -> None:
    result = run(*arguments, "bogus", columns=500)
    assert result.exit_code == 2
    assert [choice for choice in choices if f"'{choice}'" not in result.stderr] == []
    assert [run(*arguments, choice).exit_code for choice in choices] == [0 for _ in choices]


@pytest.mark.parametrize("command", ["owners", "organisations", "gaps", "summary", "log"])
def test_estate_questions_answer_people_and_programs(run: Run, command: str) -> None:
    assert run(command).exit_code == 0
    assert json.loads(run(command, "--json").stdout)


def test_gaps_and_summary_join_both_services(run: Run) -> None:
    assert "needed, not registered" in run("gaps").stdout
    assert set(json.loads(run("summary", "--json").stdout)) == {"registry", "dependencies"}


def test_what_is_not_there_is_exit_code_1_with_advice(run: Run) -> None:
    result = run("show", "nothing-like-it")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "No service answers to this reference." in result.stderr
    assert "What to do: Check the address and the id." in result.stderr
    assert "correlation id" in result.stderr


def test_a_bad_moment_is_wrong_use_and_points_at_it(run: Run) -> None:
    result = run("services", "--as-of", "nonsense")
    assert result.exit_code == 2
    assert "/as_of is not an instant" in result.stderr


def test_a_foreign_key_is_refused_and_not_shown(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "other.key"
    key.write_text("estate_deadbeef_secret\n")
    result = run("services", "--key-file", str(key))
    assert result.exit_code == 1
    assert "No valid credential was presented" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("content", ["", "two keys", "k\u00e9y", "one\ntwo"])
def test_a_key_file_without_a_key_is_wrong_use(run: Run, tmp_path: Path, content: str) -> None:
    key = tmp_path / "other.key"
    key.write_text(content)
    result = run("services", "--key-file", str(key))
    assert result.exit_code == 2
    assert "does not hold a key" in result.stderr


def test_without_addresses_it_says_what_to_start(run: Run, tmp_path: Path) -> None:
    result = run("services", "--state", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "make demo" in result.stderr


def test_a_service_that_is_down_is_told_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTATE_URL_REGISTRY", "http://127.0.0.1:9")
    result = run("services")
    assert result.exit_code == 1
    assert "does not answer at http://127.0.0.1:9" in result.stderr
    assert "make demo" in result.stderr


def test_summary_without_dependencies_tells_the_rest(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESTATE_URL_DEPENDENCIES", "http://127.0.0.1:9")
    result = run("summary")
    assert result.exit_code == 1
    assert "no owner" in result.stdout
    assert "Without dependencies" in result.stderr


def test_status_shows_heads_and_backlog(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0, result.output
    found = json.loads(run("status", "--json").stdout)
    assert found["registry"]["log"]["position"] == 7
    assert found["registry"]["relay_backlog_events"] == 3


def test_status_is_exit_code_1_when_a_service_is_not_ready(run: Run, stand_in: StandIn) -> None:
    stand_in.is_ready = False
    result = run("status")
    assert result.exit_code == 1
    assert "database: no answer" in result.stdout


def test_status_tells_which_service_is_down(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTATE_URL_NOTIFICATIONS", "http://127.0.0.1:9")
    result = run("status")
    assert result.exit_code == 1
    assert "does not answer" in result.stdout


def test_tail_reads_the_feed_to_its_end_and_tells_the_cursor(run: Run) -> None:
    result = run("tail")
    assert [line.split("  ")[1] for line in result.stdout.splitlines()] == [
        "registry:5",
        "registry:7",
    ]
    assert "--after 2" in result.stderr
    lines = run("tail", "--after", "1", "--json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == CHANGES[1:]


def test_tail_names_what_the_registry_knows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    last = run("tail").stdout.splitlines()[-1]
    assert "whitehall" in last
    assert "holder: Publishing team" in last
    assert "org_" not in last
    monkeypatch.setenv("ESTATE_URL_REGISTRY", "http://127.0.0.1:9")
    without = run("tail")
    assert without.exit_code == 0
    assert f"holder: {TEAM}" in without.stdout
    assert "Without names" in without.stderr
