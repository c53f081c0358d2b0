"""Owns the check that every promise, attack and fault has its row, and every proof its test.

Must not judge whether a test proves what it is named for.
"""

import re
from pathlib import Path

import pytest

from tests.faults.trials import FAULTS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"promises.md": ("P", 34), "attacks.md": ("A", 44), "faults.md": ("F", 24)}
STATES = {"Held", "In part", "Not yet", "Not offered"}
SIZED = {"P1", "P2", "P3", "P4", "P6", "P7", "P10", "P11", "P12", "P30", "P32", "P33"}
"""The promises that ask for a size at which they are tried."""
ASKED = re.compile(r"Asked: [^:|]*\d[^:|]*: [^|]*\.$")
ROW = re.compile(r"^\| (?P<number>[PAF]\d+) \| (?P<cells>.*) \|$", re.MULTILINE)
PROOF = re.compile(r"\[(?P<test>test_\w+)\]\(\.\./(?P<path>tests/[\w/]+\.py)\)")
TRIAL = re.compile(r"\[(?P<fault>[^\]]+)\]\(\.\./tests/faults/trials\.py\)")


def rows(page: str) -> list[tuple[str, list[str]]]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [(match["number"], match["cells"].split(" | ")) for match in ROW.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_every_row_is_there_once_and_in_order(page: str) -> None:
    letter, count = PAGES[page]
    assert [number for number, _ in rows(page)] == [f"{letter}{n}" for n in range(1, count + 1)]


@pytest.mark.parametrize("page", PAGES)
def test_every_row_says_how_it_stands_and_why(page: str) -> None:
    for number, cells in rows(page):
        state, proof = cells[-2:]
        assert state in STATES, number
        if state in {"Held", "In part"}:
            assert PROOF.search(proof), f"{number} names no test"
        if state != "Held":
            words = re.sub(r"[\W_]+", " ", PROOF.sub("", proof)).split()
            assert len(words) > 1, f"{number} does not say what is missing"


def test_a_promise_of_a_size_says_what_was_asked_and_what_was_tried() -> None:
    asked = {number for number, cells in rows("promises.md") if ASKED.search(cells[-1])}
    assert asked == SIZED


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    missing = []
    for match in PROOF.finditer((DOCS / page).read_text(encoding="utf-8")):
        path = DOCS.parent / match["path"]
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        if not re.search(rf"^ *(?:async )?def {match['test']}\(", source, re.MULTILINE):
            missing.append(match[0])
    assert missing == []


def test_every_trial_that_is_named_exists() -> None:
    named = TRIAL.findall((DOCS / "faults.md").read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(FAULTS)
