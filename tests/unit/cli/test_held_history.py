"""Checks that an estate is filled with one history only, or with more of the same."""

import json
from datetime import date
from pathlib import Path
from random import Random

import pytest

from cli.demo.held_history import note_history, require_same_history
from cli.demo.sources import DEFAULT_SOURCE, REPOS_FILE, Plan, read_plan
from cli.failures import WRONG_USE, WrongUse
from tests.support.small_sources import write_part

CUT, LATER, LAST = date(2021, 6, 30), date(2022, 1, 31), date(2022, 12, 31)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("source")
    write_part(DEFAULT_SOURCE, folder, LAST, 0.3, Random(1))  # noqa: S311 - chooses what to test.
    return folder


@pytest.fixture
def cut(source: Path) -> Plan:
    plan = read_plan(source, CUT)
    assert plan.docker.submissions > 0
    return plan


def test_an_empty_state_takes_any_history(tmp_path: Path, cut: Plan, source: Path) -> None:
    require_same_history(tmp_path, cut, source)
    require_same_history(tmp_path / "not" / "there", cut, source)


def test_the_same_history_and_more_of_it_go_on(tmp_path: Path, cut: Plan, source: Path) -> None:
    note_history(tmp_path, cut, source)
    for until in (CUT, LATER, None):
        require_same_history(tmp_path, read_plan(source, until), source)


def test_less_of_it_is_refused_with_what_is_held(tmp_path: Path, cut: Plan, source: Path) -> None:
    note_history(tmp_path, read_plan(source, LATER), source)
    with pytest.raises(WrongUse, match=r"holds another history.* up to 2022-01") as refused:
        require_same_history(tmp_path, cut, source)
    assert refused.value.exit_code == WRONG_USE
    assert "make reset" in str(refused.value.advice)
    assert "--state" in str(refused.value.advice)


def test_another_source_of_the_same_form_is_refused(
    tmp_path: Path, cut: Plan, source: Path
) -> None:
    other = tmp_path / "other"
    write_part(DEFAULT_SOURCE, other, LAST, 0.3, Random(2))  # noqa: S311 - as above.
    note_history(tmp_path, cut, source)
    for until in (CUT, None):
        with pytest.raises(WrongUse, match="another history"):
            require_same_history(tmp_path, read_plan(other, until), other)


def test_one_changed_word_is_another_history(tmp_path: Path, cut: Plan, source: Path) -> None:
    note_history(tmp_path, cut, source)
    changed = tmp_path / "changed"
    write_part(source, changed, LAST, 1.0, Random(1))  # noqa: S311 - as above.
    require_same_history(tmp_path, read_plan(changed, None), changed)
    path = changed / REPOS_FILE
    first, *rest = path.read_text().splitlines()
    row = {**json.loads(first), "subject": "something else"}
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
    with pytest.raises(WrongUse, match="another history"):
        require_same_history(tmp_path, read_plan(changed, None), changed)


def test_a_mark_that_cannot_be_read_is_refused(tmp_path: Path, cut: Plan, source: Path) -> None:
    (tmp_path / "imported.json").write_text('{"source": "data"}')
    with pytest.raises(WrongUse, match=r"imported\.json does not tell"):
        require_same_history(tmp_path, cut, source)
