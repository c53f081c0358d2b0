"""Checkpoints are read strictly, rows survive packing, reports have the promised form."""

import ast
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import shared.audit
from shared.audit.checkpoint import (
    MAX_DOCUMENT_BYTES,
    Checkpoint,
    CheckpointError,
    format_checkpoint,
    make_checkpoint,
    parse_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from shared.audit.findings import Fault, LogCheckpoint, LogReport
from shared.audit.report import report_json, report_table
from shared.audit.rows import Row, pack_rows, unpack_rows
from tests.unit.audit.log_building import build_log

MADE_AT = datetime(2026, 3, 1, 9, 30, 0, 5, UTC)
CLEAN = LogReport("registry", 1, 7, bytes(range(32)), None, 7, 1, 5)
FAULTY = LogReport("dependencies", 1, 2, bytes(32), Fault(3, "leaf-mismatch", "why"), 2)
KEPT = Checkpoint((LogCheckpoint("registry", 1, 7, bytes(range(32))),), MADE_AT)


def test_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, KEPT)
    assert read_checkpoint(path) == KEPT == make_checkpoint([CLEAN], MADE_AT)
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoint_is_never_made_of_a_log_with_a_fault() -> None:
    with pytest.raises(ValueError, match="dependencies"):
        make_checkpoint([CLEAN, FAULTY], MADE_AT)


def test_checkpoint_names_the_log_it_says_nothing_of() -> None:
    assert KEPT.of("registry").position == 7
    with pytest.raises(CheckpointError, match="dependencies"):
        KEPT.of("dependencies")


def _changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(format_checkpoint(KEPT)) | changes).encode()


def _changed_log(**changes: Any) -> bytes:
    log = json.loads(format_checkpoint(KEPT))["logs"][0] | changes
    return _changed(logs=[log])


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[]", "exactly"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "at most"),
        (b'{"version":1,"version":1}', "twice"),
        (_changed(version=2), "version"),
        (_changed(version=True), "version"),
        (_changed(more=1), "exactly"),
        (_changed(logs=[]), "logs"),
        (_changed(logs={}), "logs"),
        (_changed(logs=[5]), r"logs\[0\]"),
        (_changed(logs=json.loads(_changed_log())["logs"] * 2), "twice"),
        (_changed(made_at="yesterday"), "made_at"),
        (_changed(made_at="2026-02-30T00:00:00Z"), "made_at"),
        (_changed(made_at=None), "made_at"),
        (_changed_log(position=-1), r"logs\[0\].position"),
        (_changed_log(position=7.0), r"logs\[0\].position"),
        (_changed_log(position=10**400), r"logs\[0\].position"),
        (_changed_log(timeline=0), r"logs\[0\].timeline"),
        (_changed_log(timeline=True), r"logs\[0\].timeline"),
        (_changed_log(root="AB" * 32), r"logs\[0\].root"),
        (_changed_log(root="ab" * 31), r"logs\[0\].root"),
        (_changed_log(log="Registry"), r"logs\[0\].log"),
    ],
)
def test_document_that_is_no_checkpoint_is_refused(document: bytes, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        parse_checkpoint(document)


def test_checkpoint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "none.json")


LONG = st.none() | st.integers(-(2**63), 2**63 - 1)
INT = st.none() | st.integers(-(2**31), 2**31 - 1)
BYTES = st.none() | st.binary(max_size=40)
ROWS = st.lists(st.builds(Row, LONG, INT, LONG, BYTES, BYTES, BYTES, BYTES), max_size=5)


@given(ROWS)
def test_rows_survive_packing_whatever_they_hold(rows: list[Row]) -> None:
    assert list(unpack_rows(pack_rows(rows))) == rows


def test_bytes_that_are_not_whole_rows_are_refused() -> None:
    packed = pack_rows(build_log(1).rows)
    for size in range(1, len(packed)):
        with pytest.raises(ValueError, match="whole rows"):
            list(unpack_rows(packed[:size]))


def test_report_for_programs_has_the_promised_members() -> None:
    assert report_json([CLEAN])["ok"] is True
    report = json.loads(json.dumps(report_json([CLEAN, FAULTY])))
    assert report["ok"] is False
    assert report["logs"][0] == {
        "log": "registry",
        "timeline": 1,
        "position": 7,
        "root": bytes(range(32)).hex(),
        "first_fault": None,
        "checked": 7,
        "redacted": 1,
        "checked_topic_position": 5,
    }
    fault = {"position": 3, "reason": "leaf-mismatch", "detail": "why"}
    assert report["logs"][1]["first_fault"] == fault


def test_report_for_people_says_where_and_why() -> None:
    console = Console(width=160, force_terminal=False)
    with console.capture() as captured:
        console.print(report_table([CLEAN, FAULTY]))
    text = captured.get()
    assert "leaf-mismatch at dependencies:3: why" in text
    assert "7 (1 redacted)" in text
    assert "to 5" in text


def test_verifier_shares_no_code_with_the_writer() -> None:
    allowed = {"asyncpg", "aiokafka", "rich"}
    for path in Path(shared.audit.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                if top == "shared":
                    assert name.startswith("shared.audit."), (path, name)
                else:
                    assert top in allowed or top in sys.stdlib_module_names, (path, name)
