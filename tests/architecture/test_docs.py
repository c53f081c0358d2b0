"""Owns the check that the documentation says what the code does.

Must not judge style.
"""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.described import services
from docs.generate import pages, rewritten
from docs.tables import example
from shared.commands.command import CommandType
from shared.commands.doors import Submission
from shared.commands.reading import read_tree
from shared.contracts.envelope import leaf_of, seal
from shared.http.problems import problem_kinds
from shared.http.strict_json import parse_json
from shared.observability.metrics import HELP

ROOT = Path(__file__).parents[2]
PAGES = [*pages(), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))]
COMMANDS = [command for service in services() for command in service.commands]
CODE = [
    path
    for folder in ("services", "shared", "cli", "deploy")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".sql"}
]
FOLDERS = r"(?:services|shared|cli|deploy|docs|tests|data)/"
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")
FILE = re.compile(rf"`(?P<path>{FOLDERS}[A-Za-z0-9_./-]+)`")
WORD = re.compile(r"`(?P<word>[a-z]+(?:_[a-z]+)+)`")
SOURCE = re.compile(r"docs/[A-Za-z0-9_./-]+\.md")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in CODE)


@pytest.mark.parametrize("page", pages(), ids=named)
def test_generated_sections_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        match[0]
        for match in LINK.finditer(page.read_text(encoding="utf-8"))
        if not leads_somewhere(page, match["path"], match["anchor"])
    ]
    assert missing == []


def leads_somewhere(page: Path, path: str, anchor: str | None) -> bool:
    target = (page.parent / path).resolve() if path else page
    if anchor is None:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^a-z0-9]+", "-", heading.lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [m["path"] for m in FILE.finditer(text) if not (ROOT / m["path"]).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs/runbooks").glob("*.md")), ids=named)
def test_what_runbooks_name_is_in_the_code(page: Path, code: str) -> None:
    words = {match["word"] for match in WORD.finditer(page.read_text(encoding="utf-8"))}
    assert [word for word in sorted(words) if word not in code] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_metrics_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r"`(estate_(?!\.)[a-z]+_[a-z_]+)`", text))
    assert found <= HELP.keys()


def test_pages_that_the_code_names_exist() -> None:
    named_pages = {
        match for path in CODE for match in SOURCE.findall(path.read_text(encoding="utf-8"))
    }
    assert [page for page in sorted(named_pages) if not (ROOT / page).exists()] == []


def test_every_page_says_first_what_it_is_for() -> None:
    for page in pages():
        title, _, opening = page.read_text(encoding="utf-8").partition("\n")
        assert title.startswith("# "), page
        assert opening.strip(), page


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_example_of_a_submission_can_be_read(command: CommandType[Any]) -> None:
    tree = parse_json(json.dumps(example(command)).encode())
    submission = read_tree(Submission, tree)
    assert read_tree(command.body, submission.data, "/data") is not None


def test_digest_can_be_computed_as_the_page_says() -> None:
    value, leaf = seal({"subject": "svc_1", "note": 'é "\\\n\x1f'}, {"reason": "é"}, b"0" * 16)
    page = (ROOT / "docs/interfaces.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(?P<lines>.*?)```", page, re.DOTALL)
    assert snippet is not None
    names: dict[str, Any] = {"json": json, "hashlib": hashlib, "value": value}
    exec(snippet["lines"], names)  # noqa: S102 - the page's own lines are what is tested.
    assert names["digest"] == leaf.hex() == leaf_of(value).hex()


def test_every_problem_that_a_page_names_has_a_kind() -> None:
    kinds = {kind.slug for kind in problem_kinds()}
    assert {slug for page in PAGES for slug in answered_with(page)} <= kinds


def answered_with(page: Path) -> Iterator[str]:
    """Slugs behind a status, as pages write them: 503 `not-ready`."""
    yield from re.findall(r"\b[45]\d\d `([a-z-]+)`", page.read_text(encoding="utf-8"))


def test_make_help_lists_every_target_that_is_described() -> None:
    makefile = (ROOT / "Makefile").read_text()
    described = re.findall(r"^(\S+):.*## ", makefile, re.MULTILINE)
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],  # noqa: S607 - wherever it is.
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "test-e2e" in described
    assert [line.split()[1] for line in listed.splitlines()] == described
