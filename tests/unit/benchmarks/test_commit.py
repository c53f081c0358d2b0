import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.machine import commit

GIT = shutil.which("git")
NAMED = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid")


def git(folder: Path, *arguments: str) -> str:
    assert GIT is not None
    done = subprocess.run([GIT, *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603 - ours.
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if GIT is None:
        pytest.skip("there is no git")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/results.json").write_text("{}")
    (tmp_path / "code.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, *NAMED, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_what_is_measured_is_named_by_its_commit(checkout: Path) -> None:
    found = commit(checkout)
    assert found is not None
    assert git(checkout, "rev-parse", "HEAD").startswith(found)


def test_keeping_a_result_is_no_change_of_what_is_measured(checkout: Path) -> None:
    (checkout / "benchmarks/results.json").write_text('{"append": {}}')
    assert not str(commit(checkout)).endswith("with changes")


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_files_that_differ_are_marked(checkout: Path, name: str) -> None:
    (checkout / name).write_text("changed = True")
    assert str(commit(checkout)).endswith("with changes")


def test_without_a_checkout_no_commit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) is None


def test_without_git_no_commit_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert commit(checkout) is None
